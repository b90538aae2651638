/*-------------------------------------------------------------------------
 * version/version.h
 *		The version of a row: when its transaction committed, and on which node.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_VERSION_VERSION_H
#define BDR_VERSION_VERSION_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "executor/tuptable.h"

/* Who wrote a row, and when. */
typedef struct BdrVersion
{
	bool		known;
	TimestampTz time;
	uint32		node;
} BdrVersion;

extern void bdr_version_init(uint32 local_node);
extern void bdr_version_begin(const BdrVersion *version);
extern const BdrVersion *bdr_version_incoming(void);

extern TransactionId bdr_version_xmin(TupleTableSlot *slot);
extern void bdr_version_of(TransactionId xmin, BdrVersion *version);
extern void bdr_version_of_committed(TransactionId xid, uint32 local_node, BdrVersion *version);
extern int	bdr_version_compare(const BdrVersion *a, const BdrVersion *b);

#endif							/* BDR_VERSION_VERSION_H */
