/*-------------------------------------------------------------------------
 * session/ddl/sets.c
 *		Which replication sets a statement goes with.
 *
 * NOTES
 *		With the default one, unless a DDL filter of another set wants it for
 *		itself, and with those of which a filter matches.  Filters are looked at
 *		where the statement is typed, before it runs: there its role and its text
 *		are at hand, whoever waits can cancel, and an error stops nobody else.
 *		The names of the sets go with the statement from there on, also through
 *		nodes that apply it, so that nobody has to look again.
 *
 *		The parts of a filter are regular expressions of the server, which runs
 *		them within its limits.  Those with back references may take any time,
 *		and are refused; of a long statement only the beginning counts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "regex/regex.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/tables.h"
#include "session/ddl/sets.h"
#include "session/request.h"

/* What regular expressions see of a statement. */
#define TEXT_BYTES_MAX		8192

/* What a filter looks at. */
enum
{
	PART_TAG,
	PART_ROLE,
	PART_QUERY
};
#define PARTS				(PART_QUERY + 1)

typedef struct Set
{
	Oid			id;
	char	   *name;
} Set;

typedef struct Filter
{
	char	   *name;
	char	   *set;
	bool		is_exclusive;
	char	   *parts[PARTS];	/* regular expressions; NULL matches everything */
} Filter;

PG_FUNCTION_INFO_V1(bdr_replication_set_add_ddl_filter);

static List *read_sets(Snapshot snapshot);
static List *append_sets(List *sets, const char *table, int id_column, int name_column, Snapshot snapshot);
static List *read_filters(const List *sets, Snapshot snapshot);
static Filter *read_filter(TupleDesc desc, HeapTuple tuple, const List *sets);
static bool matches(Filter *filter, const char *const *subjects);
static bool part_matches(const char *part, const char *subject);
static void describe_filter(void *arg);
static Filter *exclusive_of(const List *filters);
static void add_set(BdrStatement *statement, const char *name);
static const char *check_part(FunctionCallInfo fcinfo, int argument, const char *name);

void
bdr_ddl_sets_choose(BdrStatement *statement, Node *node, const char *text)
{
	const char *subjects[PARTS];
	List	   *matching = NIL;
	List	   *sets;
	List	   *filters;
	Filter	   *exclusive;
	Snapshot	snapshot;
	ListCell   *lc;

	if (!OidIsValid(bdr_catalog_relation("replication_set_ddl")))
		return;					/* older SQL objects */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	sets = read_sets(snapshot);
	filters = read_filters(sets, snapshot);
	UnregisterSnapshot(snapshot);

	subjects[PART_TAG] = CreateCommandName(node);
	subjects[PART_ROLE] = statement->role;
	subjects[PART_QUERY] = text;
	foreach(lc, filters)
	{
		if (matches(lfirst(lc), subjects))
			matching = lappend(matching, lfirst(lc));
	}
	if (matching == NIL)
		return;
	exclusive = exclusive_of(matching);
	if (exclusive != NULL)
		matching = list_make1(exclusive);
	else
		add_set(statement, ((Set *) linitial(sets))->name);
	foreach(lc, matching)
		add_set(statement, ((Filter *) lfirst(lc))->set);
}

void
bdr_ddl_sets_name(BdrStatement *statement, ArrayType *names)
{
	List	   *sets;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (names == NULL)
		return;
	sets = read_sets(NULL);
	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("replication_sets is empty"),
				 errhint("NULL stands for the default set.")));
	for (int i = 0; i < n; i++)
	{
		const char *name = nulls[i] ? "" : TextDatumGetCString(elements[i]);
		bool		is_set = false;
		ListCell   *lc;

		foreach(lc, sets)
			is_set |= strcmp(((Set *) lfirst(lc))->name, name) == 0;
		if (!is_set)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("replication set \"%s\" does not exist", name),
					 errhint("bdr.replication_sets lists them.")));
		add_set(statement, name);
	}
}

static void
add_set(BdrStatement *statement, const char *name)
{
	for (int i = 0; i < statement->nsets; i++)
	{
		if (strcmp(statement->sets[i], name) == 0)
			return;
	}
	statement->sets = statement->nsets == 0 ? palloc(sizeof(char *)) :
		repalloc(statement->sets, (statement->nsets + 1) * sizeof(char *));
	statement->sets[statement->nsets++] = name;
}

/* ---------------------------------------------------------------------
 * What was agreed on
 * ---------------------------------------------------------------------
 */

/* The default one comes first. */
static List *
read_sets(Snapshot snapshot)
{
	List	   *sets = append_sets(NIL, "node_group", BDR_GROUP_ID, BDR_GROUP_NAME, snapshot);

	return append_sets(sets, "replication_set", BDR_SET_ID, BDR_SET_NAME, snapshot);
}

static List *
append_sets(List *sets, const char *table, int id_column, int name_column, Snapshot snapshot)
{
	Relation	rel = bdr_catalog_open(table, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Set		   *set = palloc(sizeof(Set));
		bool		isnull;

		set->id = DatumGetObjectId(heap_getattr(tuple, id_column, RelationGetDescr(rel), &isnull));
		set->name = pstrdup(NameStr(*DatumGetName(heap_getattr(tuple, name_column, RelationGetDescr(rel), &isnull))));
		sets = lappend(sets, set);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return sets;
}

static List *
read_filters(const List *sets, Snapshot snapshot)
{
	Relation	table = bdr_catalog_open("replication_set_ddl", AccessShareLock);
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;
	List	   *filters = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		filters = lappend(filters, read_filter(RelationGetDescr(table), tuple, sets));
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return filters;
}

/* A set that is dropped takes its filters along. */
static Filter *
read_filter(TupleDesc desc, HeapTuple tuple, const List *sets)
{
	static const int columns[PARTS] = {BDR_SET_DDL_TAG, BDR_SET_DDL_ROLE, BDR_SET_DDL_QUERY};
	Filter	   *filter = palloc0(sizeof(Filter));
	Datum		values[BDR_SET_DDL_COLUMNS];
	bool		nulls[BDR_SET_DDL_COLUMNS];
	ListCell   *lc;

	heap_deform_tuple(tuple, desc, values, nulls);
	filter->name = pstrdup(NameStr(*DatumGetName(values[BDR_SET_DDL_NAME - 1])));
	filter->is_exclusive = DatumGetBool(values[BDR_SET_DDL_EXCLUSIVE - 1]);
	for (int i = 0; i < PARTS; i++)
	{
		if (!nulls[columns[i] - 1])
			filter->parts[i] = TextDatumGetCString(values[columns[i] - 1]);
	}
	foreach(lc, sets)
	{
		Set		   *set = lfirst(lc);

		if (set->id == DatumGetObjectId(values[BDR_SET_DDL_SET - 1]))
			filter->set = set->name;
	}
	Assert(filter->set != NULL);
	return filter;
}

/* ---------------------------------------------------------------------
 * Does a filter match?
 * ---------------------------------------------------------------------
 */
static bool
matches(Filter *filter, const char *const *subjects)
{
	ErrorContextCallback callback = {error_context_stack, describe_filter, filter};
	bool		all = true;

	error_context_stack = &callback;
	for (int i = 0; i < PARTS && all; i++)
		all = part_matches(filter->parts[i], subjects[i]);
	error_context_stack = callback.previous;
	return all;
}

static bool
part_matches(const char *part, const char *subject)
{
	int			len;

	if (part == NULL)
		return true;
	len = pg_mbcliplen(subject, strlen(subject), TEXT_BYTES_MAX);
	return DatumGetBool(DirectFunctionCall2Coll(textregexeq, DEFAULT_COLLATION_OID,
												PointerGetDatum(cstring_to_text_with_len(subject, len)),
												CStringGetTextDatum(part)));
}

static void
describe_filter(void *arg)
{
	const Filter *filter = arg;

	errcontext("DDL filter \"%s\" of replication set \"%s\", which bdr.replication_set_remove_ddl_filter() takes away",
			   filter->name, filter->set);
}

/* NULL: none of them is. */
static Filter *
exclusive_of(const List *filters)
{
	Filter	   *found = NULL;
	ListCell   *lc;

	foreach(lc, filters)
	{
		Filter	   *filter = lfirst(lc);

		if (!filter->is_exclusive)
			continue;
		if (found != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("a statement matches two exclusive DDL filters"),
					 errdetail("They are \"%s\" of replication set \"%s\" and \"%s\" of replication set \"%s\".",
							   found->name, found->set, filter->name, filter->set),
					 errhint("Have one of them match less; view bdr.ddl_replication shows both.")));
		found = filter;
	}
	return found;
}

/* ---------------------------------------------------------------------
 * bdr.replication_set_add_ddl_filter
 * ---------------------------------------------------------------------
 */

/* The set and the name are the manager's to check. */
Datum
bdr_replication_set_add_ddl_filter(PG_FUNCTION_ARGS)
{
	const char *args[6] = {0};

	bdr_require_superuser("replication_set_add_ddl_filter");
	if (PG_ARGISNULL(6))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("exclusive must not be NULL")));
	if (!PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("base_relation_name is not supported"),
				 errhint("Leave it NULL, and use query_match.")));
	if (!PG_ARGISNULL(0))
		args[0] = NameStr(*PG_GETARG_NAME(0));
	if (!PG_ARGISNULL(1))
		args[1] = text_to_cstring(PG_GETARG_TEXT_PP(1));
	args[2] = check_part(fcinfo, 2, "command_tag");
	args[3] = check_part(fcinfo, 3, "role_name");
	args[4] = check_part(fcinfo, 5, "query_match");
	args[5] = PG_GETARG_BOOL(6) ? "t" : "f";
	bdr_request("replication_set_add_ddl_filter", lengthof(args), args);
	PG_RETURN_VOID();
}

static const char *
check_part(FunctionCallInfo fcinfo, int argument, const char *name)
{
	text	   *part;

	if (PG_ARGISNULL(argument))
		return NULL;
	part = PG_GETARG_TEXT_PP(argument);
	if (RE_compile_and_cache(part, REG_ADVANCED, DEFAULT_COLLATION_OID)->re_info & REG_UBACKREF)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s has a back reference", name),
				 errdetail("It is looked at for each statement that is replicated, and a back reference may take any time.")));
	return text_to_cstring(part);
}
