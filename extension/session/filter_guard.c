/*-------------------------------------------------------------------------
 * session/filter_guard.c
 *		A command that leaves a row filter unreadable is refused.
 *
 * NOTES
 *		Such a filter stops the streams of this node at the next row, for good,
 *		and who owns a table is not who put it into a set.  So when a command has
 *		ended, filters are read for what it has made, altered or given a name.
 *		What has happened on another node, to its table of that name, is not
 *		known here.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/hooks.h"
#include "base/row_filter.h"
#include "base/tables.h"
#include "session/filter_guard.h"
#include "session/restore.h"

typedef struct Filter
{
	Oid			relid;
	const char *text;
} Filter;

/* What the command at hand has touched. */
static List *touched = NIL;		/* relations, in TopTransactionContext */
static bool schema_touched = false;

static void process(const BdrUtility *statement);
static void accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);
static void at_transaction_end(XactEvent event, void *arg);
static void check_touched(void);
static List *touched_filters(Relation catalog);
static void check_filter(const Filter *filter);
static void describe_filter(void *arg);

void
bdr_filter_guard_init(void)
{
	bdr_hooks_on_utility(process);
	bdr_hooks_on_access(accessed);
	RegisterXactCallback(at_transaction_end, NULL);
}

static void
process(const BdrUtility *statement)
{
	bdr_hooks_run_utility(statement);
	if (statement->context != PROCESS_UTILITY_SUBCOMMAND && (touched != NIL || schema_touched))
		check_touched();
}

static void
accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	MemoryContext old;

	if (IsBinaryUpgrade || bdr_internal_restore)
		return;
	if (class == NamespaceRelationId && access == OAT_POST_ALTER)
		schema_touched = true;
	if (class != RelationRelationId ||
		(access != OAT_POST_CREATE && access != OAT_POST_ALTER && (access != OAT_DROP || sub == 0)))
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	touched = list_append_unique_oid(touched, object);
	MemoryContextSwitchTo(old);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	touched = NIL;
	schema_touched = false;
}

static void
check_touched(void)
{
	Relation	catalog;
	List	   *filters;
	ListCell   *lc;

	CommandCounterIncrement();
	if (OidIsValid(bdr_catalog_relation("replication_set_table")))
	{
		catalog = bdr_catalog_open("replication_set_table", AccessShareLock);
		filters = touched_filters(catalog);
		table_close(catalog, AccessShareLock);
		foreach(lc, filters)
			check_filter(lfirst(lc));
	}
	list_free(touched);
	touched = NIL;
	schema_touched = false;
}

static List *
touched_filters(Relation catalog)
{
	List	   *filters = NIL;
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[BDR_SET_TABLE_COLUMNS];
		bool		nulls[BDR_SET_TABLE_COLUMNS];
		Oid			schema;
		Oid			relid = InvalidOid;
		Filter	   *filter;

		heap_deform_tuple(tuple, RelationGetDescr(catalog), values, nulls);
		if (nulls[BDR_SET_TABLE_FILTER - 1])
			continue;
		schema = get_namespace_oid(NameStr(*DatumGetName(values[BDR_SET_TABLE_NSPNAME - 1])), true);
		if (OidIsValid(schema))
			relid = get_relname_relid(NameStr(*DatumGetName(values[BDR_SET_TABLE_RELNAME - 1])), schema);
		if (!OidIsValid(relid) || (!schema_touched && !list_member_oid(touched, relid)))
			continue;
		filter = palloc(sizeof(Filter));
		filter->relid = relid;
		filter->text = TextDatumGetCString(values[BDR_SET_TABLE_FILTER - 1]);
		filters = lappend(filters, filter);
	}
	systable_endscan(scan);
	return filters;
}

/* What is no permanent table is sent to nobody. */
static void
check_filter(const Filter *filter)
{
	Relation	rel = relation_open(filter->relid, AccessShareLock);
	ErrorContextCallback callback = {error_context_stack, describe_filter, rel};
	Bitmapset  *columns;

	error_context_stack = &callback;
	if ((rel->rd_rel->relkind == RELKIND_RELATION || rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
		rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT)
		(void) bdr_row_filter_parse(rel, filter->text, &columns);
	error_context_stack = callback.previous;
	relation_close(rel, NoLock);
}

static void
describe_filter(void *arg)
{
	Relation	rel = arg;

	errcontext("row filter of table \"%s.%s\" in a replication set, which bdr.replication_set_remove_table() takes away",
			   get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel));
}
