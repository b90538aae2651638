/*-------------------------------------------------------------------------
 * session/sequence/switch.c
 *		Changing the kind of a sequence, on all nodes.
 *
 * NOTES
 *		The manager of the node on which a user asks for it drives a switch
 *		(gosrc/sequencer).  On every node the sequence is stopped first, in a
 *		session that waits until no transaction uses it; from then on nextval
 *		waits there.  Once all have said what they made, consensus says which
 *		kind it has from now on, and from where on.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "base/membership.h"
#include "base/sequence.h"
#include "base/shmem.h"
#include "base/tables.h"
#include "base/user_context.h"
#include "session/request.h"
#include "session/sequence/clock.h"
#include "session/sequence/function.h"
#include "session/sequence/install.h"
#include "session/sequence/kind.h"
#include "session/sequence/layout.h"
#include "bdr_compat.h"

PG_FUNCTION_INFO_V1(bdr_alter_sequence_set_kind);
PG_FUNCTION_INFO_V1(bdr_internal_stop_sequence);
PG_FUNCTION_INFO_V1(bdr_internal_switch_sequence);
PG_FUNCTION_INFO_V1(bdr_internal_copy_sequence_kind);
PG_FUNCTION_INFO_V1(bdr_internal_sequence_changed);
PG_FUNCTION_INFO_V1(bdr_internal_sequence_key);

static void check_sequence(Relation rel);
static void check_fits(Relation rel, const BdrSequenceMethod *method);
static void set_own(Relation rel, const BdrSequenceMethod *method, int64 start);
static void set_everywhere(Relation rel, const BdrSequenceMethod *method, int64 start);
static void require_superuser(void);
static Oid	find_sequence(Name schema, Name name);
static void check_owner(Oid relid, Name role);
static const BdrSequenceMethod *method_of_switch(const pg_uuid_t *id, bool lock);
static int64 stop(Oid relid, BdrKindRow *row);
static int64 highest_made(BdrSequence *seq, const BdrSequenceState *state);
static int64 highest_in_table(Oid relid);

/* ---------------------------------------------------------------------
 * The user's function
 * ---------------------------------------------------------------------
 */

Datum
bdr_alter_sequence_set_kind(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	const BdrSequenceMethod *method = bdr_sequence_method_named(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	int64		start = PG_GETARG_INT64(2);
	Relation	rel;

	PreventCommandDuringRecovery("bdr.alter_sequence_set_kind()");
	PreventCommandIfReadOnly("bdr.alter_sequence_set_kind()");
	if (start < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("start must be at least 1")));
	rel = relation_open(relid, AccessShareLock);
	check_sequence(rel);
	check_fits(rel, method);
	if (rel->rd_createSubid != InvalidSubTransactionId)
		set_own(rel, method, start);
	else
		set_everywhere(rel, method, start);
	relation_close(rel, AccessShareLock);
	PG_RETURN_VOID();
}

static void
check_sequence(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_SEQUENCE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a sequence", RelationGetRelationName(rel))));
	if (!bdr_owns_relation(RelationGetRelid(rel)))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_SEQUENCE, RelationGetRelationName(rel));
	if (bdr_catalog_has(RelationGetRelid(rel)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sequence \"%s\" is bdr's own", RelationGetRelationName(rel))));
}

static void
check_fits(Relation rel, const BdrSequenceMethod *method)
{
	FormData_pg_sequence form = bdr_sequence_look(RelationGetRelid(rel))->form;
	const char *reason;

	if (bdr_sequence_is_local(method))
		return;
	reason = rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT ? "It is temporary or unlogged." : method->unfit(&form);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sequence \"%s\" cannot be of kind %s", RelationGetRelationName(rel), method->name),
				 errdetail_internal("%s", reason),
				 errhint("Alter the sequence on every node first, or choose another kind; bdr.sequence_candidates() lists columns that are too narrow.")));
}

/*
 * Nobody else can see the sequence yet; other nodes have their own by this name,
 * or will.  Numbers, of which it may have made some, are never as large as ids.
 */
static void
set_own(Relation rel, const BdrSequenceMethod *method, int64 start)
{
	Oid			relid = RelationGetRelid(rel);
	BdrSequence *seq = bdr_sequence_look(relid);
	BdrSequenceState state;
	int64		made = start - 1;
	Oid			node;

	bdr_sequence_read(rel, &state);
	if (!bdr_sequence_makes_ids(seq->method))
		made = Max(made, highest_made(seq, &state));
	if (bdr_sequence_is_local(method))
	{
		state.last_value = made + 1;
		state.is_called = false;
		bdr_sequence_become_local(relid, &state);
		return;
	}
	if (!bdr_is_member(&node) || !bdr_sequence_is_installed())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is not a member of a node group"),
				 errhint("Call bdr.create_node_group() or bdr.join_node_group() first.")));
	if (bdr_sequence_makes_ids(seq->method) && bdr_sequence_makes_ids(method))
		bdr_id_clock_raise(bdr_id_time(seq->method->made(seq)) + 1);
	bdr_sequence_take_kind(relid, method, bdr_sequence_new_key_of(relid), made);
}

static void
set_everywhere(Relation rel, const BdrSequenceMethod *method, int64 start)
{
	const char *args[5];
	BdrSequence *seq = bdr_sequence_look(RelationGetRelid(rel));

	if (bdr_sequence_is_local(method) && !seq->has_row && start == 1)
		return;
	if (CheckRelationLockedByMe(rel, RowExclusiveLock, true))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot change the kind of sequence \"%s\"", RelationGetRelationName(rel)),
				 errdetail("This transaction has used it."),
				 errhint("Commit first.")));
	args[0] = get_namespace_name(RelationGetNamespace(rel));
	args[1] = pstrdup(RelationGetRelationName(rel));
	args[2] = method->name;
	args[3] = psprintf(INT64_FORMAT, start);
	args[4] = superuser() ? NULL : GetUserNameFromId(GetUserId(), false);
	bdr_request("alter_sequence_set_kind", lengthof(args), args);
}

/* ---------------------------------------------------------------------
 * On every node
 * ---------------------------------------------------------------------
 */

static void
require_superuser(void)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to change sequences for other nodes")));
}

/* InvalidOid: there is none. */
static Oid
find_sequence(Name schema, Name name)
{
	Oid			namespace = get_namespace_oid(NameStr(*schema), true);
	Oid			relid = OidIsValid(namespace) ? get_relname_relid(NameStr(*name), namespace) : InvalidOid;

	return OidIsValid(relid) && get_rel_relkind(relid) == RELKIND_SEQUENCE ? relid : InvalidOid;
}

/*
 * Arguments: schema, name, id of the switch, role that asks for it (NULL: a
 * superuser).  Returns: is there such a sequence, its kind and key, the highest
 * value that was made or stored here.
 */
Datum
bdr_internal_stop_sequence(PG_FUNCTION_ARGS)
{
	Name		schema = PG_GETARG_NAME(0);
	Name		name = PG_GETARG_NAME(1);
	pg_uuid_t  *id = PG_GETARG_UUID_P(2);
	Oid			relid;
	BdrKindRow	row = {.letter = BDR_SEQUENCE_LOCAL};
	TupleDesc	desc;
	Datum		values[4] = {0};
	bool		nulls[4] = {false, true, true, true};

	require_superuser();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	relid = find_sequence(schema, name);
	if (OidIsValid(relid))
		LockRelationOid(relid, ShareRowExclusiveLock);
	if (OidIsValid(relid) && find_sequence(schema, name) == relid)
	{
		Relation	rel = relation_open(relid, NoLock);

		if (!PG_ARGISNULL(3))
			check_owner(relid, PG_GETARG_NAME(3));
		check_fits(rel, method_of_switch(id, false));
		relation_close(rel, NoLock);
		if (!bdr_kind_read(relid, &row))
			row.key = bdr_sequence_new_key_of(relid);
		values[1] = CharGetDatum(row.letter);
		values[2] = CStringGetTextDatum(row.key);
		row.stopped_by = *id;
		values[3] = Int64GetDatum(stop(relid, &row));
		(void) method_of_switch(id, true);
		values[0] = BoolGetDatum(true);
		nulls[1] = nulls[2] = nulls[3] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

static void
check_owner(Oid relid, Name role)
{
	Oid			caller = get_role_oid(NameStr(*role), true);

	if (OidIsValid(caller) && has_privs_of_role(caller, bdr_owner_of(relid)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of sequence %s on every node", get_rel_name(relid)),
			 errdetail("Role \"%s\" does not own it here.", NameStr(*role))));
}

/*
 * Which kind a switch leads to.  With lock it cannot be cancelled before this
 * transaction has ended.
 */
static const BdrSequenceMethod *
method_of_switch(const pg_uuid_t *id, bool lock)
{
	Oid			types[1] = {UUIDOID};
	Datum		args[1] = {UUIDPGetDatum(id)};
	char		letter = '\0';
	bool		isnull;

	SPI_connect();
	if (SPI_execute_with_args(lock ?
							  "SELECT seqkind FROM bdr.sequence_switch WHERE switch_id OPERATOR(pg_catalog.=) $1 AND NOT done FOR SHARE" :
							  "SELECT seqkind FROM bdr.sequence_switch WHERE switch_id OPERATOR(pg_catalog.=) $1 AND NOT done",
							  1, types, args, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read bdr.sequence_switch");
	if (SPI_processed > 0)
		letter = DatumGetChar(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	if (letter == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the change of the sequence's kind was cancelled"),
				 errhint("Try again.")));
	return bdr_sequence_method(letter);
}

/*
 * With the lock: nobody makes values.  The row keeps where a local sequence
 * stands, for if the switch is cancelled.
 */
static int64
stop(Oid relid, BdrKindRow *row)
{
	BdrSequence *seq = bdr_sequence_look(relid);
	Relation	rel = relation_open(relid, NoLock);
	BdrSequenceState state;
	BdrSequenceState ours = bdr_sequence_exhausted(relid, BDR_PAGE_OURS);
	int64		highest;

	bdr_sequence_read(rel, &state);
	if (!bdr_sequence_is_exhausted(&state))
	{
		row->local = state;
		bdr_sequence_replace(rel, &ours);
	}
	relation_close(rel, NoLock);
	highest = Max(highest_made(seq, &row->local), highest_in_table(relid));
	bdr_kind_write(relid, row);
	return highest;
}

static int64
highest_made(BdrSequence *seq, const BdrSequenceState *state)
{
	if (!bdr_sequence_is_local(seq->method))
		return seq->method->made(seq);
	return state->is_called ? state->last_value : state->last_value - 1;
}

/*
 * Values that were not made by the sequence are in the column that owns it.
 */
static int64
highest_in_table(Oid relid)
{
	Oid			table;
	int32		column;
	Oid			type;
	char	   *name;
	int64		highest = 0;
	bool		isnull;

	if (!sequenceIsOwned(relid, DEPENDENCY_AUTO, &table, &column) &&
		!sequenceIsOwned(relid, DEPENDENCY_INTERNAL, &table, &column))
		return 0;
	type = getBaseType(get_atttype(table, column));
	if (get_rel_relkind(table) != RELKIND_RELATION && get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE)
		return 0;
	if (type != INT2OID && type != INT4OID && type != INT8OID)
		return 0;
	name = get_attname(table, column, false);
	SPI_connect();
	if (SPI_execute(psprintf("SELECT pg_catalog.max(%s)::pg_catalog.int8 FROM %s", quote_identifier(name),
							 quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), get_rel_name(table))),
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the values of a sequence's column");
	highest = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return isnull ? 0 : highest;
}

/*
 * Arguments: schema, name, id of the switch, kind, key, start, time that the
 * clock of ids must have passed (0: any).  Waits for nobody.
 */
Datum
bdr_internal_switch_sequence(PG_FUNCTION_ARGS)
{
	Oid			relid = find_sequence(PG_GETARG_NAME(0), PG_GETARG_NAME(1));
	BdrKindRow	row = {0};

	require_superuser();
	if (PG_GETARG_INT64(6) > 0)
		bdr_id_clock_raise(PG_GETARG_INT64(6));
	if (!OidIsValid(relid))
		PG_RETURN_VOID();
	row.letter = PG_GETARG_CHAR(3);
	row.key = text_to_cstring(PG_GETARG_TEXT_PP(4));
	row.local.last_value = PG_GETARG_INT64(5);
	bdr_kind_write(relid, &row);
	PG_RETURN_VOID();
}

/*
 * Arguments: schema, name, owner, kind, key, as the source of a join has them.
 * Returns false when there is no such sequence of that owner here.
 */
Datum
bdr_internal_copy_sequence_kind(PG_FUNCTION_ARGS)
{
	Oid			relid = find_sequence(PG_GETARG_NAME(0), PG_GETARG_NAME(1));
	const BdrSequenceMethod *method = bdr_sequence_method(PG_GETARG_CHAR(3));

	require_superuser();
	if (!OidIsValid(relid))
		PG_RETURN_BOOL(false);
	LockRelationOid(relid, ShareRowExclusiveLock);
	if (strcmp(GetUserNameFromId(bdr_owner_of(relid), false), NameStr(*PG_GETARG_NAME(2))) != 0)
		PG_RETURN_BOOL(false);
	bdr_sequence_take_kind(relid, method, text_to_cstring(PG_GETARG_TEXT_PP(4)), 0);
	PG_RETURN_BOOL(true);
}

Datum
bdr_internal_sequence_changed(PG_FUNCTION_ARGS)
{
	require_superuser();
	bdr_kind_changed_key(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* The name under which a group will know a sequence of this name. */
Datum
bdr_internal_sequence_key(PG_FUNCTION_ARGS)
{
	Name		schema = PG_GETARG_NAME(0);
	Name		name = PG_GETARG_NAME(1);

	require_superuser();
	PG_RETURN_TEXT_P(cstring_to_text(bdr_sequence_new_key(find_sequence(schema, name), NameStr(*schema), NameStr(*name))));
}
