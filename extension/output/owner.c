/*-------------------------------------------------------------------------
 * output/owner.c
 *		Who owns a relation that is sent.
 *
 * NOTES
 *		The receiver writes to a table of the same owner only.  The catalogs
 *		as they were at the change at hand would tell who owned the table
 *		then, and rows that were written before an ALTER TABLE ... OWNER TO
 *		could never be applied after it.  So it is the owner of today who is
 *		named, by the name of today: whoever has the table has the rows in it.
 *		Only when the table is gone is it the owner of then.
 *
 *		Where DDL is replicated, the peer's table belongs to the owner of then, by
 *		the name of then, until it comes to what changes that.  So he is named as
 *		well where that differs.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "output/owner.h"
#include "bdr_compat.h"

typedef void (*ReadForm) (HeapTuple tuple, void *into);

static bool read_now(Oid catalog, Oid index, AttrNumber key, Oid oid, ReadForm read, void *into);
static void read_owner(HeapTuple tuple, void *into);
static void read_role(HeapTuple tuple, void *into);

/*
 * The owner of relation, who was then at the change at hand.
 */
void
bdr_sent_owner(Oid relation, Oid then, BdrSentOwner *owner)
{
	Oid			now = then;
	char	   *role;

	owner->name[0] = '\0';
	owner->name_then[0] = '\0';
	owner->is_superuser = false;
	read_now(RelationRelationId, ClassOidIndexId, Anum_pg_class_oid, relation, read_owner, &now);
	if (!read_now(AuthIdRelationId, AuthIdOidIndexId, Anum_pg_authid_oid, now, read_role, owner) && now != then)
		read_now(AuthIdRelationId, AuthIdOidIndexId, Anum_pg_authid_oid, then, read_role, owner);
	/* an owner cannot be dropped, but his name may be changing */
	if (owner->name[0] == '\0')
		snprintf(owner->name, sizeof(owner->name), "%u", now);
	role = GetUserNameFromId(then, true);
	if (role != NULL && strcmp(role, owner->name) != 0)
		strlcpy(owner->name_then, role, sizeof(owner->name_then));
}

/*
 * A row of a catalog as it is now.  Caches would show it as it was.
 */
static bool
read_now(Oid catalog, Oid index, AttrNumber key, Oid oid, ReadForm read, void *into)
{
	Relation	rel = table_open(catalog, AccessShareLock);
	ScanKeyData scan_key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&scan_key, key, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan = systable_beginscan(rel, index, true, SnapshotSelf, 1, &scan_key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		read(tuple, into);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

static void
read_owner(HeapTuple tuple, void *into)
{
	*(Oid *) into = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
}

static void
read_role(HeapTuple tuple, void *into)
{
	Form_pg_authid role = (Form_pg_authid) GETSTRUCT(tuple);
	BdrSentOwner *owner = into;

	strlcpy(owner->name, NameStr(role->rolname), sizeof(owner->name));
	owner->is_superuser = role->rolsuper;
}
