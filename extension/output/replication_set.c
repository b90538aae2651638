/*-------------------------------------------------------------------------
 * output/replication_set.c
 *		Which changes of a relation are in sets that the subscriber gets.
 *
 * NOTES
 *		A change is sent if the table is in a set that this node publishes and
 *		the subscriber has subscribed to.  Who has chosen no sets has the
 *		default one, which has every table, and pays nothing here.
 *
 *		The tables that say so are read as they were at the change at hand, so
 *		that a change of a set takes effect at its place in WAL.  They are
 *		tables that the server keeps old rows of for that (user_catalog_table),
 *		and have triggers that send an invalidation; nothing of them is in a
 *		TOAST table.  They are opened without a lock, as the server opens the
 *		tables whose changes it decodes.
 *
 *		A row filter is no code of users (base/row_filter.c).  One that is not
 *		false, NULL too, lets a row pass.  An update whose rows pass both is
 *		an update, one that brings a row in is an insertion, and one that takes
 *		it out a deletion.  Of an old row only the replica identity is known:
 *		where a filter needs more, the old row counts as one that had passed,
 *		so that nothing stays that should have gone.  So does a row for which
 *		a filter fails, as by a division by zero: who may write a row must not
 *		be able to stop what others have written.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "optimizer/clauses.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/varlena.h"

#include "base/row_filter.h"
#include "base/tables.h"
#include "output/replication_set.h"
#include "bdr_compat.h"

/* One set that is sent. */
typedef struct SharedSet
{
	Oid			id;
	uint8		actions;
	bool		adds_tables;
} SharedSet;

/* What a set says of a table. */
typedef struct Membership
{
	bool		known;
	bool		member;
	ArrayType  *columns;		/* NULL: all */
	char	   *filter;			/* NULL: every row */
} Membership;

static const char *const set_tables[] = {"replication_set", "replication_set_table", "local_node"};

static bool read_default(BdrOutput *output, Oid table);
static List *read_shared(BdrOutput *output);
static List *read_published(void);
static bool names_have(const List *names, const char *name, const char *group);
static Relation open_ours(const char *name);
static char *read_group(void);
static void build_from_set(BdrSentRelation *sent, Relation relation, const SharedSet *set);
static Membership membership_of(const BdrSentRelation *sent, Relation relation, const SharedSet *set);
static Membership read_membership(Oid set, Oid relid, MemoryContext context);
static void add_columns(BdrSentRelation *sent, Relation relation, ArrayType *columns);
static void add_rule(BdrSentRelation *sent, Relation relation, uint8 actions, const char *filter);
static void describe_filter(void *arg);
static bool identity_has(Relation relation, const Bitmapset *columns);
static bool passes(BdrSentRelation *sent, uint8 action, bool is_old);
static bool row_passes(BdrSentRelation *sent, const BdrSetRule *rule);
static bool is_true(BdrSentRelation *sent, const BdrSetRule *rule);
static bool is_true_or_fails(BdrSentRelation *sent, const BdrSetRule *rule);
static void complain(BdrSentRelation *sent, const ErrorData *error);
static void fill_row(BdrSentRelation *sent, TupleDesc desc, HeapTuple tuple, HeapTuple old);
static HeapTuple key_of(BdrSentRelation *sent, TupleDesc desc, HeapTuple tuple);
static bool has_unsent(TupleDesc desc, HeapTuple tuple);

void
bdr_sets_subscribe(BdrOutput *output, const char *list)
{
	if (!SplitIdentifierString(pstrdup(list), ',', &output->subscribed))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", "replication_sets", list),
				 errhint("The value is a list of names, separated by commas.")));
}

bool
bdr_sets_are_in(BdrOutput *output, Oid relid)
{
	for (int i = 0; i < lengthof(output->set_tables); i++)
		if (output->set_tables[i] == relid && OidIsValid(relid))
			return true;
	return false;
}

void
bdr_sets_build(BdrOutput *output, BdrSentRelation *sent, Relation relation)
{
	Oid			table = bdr_catalog_relation("replication_set");
	List	   *shared;
	ListCell   *lc;

	sent->is_default = false;
	sent->whole = BDR_SENT_ALL;
	sent->actions = BDR_SENT_ALL;
	sent->rules = NIL;
	sent->row = NULL;
	sent->listed = NULL;
	sent->all_columns = true;
	for (int i = 0; i < lengthof(set_tables); i++)
		output->set_tables[i] = bdr_catalog_relation(set_tables[i]);
	if (output->rows_skipped)
	{
		/* whatever is wrong with a filter; what follows looks again */
		sent->valid = false;
		return;
	}
	sent->is_default = read_default(output, table);
	if (sent->is_default)
		return;

	sent->whole = sent->actions = 0;
	sent->all_columns = false;
	shared = read_shared(output);
	foreach(lc, shared)
		build_from_set(sent, relation, lfirst(lc));
}

/*
 * Do both sides have the default set?  A node without it has chosen others.
 */
static bool
read_default(BdrOutput *output, Oid table)
{
	List	   *published;
	char	   *group;

	if (!OidIsValid(table))		/* older SQL objects */
		return output->subscribed == NIL;
	published = read_published();
	if (published == NIL && output->subscribed == NIL)
		return true;
	group = read_group();
	return names_have(published, group, group) && names_have(output->subscribed, group, group);
}

bool
bdr_sets_have_one_of(BdrOutput *output, ArrayType *names)
{
	List	   *published = read_published();
	char	   *group = read_group();
	Datum	   *elements;
	int			n;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		const char *name = TextDatumGetCString(elements[i]);

		if (names_have(published, name, group) && names_have(output->subscribed, name, group))
			return true;
	}
	return false;
}

/* An empty list is the default set. */
static bool
names_have(const List *names, const char *name, const char *group)
{
	ListCell   *lc;

	if (names == NIL)
		return group != NULL && strcmp(name, group) == 0;
	foreach(lc, names)
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}

/*-------------------------------------------------------------------------
 * Reading what was agreed on.
 *-------------------------------------------------------------------------
 */

/* NULL: no relation of ours. */
static Relation
open_ours(const char *name)
{
	Oid			relid = bdr_catalog_relation(name);
	Relation	rel = OidIsValid(relid) ? RelationIdGetRelation(relid) : NULL;

	if (rel == NULL)
		return NULL;
	if (RelationIsUsedAsCatalogTable(rel))
		return rel;
	RelationClose(rel);			/* of older SQL objects, at this place in WAL */
	return NULL;
}

static char *
read_group(void)
{
	Relation	rel = open_ours("node_group");
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *name = NULL;
	bool		isnull;

	if (rel == NULL)
		return pstrdup("");
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		name = pstrdup(NameStr(*DatumGetName(heap_getattr(tuple, BDR_GROUP_NAME, RelationGetDescr(rel), &isnull))));
	systable_endscan(scan);
	RelationClose(rel);
	return name != NULL ? name : pstrdup("");
}

/* Names of sets. */
static List *
read_published(void)
{
	Relation	rel = open_ours("local_node");
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *names = NIL;

	if (rel == NULL)
		return NIL;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, BDR_LOCAL_PUBLISHED, RelationGetDescr(rel), &isnull);
		Datum	   *elements;
		int			n;

		deconstruct_array(DatumGetArrayTypePCopy(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
		for (int i = 0; i < n; i++)
			names = lappend(names, TextDatumGetCString(elements[i]));
	}
	systable_endscan(scan);
	RelationClose(rel);
	return names;
}

/* Those that both sides have. */
static List *
read_shared(BdrOutput *output)
{
	Relation	rel = open_ours("replication_set");
	List	   *published = read_published();
	char	   *group = read_group();
	List	   *shared = NIL;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (rel == NULL)
		return NIL;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		Datum		values[BDR_SET_COLUMNS];
		bool		nulls[BDR_SET_COLUMNS];
		const char *name;
		SharedSet  *set;

		heap_deform_tuple(tuple, desc, values, nulls);
		name = NameStr(*DatumGetName(values[BDR_SET_NAME - 1]));
		if (!names_have(published, name, group) || !names_have(output->subscribed, name, group))
			continue;
		set = palloc0(sizeof(SharedSet));
		set->id = DatumGetObjectId(values[BDR_SET_ID - 1]);
		set->adds_tables = DatumGetBool(values[BDR_SET_ADDS_TABLES - 1]);
		set->actions = (DatumGetBool(values[BDR_SET_INSERT - 1]) ? BDR_SENT_INSERT : 0) |
			(DatumGetBool(values[BDR_SET_UPDATE - 1]) ? BDR_SENT_UPDATE : 0) |
			(DatumGetBool(values[BDR_SET_DELETE - 1]) ? BDR_SENT_DELETE : 0) |
			(DatumGetBool(values[BDR_SET_TRUNCATE - 1]) ? BDR_SENT_TRUNCATE : 0);
		shared = lappend(shared, set);
	}
	systable_endscan(scan);
	RelationClose(rel);
	return shared;
}

/*
 * The table nearest to the root of a partition that is in the set counts; a set adds
 * roots by itself, not partitions.  The view bdr.tables has the same rule.
 */
static Membership
membership_of(const BdrSentRelation *sent, Relation relation, const SharedSet *set)
{
	List	   *above = sent->ancestors;

	for (int i = list_length(above); i >= 0; i--)
	{
		Oid			relid = i > 0 ? list_nth_oid(above, i - 1) : sent->relid;
		bool		is_root = i == list_length(above);
		Membership	m = read_membership(set->id, relid, sent->context);

		if (!m.known)
			m.member = set->adds_tables && is_root;
		if (m.member)
			return m;
	}
	return (Membership) {0};
}

static Membership
read_membership(Oid set, Oid relid, MemoryContext context)
{
	Relation	rel = open_ours("replication_set_table");
	Oid			index = bdr_catalog_relation("replication_set_table_pkey");
	Membership	m = {0};
	NameData	schema;
	NameData	name;
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;

	if (rel == NULL)
		return m;
	namestrcpy(&schema, get_namespace_name(get_rel_namespace(relid)));
	namestrcpy(&name, get_rel_name(relid));
	ScanKeyInit(&keys[0], BDR_SET_TABLE_SET, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(set));
	ScanKeyInit(&keys[1], BDR_SET_TABLE_NSPNAME, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&schema));
	ScanKeyInit(&keys[2], BDR_SET_TABLE_RELNAME, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&name));
	scan = systable_beginscan(rel, index, OidIsValid(index), NULL, 3, keys);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[BDR_SET_TABLE_COLUMNS];
		bool		nulls[BDR_SET_TABLE_COLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		m.known = true;
		m.member = DatumGetBool(values[BDR_SET_TABLE_MEMBER - 1]);
		if (!nulls[BDR_SET_TABLE_ATTS - 1])
			m.columns = DatumGetArrayTypePCopy(values[BDR_SET_TABLE_ATTS - 1]);
		if (!nulls[BDR_SET_TABLE_FILTER - 1])
			m.filter = TextDatumGetCString(values[BDR_SET_TABLE_FILTER - 1]);
	}
	systable_endscan(scan);
	RelationClose(rel);
	return m;
}

/*-------------------------------------------------------------------------
 * What follows for a relation: the union over the sets.
 *-------------------------------------------------------------------------
 */

static void
build_from_set(BdrSentRelation *sent, Relation relation, const SharedSet *set)
{
	Membership	m = membership_of(sent, relation, set);

	if (!m.member)
		return;
	sent->actions |= set->actions;
	if (m.columns == NULL)
		sent->all_columns = true;
	else
		add_columns(sent, relation, m.columns);
	if (m.filter == NULL)
		sent->whole |= set->actions;
	else
	{
		sent->whole |= set->actions & BDR_SENT_TRUNCATE;
		add_rule(sent, relation, set->actions, m.filter);
	}
}

/* The replica identity goes along, whatever the list says by now. */
static void
add_columns(BdrSentRelation *sent, Relation relation, ArrayType *columns)
{
	Datum	   *elements;
	int			n;
	TupleDesc	desc = RelationGetDescr(relation);
	Bitmapset  *key = RelationGetIdentityKeyBitmap(relation);

	deconstruct_array(columns, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		listed = sent->identity == REPLICA_IDENTITY_FULL ||
			bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, key);

		for (int j = 0; j < n && !listed; j++)
			listed = !att->attisdropped && strcmp(NameStr(att->attname), TextDatumGetCString(elements[j])) == 0;
		if (listed)
			sent->listed = bms_add_member(sent->listed, att->attnum);
	}
}

static void
add_rule(BdrSentRelation *sent, Relation relation, uint8 actions, const char *filter)
{
	BdrSetRule *rule = palloc0(sizeof(BdrSetRule));
	ErrorContextCallback callback = {error_context_stack, describe_filter, sent};
	Bitmapset  *columns;
	Node	   *parsed;
	EState	   *estate;

	error_context_stack = &callback;
	if (sent->row == NULL)
	{
		estate = CreateExecutorState();
		MemoryContextSetParent(estate->es_query_cxt, sent->context);
		sent->row = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(relation)), &TTSOpsVirtual);
		sent->econtext = GetPerTupleExprContext(estate);
		sent->econtext->ecxt_scantuple = sent->row;
	}
	rule->actions = actions;
	parsed = bdr_row_filter_parse(relation, filter, &columns);
	rule->filter = ExecPrepareExpr((Expr *) parsed, sent->econtext->ecxt_estate);
	rule->columns = columns;
	rule->may_fail = contain_leaked_vars(parsed);
	rule->old_is_known = identity_has(relation, columns);
	sent->rules = lappend(sent->rules, rule);
	error_context_stack = callback.previous;
}

static void
describe_filter(void *arg)
{
	BdrSentRelation *sent = arg;

	errcontext("reading the row filter of table \"%s.%s\"", sent->schema, sent->name);
}

static bool
identity_has(Relation relation, const Bitmapset *columns)
{
	Bitmapset  *key = RelationGetIdentityKeyBitmap(relation);
	int			attnum = -1;

	if (relation->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return true;
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (!bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, key))
			return false;
	return true;
}

/*-------------------------------------------------------------------------
 * One change.
 *-------------------------------------------------------------------------
 */

int
bdr_sets_send_as(BdrOutput *output, BdrSentRelation *sent, TupleDesc desc,
				 ReorderBufferChange *change, HeapTuple *old)
{
	HeapTuple	new_tuple = BDR_DECODED_TUPLE(change->data.tp.newtuple);
	bool		was;
	bool		is;

	*old = BDR_DECODED_TUPLE(change->data.tp.oldtuple);
	if (change->action == REORDER_BUFFER_CHANGE_INSERT)
	{
		fill_row(sent, desc, new_tuple, NULL);
		return passes(sent, BDR_SENT_INSERT, false) ? BDR_SENT_INSERT : 0;
	}
	if (change->action == REORDER_BUFFER_CHANGE_DELETE)
	{
		if (*old == NULL)
			return 0;
		fill_row(sent, desc, *old, NULL);
		return passes(sent, BDR_SENT_DELETE, true) ? BDR_SENT_DELETE : 0;
	}
	fill_row(sent, desc, new_tuple, *old);
	is = passes(sent, BDR_SENT_UPDATE, false);
	/* without an old row the replica identity is as it was */
	if (*old != NULL)
		fill_row(sent, desc, *old, NULL);
	was = passes(sent, BDR_SENT_UPDATE, true);
	if (is && was)
		return BDR_SENT_UPDATE;
	if (is)
	{
		/* a value that is not in WAL can be asked for by who gets an update */
		if (!has_unsent(desc, new_tuple))
			return BDR_SENT_INSERT;
		*old = NULL;
		return BDR_SENT_UPDATE;
	}
	if (was && *old == NULL)
		*old = key_of(sent, desc, new_tuple);
	return was ? BDR_SENT_DELETE : 0;
}

/* Is the row at hand in any of the sets that have this action? */
static bool
passes(BdrSentRelation *sent, uint8 action, bool is_old)
{
	ListCell   *lc;

	if (sent->whole & action)
		return true;
	foreach(lc, sent->rules)
	{
		BdrSetRule *rule = lfirst(lc);

		if ((rule->actions & action) != 0 && ((is_old && !rule->old_is_known) || row_passes(sent, rule)))
			return true;
	}
	return false;
}

static bool
row_passes(BdrSentRelation *sent, const BdrSetRule *rule)
{
	int			attnum = -1;

	while ((attnum = bms_next_member(rule->columns, attnum)) >= 0)
	{
		Form_pg_attribute att = TupleDescAttr(sent->row->tts_tupleDescriptor, attnum - 1);

		if (att->attlen == -1 && !sent->row->tts_isnull[attnum - 1] &&
			VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(sent->row->tts_values[attnum - 1])))
			return true;		/* it is not known */
	}
	return rule->may_fail ? is_true_or_fails(sent, rule) : is_true(sent, rule);
}

/* NULL is, too. */
static bool
is_true(BdrSentRelation *sent, const BdrSetRule *rule)
{
	bool		isnull;
	Datum		result;

	ResetExprContext(sent->econtext);
	result = ExecEvalExprSwitchContext(rule->filter, sent->econtext, &isnull);
	return isnull || DatumGetBool(result);
}

static bool
is_true_or_fails(BdrSentRelation *sent, const BdrSetRule *rule)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool passed = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		passed = is_true(sent, rule);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		complain(sent, error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return passed;
}

/* Once per stream and table. */
static void
complain(BdrSentRelation *sent, const ErrorData *error)
{
	if (sent->filter_complained)
		return;
	sent->filter_complained = true;
	ereport(LOG,
			(errmsg("a row filter of table \"%s.%s\" fails for a row, which is sent", sent->schema, sent->name),
			 errdetail_internal("%s", error->message)));
}

/* A value that is left in its TOAST table is in the old row if it is part of the identity. */
static void
fill_row(BdrSentRelation *sent, TupleDesc desc, HeapTuple tuple, HeapTuple old)
{
	if (sent->row == NULL)
		return;
	ExecClearTuple(sent->row);
	heap_deform_tuple(tuple, desc, sent->row->tts_values, sent->row->tts_isnull);
	for (int i = 0; old != NULL && i < desc->natts; i++)
	{
		Datum		value;
		bool		isnull;

		if (sent->row->tts_isnull[i] || TupleDescAttr(desc, i)->attlen != -1 ||
			!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(sent->row->tts_values[i])))
			continue;
		value = heap_getattr(old, i + 1, desc, &isnull);
		if (!isnull)
			sent->row->tts_values[i] = value;
	}
	ExecStoreVirtualTuple(sent->row);
}

static HeapTuple
key_of(BdrSentRelation *sent, TupleDesc desc, HeapTuple tuple)
{
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	Bitmapset  *key = NULL;

	for (int i = 0; i < sent->ncolumns; i++)
		if (sent->columns[i].is_key)
			key = bms_add_member(key, sent->columns[i].index);
	heap_deform_tuple(tuple, desc, values, nulls);
	for (int i = 0; i < desc->natts; i++)
		nulls[i] |= !bms_is_member(i, key);
	return heap_form_tuple(desc, values, nulls);
}

static bool
has_unsent(TupleDesc desc, HeapTuple tuple)
{
	for (int i = 0; HeapTupleHasExternal(tuple) && i < desc->natts; i++)
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, i + 1, desc, &isnull);

		if (!isnull && !TupleDescAttr(desc, i)->attisdropped && TupleDescAttr(desc, i)->attlen == -1 &&
			VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
			return true;
	}
	return false;
}
