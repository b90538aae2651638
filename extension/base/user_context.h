/*-------------------------------------------------------------------------
 * base/user_context.h
 *		Whose rights code of users has, wherever we may run some.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_USER_CONTEXT_H
#define BDR_BASE_USER_CONTEXT_H

#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* Whose rights we had before. */
typedef struct BdrRights
{
	Oid			user;
	int			context;
	int			nest_level;		/* of settings */
} BdrRights;

/* Until bdr_rights_restore. */
extern void bdr_rights_take(Oid role, BdrRights *before);
extern void bdr_rights_restore(const BdrRights *before);
extern Oid	bdr_code_role(Oid relid, Oid owner, const List *above);
extern Oid	bdr_owner_of(Oid relid);
extern List *bdr_owner_above(Oid relid);

/* As whom a writer acts from here on. */
extern Oid	bdr_user_switch(Oid role);
extern void bdr_user_forget(void);
extern Oid	bdr_user_of_table(Relation rel);
extern Oid	bdr_user_of_table_below(Relation rel, const List *above);
extern Oid	bdr_user_of_domain(Oid type, Oid otherwise);

#endif							/* BDR_BASE_USER_CONTEXT_H */
