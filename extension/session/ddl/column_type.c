/*-------------------------------------------------------------------------
 * session/ddl/column_type.c
 *		Columns whose values no other node takes.
 *
 * NOTES
 *		A copy of a catalog has such, as pg_node_tree: the server trusts what is in
 *		it, and reads it from nobody.  The first row of the table would stop all
 *		other nodes, so that the column is refused where it is made.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "base/form.h"
#include "session/ddl/column_type.h"

static void check_columns(Relation rel);
static void check_column(Oid relid, int number);
static void refuse(const char *relation, const char *column, Oid unreadable);
static Oid	unreadable_in(Oid type);
static Oid	unreadable_in_row(TupleDesc desc);

/*
 * A new table is in the relation cache already, and in no other one; the server makes
 * some for itself, as for REFRESH.  Columns that are added or altered are of a table,
 * or of a composite type that tables may use.
 */
void
bdr_column_type_check(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	Relation	rel;

	if (class != RelationRelationId || (access != OAT_POST_CREATE && access != OAT_POST_ALTER))
		return;
	if (access == OAT_POST_CREATE && arg != NULL && ((ObjectAccessPostCreate *) arg)->is_internal)
		return;
	if (sub > 0)
		check_column(object, sub);
	else if (access == OAT_POST_CREATE)
	{
		rel = RelationIdGetRelation(object);
		if (RelationIsValid(rel))
		{
			if (rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT)
				check_columns(rel);
			RelationClose(rel);
		}
	}
}

void
bdr_column_type_check_table(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);

	check_columns(rel);
	table_close(rel, AccessShareLock);
}

static void
check_columns(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (rel->rd_rel->relkind != RELKIND_RELATION && rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid			unreadable = att->attisdropped ? InvalidOid : unreadable_in(att->atttypid);

		if (OidIsValid(unreadable))
			refuse(RelationGetRelationName(rel), NameStr(att->attname), unreadable);
	}
}

/*
 * As this command has left it: caches have it from the next one on.
 */
static void
check_column(Oid relid, int number)
{
	char		kind = get_rel_relkind(relid);
	Relation	attributes;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	if ((kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_COMPOSITE_TYPE) ||
		get_rel_persistence(relid) != RELPERSISTENCE_PERMANENT)
		return;
	attributes = table_open(AttributeRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_attribute_attnum, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(number));
	scan = systable_beginscan(attributes, AttributeRelidNumIndexId, true, SnapshotSelf, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);
		Oid			unreadable = att->attisdropped ? InvalidOid : unreadable_in(att->atttypid);

		if (OidIsValid(unreadable))
			refuse(get_rel_name(relid), NameStr(att->attname), unreadable);
	}
	systable_endscan(scan);
	table_close(attributes, AccessShareLock);
}

static void
refuse(const char *relation, const char *column, Oid unreadable)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot replicate column \"%s\" of relation \"%s\"", column, relation),
			 errdetail("No node takes values of type %s from another one.", format_type_be(unreadable)),
			 errhint("Leave the column out, or make it text; an unlogged or temporary table may have it.")));
}

/* InvalidOid: a value holds none. */
static Oid
unreadable_in(Oid type)
{
	Oid			found;
	TupleDesc	desc;

	type = getBaseType(type);
	if (OidIsValid(bdr_form_element(type)))
		return unreadable_in(bdr_form_element(type));
	if (get_typtype(type) != TYPTYPE_COMPOSITE)
		return bdr_form_is_unreadable(type) ? type : InvalidOid;
	desc = lookup_rowtype_tupdesc(type, -1);
	found = unreadable_in_row(desc);
	ReleaseTupleDesc(desc);
	return found;
}

static Oid
unreadable_in_row(TupleDesc desc)
{
	Oid			found = InvalidOid;

	for (int i = 0; i < desc->natts && !OidIsValid(found); i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			found = unreadable_in(TupleDescAttr(desc, i)->atttypid);
	}
	return found;
}
