/*-------------------------------------------------------------------------
 * base/user_context.h
 *		Whose rights code of users has, wherever we may run some.
 *
 * NOTES
 *		Writers use bdr_act_as and bdr_act_owner (apply/apply.h).
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_USER_CONTEXT_H
#define BDR_BASE_USER_CONTEXT_H

#include "nodes/pg_list.h"

/* Whose rights we had before. */
typedef struct BdrRights
{
	Oid			user;
	int			context;
	int			nest_level;		/* of settings */
} BdrRights;

extern void bdr_rights_take(Oid role, BdrRights *before);
extern void bdr_rights_restore(const BdrRights *before);
extern Oid	bdr_code_role(Oid relid, Oid owner, const List *above);
extern Oid	bdr_owner_of(Oid relid);
extern List *bdr_owner_above(Oid relid);

#endif							/* BDR_BASE_USER_CONTEXT_H */
