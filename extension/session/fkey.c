/*-------------------------------------------------------------------------
 * session/fkey.c
 *		Trigger functions that keep foreign keys whole while changes of peers
 *		are applied.
 *
 * NOTES
 *		A writer does not fire the triggers of foreign keys.  A row that one
 *		node inserts while another deletes what it refers to would be left
 *		pointing nowhere.  With these, as ENABLE REPLICA triggers, the columns
 *		that refer become NULL: when the referring row comes and there is
 *		nothing to refer to, and when the row referred to goes.
 *
 *		Outside session_replication_role = replica they do nothing: there the
 *		foreign key itself is checked.
 *
 *		The other table has an owner of its own, and code of his: each statement
 *		runs as the owner of the table that it reads or writes, as those of
 *		PostgreSQL's foreign keys do, in a security-restricted operation unless
 *		he is a superuser.  A key that has to be cast is cast as the owner of
 *		the table that it is in.
 *
 *		What there is to do for a table is remembered until any table or
 *		constraint changes.  An entry that is replaced may be in use further
 *		up the stack, so it lives until the transaction ends.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/user_context.h"
#include "bdr_compat.h"

/* Which end of its foreign keys a table is. */
typedef enum FkeySide
{
	FKEY_REFERRING,
	FKEY_REFERRED
} FkeySide;

typedef struct Fkey
{
	Oid			referring;
	Oid			referred;
	int			nkeys;
	AttrNumber	columns[INDEX_MAX_KEYS];	/* of the referring table */
	AttrNumber	referred_columns[INDEX_MAX_KEYS];
	Oid			operators[INDEX_MAX_KEYS];	/* referred = referring */
	bool		has_period;		/* the last column is one: && is its operator */
	int			nnull;
	AttrNumber	null_columns[INDEX_MAX_KEYS];	/* of the referring table */
	SPIPlanPtr	plan;			/* look up, or set to NULL */
	SPIPlanPtr	cast_plan;		/* before a look-up; NULL: not needed */
	SPIPlanPtr	null_plan;		/* set one row to NULL; made when needed */
} Fkey;

typedef struct FkeyTable
{
	Oid			relid;			/* hash key, with the next */
	FkeySide	side;
	uint64		generation;		/* when it was made; 0: it is not */
	MemoryContext context;
	List	   *fkeys;			/* Fkey */
} FkeyTable;

#define FKEY_TABLE_KEY_BYTES	offsetof(FkeyTable, generation)

PG_FUNCTION_INFO_V1(bdr_ri_fkey_trigger);
PG_FUNCTION_INFO_V1(bdr_ri_fkey_on_del_trigger);

static HTAB *tables = NULL;
static List *replaced = NIL;	/* FkeyTable */
static uint64 generation = 1;

static TriggerData *trigger_data(FunctionCallInfo fcinfo, bool deletes, const char *function,
								 const char *events);
static HeapTuple check_before(TriggerData *data);
static void check_after(TriggerData *data);
static bool dangles(Fkey *fkey, Relation rel, HeapTuple row, HeapTuple old);
static bool same_key(Fkey *fkey, TupleDesc desc, HeapTuple a, HeapTuple b);
static bool refers_to_itself(Fkey *fkey, Relation rel, const Datum *values, HeapTuple row);
static HeapTuple set_null(Fkey *fkey, TupleDesc desc, HeapTuple row);
static void set_null_stored(Fkey *fkey, Relation rel, HeapTuple row);
static bool read_key(const AttrNumber *columns, int n, TupleDesc desc, HeapTuple row, Datum *values);
static bool cast_key(Fkey *fkey, Datum *values);
static uint64 run_plan(SPIPlanPtr plan, Oid relid, Datum *values, const char *what);
static void execute(SPIPlanPtr plan, Datum *values, const char *what);
static void become_owner(Oid relid, BdrRights *before);
static Oid	role_of(Relation rel);
static List *fkeys_of(Relation rel, FkeySide side);
static void build_table(FkeyTable *table);
static Fkey *build_fkey(HeapTuple constraint);
static bool is_clone(Form_pg_constraint constraint, FkeySide side);
static void prepare_lookup(Fkey *fkey);
static void cover_period(StringInfo query, Fkey *fkey);
static Oid	looked_up_type(Fkey *fkey, int i);
static void prepare_cast(Fkey *fkey);
static void prepare_update(Fkey *fkey);
static void prepare_null(Fkey *fkey);
static void append_null(StringInfo query, Fkey *fkey);
static void append_table(StringInfo query, Oid relid);
static void append_equals(StringInfo query, Oid operator, const char *left, Oid left_type,
						  const char *right, Oid right_type);
static void append_operand(StringInfo query, const char *operand, Oid type, Oid wanted);
static SPIPlanPtr prepare(StringInfo query, Oid relid, int nargs, Oid *types);
static void init_tables(void);
static void something_changed(Datum arg, int cache, uint32 hash);
static void relation_changed(Datum arg, Oid relid);
static void at_transaction_end(XactEvent event, void *arg);

/* ---------------------------------------------------------------------
 * The triggers
 * ---------------------------------------------------------------------
 */

/* For INSERT and UPDATE of a table with foreign keys. */
Datum
bdr_ri_fkey_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, false, "ri_fkey_trigger", "INSERT or UPDATE");
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	HeapTuple	row = update ? data->tg_newtuple : data->tg_trigtuple;

	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		return PointerGetDatum(row);
	if (TRIGGER_FIRED_BEFORE(data->tg_event))
		return PointerGetDatum(check_before(data));
	check_after(data);
	return PointerGetDatum(NULL);
}

/* For DELETE of a table that foreign keys refer to. */
Datum
bdr_ri_fkey_on_del_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, true, "ri_fkey_on_del_trigger", "DELETE");
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	ListCell   *lc;

	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		return PointerGetDatum(data->tg_trigtuple);
	foreach(lc, fkeys_of(data->tg_relation, FKEY_REFERRED))
	{
		Fkey	   *fkey = lfirst(lc);
		Datum		values[INDEX_MAX_KEYS];

		if (read_key(fkey->referred_columns, fkey->nkeys, desc, data->tg_trigtuple, values))
			(void) run_plan(fkey->plan, fkey->referring, values, "update referring rows");
	}
	return PointerGetDatum(data->tg_trigtuple);
}

static TriggerData *
trigger_data(FunctionCallInfo fcinfo, bool deletes, const char *function, const char *events)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"bdr.%s\" was not called by a trigger", function)));
	if (!TRIGGER_FIRED_FOR_ROW(data->tg_event) || TRIGGER_FIRED_BY_DELETE(data->tg_event) != deletes)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"bdr.%s\" must be fired for each row by %s", function, events)));
	return data;
}

static HeapTuple
check_before(TriggerData *data)
{
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	HeapTuple	row = update ? data->tg_newtuple : data->tg_trigtuple;
	HeapTuple	old = update ? data->tg_trigtuple : NULL;
	ListCell   *lc;

	foreach(lc, fkeys_of(data->tg_relation, FKEY_REFERRING))
	{
		Fkey	   *fkey = lfirst(lc);

		if (dangles(fkey, data->tg_relation, row, old))
			row = set_null(fkey, RelationGetDescr(data->tg_relation), row);
	}
	return row;
}

/*
 * A row that the transaction has changed again meanwhile has another call
 * coming.
 */
static void
check_after(TriggerData *data)
{
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	HeapTuple	row = update ? data->tg_newtuple : data->tg_trigtuple;
	HeapTuple	old = update ? data->tg_trigtuple : NULL;
	TupleTableSlot *slot = update ? data->tg_newslot : data->tg_trigslot;
	ListCell   *lc;

	if (!table_tuple_satisfies_snapshot(data->tg_relation, slot, SnapshotSelf))
		return;
	foreach(lc, fkeys_of(data->tg_relation, FKEY_REFERRING))
	{
		Fkey	   *fkey = lfirst(lc);

		if (!dangles(fkey, data->tg_relation, row, old))
			continue;
		set_null_stored(fkey, data->tg_relation, row);
		return;					/* fires the trigger again, for what is left */
	}
}

/*
 * Looks for the row that is referred to, and keeps it from going before our
 * transaction ends.  A key that an update leaves alone is not looked at.
 */
static bool
dangles(Fkey *fkey, Relation rel, HeapTuple row, HeapTuple old)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Datum		values[INDEX_MAX_KEYS];

	if (!read_key(fkey->columns, fkey->nkeys, desc, row, values))
		return false;
	if (old != NULL && same_key(fkey, desc, row, old))
		return false;
	if (fkey->referred == RelationGetRelid(rel) && refers_to_itself(fkey, rel, values, row))
		return false;
	if (fkey->cast_plan != NULL && !cast_key(fkey, values))
		return true;
	return run_plan(fkey->plan, fkey->referred, values, "look up the row that is referred to") == 0;
}

static bool
same_key(Fkey *fkey, TupleDesc desc, HeapTuple a, HeapTuple b)
{
	for (int i = 0; i < fkey->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, fkey->columns[i] - 1);
		bool		a_null;
		bool		b_null;
		Datum		a_value = heap_getattr(a, fkey->columns[i], desc, &a_null);
		Datum		b_value = heap_getattr(b, fkey->columns[i], desc, &b_null);

		if (a_null || b_null || !datum_image_eq(a_value, b_value, att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/*
 * Before a row is stored it cannot be found.  Keys whose types need a
 * conversion are not compared, and periods not added up; such a row needs an
 * AFTER trigger.
 */
static bool
refers_to_itself(Fkey *fkey, Relation rel, const Datum *values, HeapTuple row)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Datum		own[INDEX_MAX_KEYS];

	if (fkey->has_period || !read_key(fkey->referred_columns, fkey->nkeys, desc, row, own))
		return false;
	for (int i = 0; i < fkey->nkeys; i++)
	{
		Form_pg_attribute left = TupleDescAttr(desc, fkey->referred_columns[i] - 1);
		Form_pg_attribute right = TupleDescAttr(desc, fkey->columns[i] - 1);
		Oid			left_type;
		Oid			right_type;

		op_input_types(fkey->operators[i], &left_type, &right_type);
		if (!IsBinaryCoercible(left->atttypid, left_type) || !IsBinaryCoercible(right->atttypid, right_type))
			return false;
		if (!DatumGetBool(OidFunctionCall2Coll(get_opcode(fkey->operators[i]), left->attcollation,
											   own[i], values[i])))
			return false;
	}
	return true;
}

static HeapTuple
set_null(Fkey *fkey, TupleDesc desc, HeapTuple row)
{
	int			columns[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS] = {0};
	bool		nulls[INDEX_MAX_KEYS];

	for (int i = 0; i < fkey->nnull; i++)
	{
		columns[i] = fkey->null_columns[i];
		nulls[i] = true;
	}
	return heap_modify_tuple_by_cols(row, desc, fkey->nnull, columns, values, nulls);
}

static void
set_null_stored(Fkey *fkey, Relation rel, HeapTuple row)
{
	Datum		values[] = {PointerGetDatum(&row->t_self)};

	if (fkey->null_plan == NULL)
		prepare_null(fkey);
	(void) run_plan(fkey->null_plan, fkey->referring, values, "update a referring row");
}

/* Returns false when one of the columns is NULL: it refers to nothing. */
static bool
read_key(const AttrNumber *columns, int n, TupleDesc desc, HeapTuple row, Datum *values)
{
	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		values[i] = heap_getattr(row, columns[i], desc, &isnull);
		if (isnull)
			return false;
	}
	return true;
}

/*
 * Make values of the referring table what its key is compared with.  Returns
 * false when one becomes NULL.
 */
static bool
cast_key(Fkey *fkey, Datum *values)
{
	BdrRights	rights;
	bool		isnull = false;

	become_owner(fkey->referring, &rights);
	SPI_connect();
	execute(fkey->cast_plan, values, "cast a key");
	for (int i = 0; i < fkey->nkeys && !isnull; i++)
	{
		Form_pg_attribute att = TupleDescAttr(SPI_tuptable->tupdesc, i);
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull);

		if (!isnull)
			values[i] = SPI_datumTransfer(value, att->attbyval, att->attlen);
	}
	SPI_finish();
	bdr_rights_restore(&rights);
	return !isnull;
}

/* Returns the number of rows. */
static uint64
run_plan(SPIPlanPtr plan, Oid relid, Datum *values, const char *what)
{
	BdrRights	rights;
	uint64		processed;

	become_owner(relid, &rights);
	SPI_connect();
	execute(plan, values, what);
	processed = SPI_processed;
	SPI_finish();
	bdr_rights_restore(&rights);
	return processed;
}

static void
execute(SPIPlanPtr plan, Datum *values, const char *what)
{
	int			result = SPI_execute_plan(plan, values, NULL, false, 0);

	if (result < 0)
		elog(ERROR, "could not %s: %s", what, SPI_result_code_string(result));
}

/*
 * Row security that the owner forces upon himself does not count for foreign
 * keys; where it counts, rather an error than a row that is not seen.
 */
static void
become_owner(Oid relid, BdrRights *before)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Oid			role = role_of(rel);

	table_close(rel, NoLock);
	bdr_rights_take(role, before);
	SetUserIdAndSecContext(role, before->context | SECURITY_NOFORCE_RLS |
						   (superuser_arg(role) ? 0 : SECURITY_RESTRICTED_OPERATION));
	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * A statement for a partitioned table runs the code of its partitions, too.
 */
static Oid
role_of(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	Oid			role = bdr_code_role(relid, rel->rd_rel->relowner, bdr_owner_above(relid));
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return role;
	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Oid			partition = lfirst_oid(lc);
		Oid			owner = bdr_code_role(partition, bdr_owner_of(partition), bdr_owner_above(partition));

		if (owner != role && !superuser_arg(owner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("cannot follow a foreign key of table \"%s\" as its owner", RelationGetRelationName(rel)),
					 errdetail("Its partition \"%s\" has code of role \"%s\".", get_rel_name(partition), GetUserNameFromId(owner, false)),
					 errhint("Give the tables one owner with ALTER TABLE ... OWNER TO; replication then continues by itself.")));
	}
	return role;
}

/* ---------------------------------------------------------------------
 * What there is to do for a table
 * ---------------------------------------------------------------------
 */
static List *
fkeys_of(Relation rel, FkeySide side)
{
	FkeyTable	key = {.relid = RelationGetRelid(rel), .side = side};
	FkeyTable  *table;
	bool		found;

	if (tables == NULL)
		init_tables();
	table = hash_search(tables, &key, HASH_ENTER, &found);
	if (found && table->generation == generation)
		return table->fkeys;
	if (found && table->context != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		FkeyTable  *copy = palloc(sizeof(FkeyTable));

		*copy = *table;
		replaced = lappend(replaced, copy);
		MemoryContextSwitchTo(old);
	}
	table->generation = 0;
	table->context = NULL;
	table->fkeys = NIL;
	build_table(table);
	return table->fkeys;
}

static void
build_table(FkeyTable *table)
{
	uint64		now = generation;
	Relation	catalog = table_open(ConstraintRelationId, AccessShareLock);
	AttrNumber	column = table->side == FKEY_REFERRING ? Anum_pg_constraint_conrelid : Anum_pg_constraint_confrelid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	MemoryContext old;

	table->context = AllocSetContextCreate(TopMemoryContext, "bdr foreign keys", ALLOCSET_SMALL_SIZES);
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table->relid));
	scan = systable_beginscan(catalog, table->side == FKEY_REFERRING ? ConstraintRelidTypidNameIndexId : InvalidOid,
							  table->side == FKEY_REFERRING, NULL, 1, &key);
	old = MemoryContextSwitchTo(table->context);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(tuple);

		if (constraint->contype == CONSTRAINT_FOREIGN && bdr_is_enforced(constraint) && !is_clone(constraint, table->side))
			table->fkeys = lappend(table->fkeys, build_fkey(tuple));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	for (int i = 0; i < list_length(table->fkeys); i++)
	{
		if (table->side == FKEY_REFERRING)
			prepare_lookup(list_nth(table->fkeys, i));
		else
			prepare_update(list_nth(table->fkeys, i));
	}
	MemoryContextSwitchTo(old);
	table->generation = now;
}

static Fkey *
build_fkey(HeapTuple constraint)
{
	Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(constraint);
	Fkey	   *fkey = palloc0(sizeof(Fkey));
	Oid			unused[INDEX_MAX_KEYS];

	fkey->referring = form->conrelid;
	fkey->referred = form->confrelid;
	DeconstructFkConstraintRow(constraint, &fkey->nkeys, fkey->columns, fkey->referred_columns,
							   fkey->operators, unused, unused, &fkey->nnull, fkey->null_columns);
	fkey->has_period = bdr_has_period(form);
	if (fkey->nnull == 0)
	{
		/* when a row was true stays to be known */
		fkey->nnull = fkey->nkeys - (fkey->has_period ? 1 : 0);
		memcpy(fkey->null_columns, fkey->columns, sizeof(fkey->columns));
	}
	return fkey;
}

/*
 * Where the other end is partitioned, its partitions have constraints of
 * their own, which say nothing that their parent does not.
 */
static bool
is_clone(Form_pg_constraint constraint, FkeySide side)
{
	HeapTuple	tuple;
	Form_pg_constraint parent;
	bool		clone;

	if (!OidIsValid(constraint->conparentid))
		return false;
	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint->conparentid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for constraint %u", constraint->conparentid);
	parent = (Form_pg_constraint) GETSTRUCT(tuple);
	clone = side == FKEY_REFERRING ? parent->conrelid == constraint->conrelid :
		parent->confrelid == constraint->confrelid;
	ReleaseSysCache(tuple);
	return clone;
}

/* ---------------------------------------------------------------------
 * Plans
 * ---------------------------------------------------------------------
 */

/* SELECT 1 FROM [ONLY] referred x WHERE x.a = $1 ... FOR KEY SHARE OF x */
static void
prepare_lookup(Fkey *fkey)
{
	StringInfoData query;
	Oid			types[INDEX_MAX_KEYS];

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT 1 FROM ");
	append_table(&query, fkey->referred);
	for (int i = 0; i < fkey->nkeys; i++)
	{
		char	   *column = psprintf("x.%s", quote_identifier(get_attname(fkey->referred, fkey->referred_columns[i], false)));

		types[i] = looked_up_type(fkey, i);
		appendStringInfoString(&query, i == 0 ? " WHERE " : " AND ");
		append_equals(&query, fkey->operators[i], column, get_atttype(fkey->referred, fkey->referred_columns[i]),
					  psprintf("$%d", i + 1), types[i]);
	}
	appendStringInfoString(&query, " FOR KEY SHARE OF x");
	if (fkey->has_period)
		cover_period(&query, fkey);
	fkey->plan = prepare(&query, fkey->referred, fkey->nkeys, types);
	prepare_cast(fkey);
}

/*
 * Rows that each have a part of a period are enough together:
 * SELECT 1 FROM (SELECT x.p FROM ...) y (p) HAVING $n <@ range_agg(y.p)
 */
static void
cover_period(StringInfo query, Fkey *fkey)
{
	int			i = fkey->nkeys - 1;
	char	   *rows = psprintf("SELECT x.%s%s", quote_identifier(get_attname(fkey->referred, fkey->referred_columns[i], false)),
								query->data + strlen("SELECT 1"));

	resetStringInfo(query);
	appendStringInfo(query, "SELECT 1 FROM (%s) y (p) HAVING $%d OPERATOR(pg_catalog.<@) pg_catalog.range_agg(y.p)",
					 rows, fkey->nkeys);
}

/*
 * As what type a value of the referring table is looked up: its own, unless
 * code is needed to compare it.
 */
static Oid
looked_up_type(Fkey *fkey, int i)
{
	Oid			type = get_atttype(fkey->referring, fkey->columns[i]);
	Oid			left;
	Oid			right;

	op_input_types(fkey->operators[i], &left, &right);
	return IsPolymorphicType(right) || IsBinaryCoercible(type, right) ? type : right;
}

/* SELECT $1::t ... */
static void
prepare_cast(Fkey *fkey)
{
	StringInfoData query;
	Oid			types[INDEX_MAX_KEYS];
	bool		needed = false;

	initStringInfo(&query);
	for (int i = 0; i < fkey->nkeys; i++)
	{
		Oid			wanted = looked_up_type(fkey, i);

		types[i] = get_atttype(fkey->referring, fkey->columns[i]);
		needed |= types[i] != wanted;
		appendStringInfoString(&query, i == 0 ? "SELECT " : ", ");
		append_operand(&query, psprintf("$%d", i + 1), types[i], wanted);
	}
	if (needed)
		fkey->cast_plan = prepare(&query, fkey->referring, fkey->nkeys, types);
}

/* UPDATE [ONLY] referring x SET a = NULL ... WHERE $1 = x.a ... */
static void
prepare_update(Fkey *fkey)
{
	StringInfoData query;
	Oid			types[INDEX_MAX_KEYS];

	initStringInfo(&query);
	append_null(&query, fkey);
	for (int i = 0; i < fkey->nkeys; i++)
	{
		char	   *column = psprintf("x.%s", quote_identifier(get_attname(fkey->referring, fkey->columns[i], false)));

		types[i] = get_atttype(fkey->referred, fkey->referred_columns[i]);
		appendStringInfoString(&query, i == 0 ? " WHERE " : " AND ");
		append_equals(&query, fkey->operators[i], psprintf("$%d", i + 1), types[i],
					  column, get_atttype(fkey->referring, fkey->columns[i]));
	}
	fkey->plan = prepare(&query, fkey->referring, fkey->nkeys, types);
}

/* UPDATE [ONLY] referring x SET a = NULL ... WHERE x.ctid = $1 */
static void
prepare_null(Fkey *fkey)
{
	StringInfoData query;
	Oid			types[] = {TIDOID};

	initStringInfo(&query);
	append_null(&query, fkey);
	appendStringInfoString(&query, " WHERE x.ctid OPERATOR(pg_catalog.=) $1");
	fkey->null_plan = prepare(&query, fkey->referring, 1, types);
}

static void
append_null(StringInfo query, Fkey *fkey)
{
	appendStringInfoString(query, "UPDATE ");
	append_table(query, fkey->referring);
	for (int i = 0; i < fkey->nnull; i++)
		appendStringInfo(query, "%s %s = NULL", i == 0 ? " SET" : ",",
						 quote_identifier(get_attname(fkey->referring, fkey->null_columns[i], false)));
}

static void
append_table(StringInfo query, Oid relid)
{
	appendStringInfo(query, "%s%s x", get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid)));
}

static void
append_equals(StringInfo query, Oid operator, const char *left, Oid left_type,
			  const char *right, Oid right_type)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	append_operand(query, left, left_type, form->oprleft);
	appendStringInfo(query, " OPERATOR(%s.%s) ", quote_identifier(get_namespace_name(form->oprnamespace)),
					 NameStr(form->oprname));
	append_operand(query, right, right_type, form->oprright);
	ReleaseSysCache(tuple);
}

static void
append_operand(StringInfo query, const char *operand, Oid type, Oid wanted)
{
	appendStringInfoString(query, operand);
	if (type != wanted && !IsPolymorphicType(wanted))
		appendStringInfo(query, "::%s", format_type_be_qualified(wanted));
}

static SPIPlanPtr
prepare(StringInfo query, Oid relid, int nargs, Oid *types)
{
	BdrRights	rights;
	SPIPlanPtr	plan;

	become_owner(relid, &rights);
	SPI_connect();
	plan = SPI_prepare(query->data, nargs, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", query->data, SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	SPI_finish();
	bdr_rights_restore(&rights);
	return plan;
}

/* ---------------------------------------------------------------------
 * Forgetting
 * ---------------------------------------------------------------------
 */
static void
init_tables(void)
{
	static bool registered = false;
	HASHCTL		control = {.keysize = FKEY_TABLE_KEY_BYTES, .entrysize = sizeof(FkeyTable)};

	if (!registered)
	{
		CacheRegisterSyscacheCallback(CONSTROID, something_changed, (Datum) 0);
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		RegisterXactCallback(at_transaction_end, NULL);
		registered = true;
	}
	tables = hash_create("bdr foreign keys", 32, &control, HASH_ELEM | HASH_BLOBS);
}

static void
something_changed(Datum arg, int cache, uint32 hash)
{
	generation++;
}

static void
relation_changed(Datum arg, Oid relid)
{
	generation++;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	ListCell   *lc;
	ListCell   *in_table;

	if (replaced == NIL ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	foreach(lc, replaced)
	{
		FkeyTable  *table = lfirst(lc);

		foreach(in_table, table->fkeys)
		{
			Fkey	   *fkey = lfirst(in_table);

			if (fkey->plan != NULL)
				SPI_freeplan(fkey->plan);
			if (fkey->cast_plan != NULL)
				SPI_freeplan(fkey->cast_plan);
			if (fkey->null_plan != NULL)
				SPI_freeplan(fkey->null_plan);
		}
		MemoryContextDelete(table->context);
	}
	list_free_deep(replaced);
	replaced = NIL;
}
