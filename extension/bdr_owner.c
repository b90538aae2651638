/*-------------------------------------------------------------------------
 * bdr_owner.c
 *		Whose code runs while a change is applied: the table owner's, with the
 *		owner's rights.
 *
 * NOTES
 *		A writer is a superuser.  Triggers that fire here, expressions of
 *		indexes and constraints, defaults and checks of domains are code of
 *		users, which must not become one.  So a writer acts as the owner of the
 *		table that it writes, in a security-restricted operation, and takes
 *		back what settings that code has changed.
 *
 *		A table of a superuser changes nothing.  Deferred triggers of another
 *		owner cannot fire in such an operation: PostgreSQL's error stops the
 *		subscription.
 *
 *		A subtransaction must begin and end as ourselves.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "bdr.h"
#include "bdr_apply.h"

static Oid	acting_as = InvalidOid; /* InvalidOid: ourselves */
static Oid	own_user;
static int	own_context;
static int	nest_level;

/*
 * Act as this role; InvalidOid: as ourselves.
 */
void
bdr_act_as(Oid role)
{
	if (likely(role == acting_as))
		return;
	if (OidIsValid(acting_as))
	{
		AtEOXact_GUC(false, nest_level);
		SetUserIdAndSecContext(own_user, own_context);
		acting_as = InvalidOid;
	}
	if (!OidIsValid(role))
		return;
	GetUserIdAndSecContext(&own_user, &own_context);
	SetUserIdAndSecContext(role, own_context | SECURITY_RESTRICTED_OPERATION);
	nest_level = NewGUCNestLevel();
	acting_as = role;
}

/*
 * After an abort, which has taken back all of that.
 */
void
bdr_act_forget(void)
{
	acting_as = InvalidOid;
}

/*
 * As whom a table is written.
 */
Oid
bdr_act_owner(Relation rel)
{
	Oid			owner = rel->rd_rel->relowner;

	return superuser_arg(owner) ? InvalidOid : owner;
}
