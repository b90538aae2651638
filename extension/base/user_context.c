/*-------------------------------------------------------------------------
 * base/user_context.c
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
 *		A partition, or a table that inherits, has code from the tables above
 *		it.  If they have several owners, all code runs as the one whose rights
 *		the others have, too: a partition that an administrator made for a
 *		user's table does not make the user one.
 *
 *		A table of a superuser changes nothing.  Deferred triggers of another
 *		owner cannot fire in such an operation: PostgreSQL's error stops the
 *		subscription.
 *
 *		A subtransaction must begin and end as ourselves.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/user_context.h"
#include "bdr_compat.h"

static Oid	acting_as = InvalidOid; /* InvalidOid: ourselves */
static BdrRights ourselves;

static Oid	weaker_author(Oid role, Oid owner, const char *domain);
static List *add_parents(List *above, Relation catalog, Oid relid);
pg_noreturn static void no_common_role(Oid relid, Oid role, Oid above, Oid owner);

/* ---------------------------------------------------------------------
 * Acting as somebody
 * ---------------------------------------------------------------------
 */

/*
 * Have the rights of a role, in a security-restricted operation, until
 * bdr_rights_restore; an abort takes them back as well.
 */
void
bdr_rights_take(Oid role, BdrRights *before)
{
	GetUserIdAndSecContext(&before->user, &before->context);
	SetUserIdAndSecContext(role, before->context | SECURITY_RESTRICTED_OPERATION);
	before->nest_level = NewGUCNestLevel();
}

void
bdr_rights_restore(const BdrRights *before)
{
	AtEOXact_GUC(false, before->nest_level);
	SetUserIdAndSecContext(before->user, before->context);
}

/*
 * A writer acts as this role from here on; InvalidOid: as ourselves.  Returns
 * as whom it acted before.
 */
Oid
bdr_user_switch(Oid role)
{
	Oid			before = acting_as;

	if (likely(role == before))
		return before;
	if (OidIsValid(acting_as))
	{
		bdr_rights_restore(&ourselves);
		acting_as = InvalidOid;
	}
	if (!OidIsValid(role))
		return before;
	bdr_rights_take(role, &ourselves);
	acting_as = role;
	return before;
}

/*
 * After an abort, which has taken back all of that.
 */
void
bdr_user_forget(void)
{
	acting_as = InvalidOid;
}

/* ---------------------------------------------------------------------
 * As whom
 * ---------------------------------------------------------------------
 */

/*
 * As whom a table is written.
 */
Oid
bdr_user_of_table(Relation rel)
{
	return bdr_user_of_table_below(rel, bdr_owner_above(RelationGetRelid(rel)));
}

/*
 * The same where it is known which tables are above it.
 */
Oid
bdr_user_of_table_below(Relation rel, const List *above)
{
	Oid			role = bdr_code_role(RelationGetRelid(rel), rel->rd_rel->relowner, above);

	return superuser_arg(role) ? InvalidOid : role;
}

/*
 * The role whose rights the code of a table has: its owner, or one above it
 * whose rights all the other owners have.
 */
Oid
bdr_code_role(Oid relid, Oid role, const List *above)
{
	ListCell   *lc;

	foreach(lc, above)
	{
		Oid			owner = bdr_owner_of(lfirst_oid(lc));

		if (owner == role || !OidIsValid(owner))
			continue;
		if (has_privs_of_role(role, owner))
			role = owner;
		else if (!has_privs_of_role(owner, role))
			no_common_role(relid, role, lfirst_oid(lc), owner);
	}
	return role;
}

/* InvalidOid: the table has been dropped. */
Oid
bdr_owner_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

static void
no_common_role(Oid relid, Oid role, Oid above, Oid owner)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot tell whose rights the code of table \"%s.%s\" has",
					get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid)),
			 errdetail("It has code of role \"%s\", and of role \"%s\" from table \"%s\" above it; neither has the rights of the other.",
					   GetUserNameFromId(role, false), GetUserNameFromId(owner, false), get_rel_name(above)),
			 errhint("Give the tables one owner with ALTER TABLE ... OWNER TO; replication then continues by itself.")));
}

/*
 * As whom a domain's checks and default are evaluated: a table of somebody else
 * may use it, and he may change it afterwards.  A superuser's are evaluated as
 * the caller would.
 */
Oid
bdr_user_of_domain(Oid type, Oid otherwise)
{
	Oid			role = InvalidOid;

	while (OidIsValid(type))
	{
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
		Form_pg_type form;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for type %u", type);
		form = (Form_pg_type) GETSTRUCT(tuple);
		if (form->typtype == TYPTYPE_DOMAIN && !superuser_arg(form->typowner))
			role = weaker_author(role, form->typowner, NameStr(form->typname));
		type = form->typtype == TYPTYPE_DOMAIN ? form->typbasetype : InvalidOid;
		ReleaseSysCache(tuple);
	}
	return OidIsValid(role) ? role : otherwise;
}

static Oid
weaker_author(Oid role, Oid owner, const char *domain)
{
	if (!OidIsValid(role) || has_privs_of_role(role, owner))
		return owner;
	if (has_privs_of_role(owner, role))
		return role;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot tell whose rights the checks of domain \"%s\" have", domain),
			 errdetail("It belongs to role \"%s\", and a domain over it to role \"%s\"; neither has the rights of the other.",
					   GetUserNameFromId(owner, false), GetUserNameFromId(role, false)),
			 errhint("Give the domains one owner with ALTER DOMAIN ... OWNER TO; replication then continues by itself.")));
}

/*
 * The tables that a table is a partition of or inherits from, and those above
 * them.
 */
List *
bdr_owner_above(Oid relid)
{
	Relation	catalog = table_open(InheritsRelationId, AccessShareLock);
	List	   *above = add_parents(NIL, catalog, relid);

	for (int i = 0; i < list_length(above); i++)
		above = add_parents(above, catalog, list_nth_oid(above, i));
	table_close(catalog, AccessShareLock);
	return above;
}

static List *
add_parents(List *above, Relation catalog, Oid relid)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		above = list_append_unique_oid(above, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	return above;
}
