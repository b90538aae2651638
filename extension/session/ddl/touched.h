/*-------------------------------------------------------------------------
 * session/ddl/touched.h
 *		Is a statement about temporary objects?
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_TOUCHED_H
#define BDR_SESSION_DDL_TOUCHED_H

#include "postgres.h"

#include "catalog/objectaccess.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"

typedef struct BdrTemporality
{
	bool		temporary;
	bool		permanent;
} BdrTemporality;

/* What a statement has to do with. */
typedef struct BdrTouched
{
	BdrTemporality named;		/* relations */
	BdrTemporality found;
	List	   *created;		/* ObjectAddress; not to be seen yet */
	MemoryContext context;
} BdrTouched;

/* Before it runs; while it runs; when it has ended. */
extern void bdr_touched_begin(BdrTouched *touched, Node *statement);
extern void bdr_touched_access(BdrTouched *touched, ObjectAccessType access, Oid class, Oid object, void *arg);
extern BdrTemporality bdr_touched_end(BdrTouched *touched);

/* Is this the name of a temporary relation, or of one that is to be made as such? */
extern bool bdr_touched_is_temporary(const RangeVar *name);
extern bool bdr_touched_makes_temporary(const RangeVar *name);

/* Names of relations without those of temporary ones. */
extern List *bdr_touched_permanent(const List *names);

#endif							/* BDR_SESSION_DDL_TOUCHED_H */
