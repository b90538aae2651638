/*-------------------------------------------------------------------------
 * session/sequence/function.c
 *		nextval, currval, lastval and setval, for sequences of every kind.
 *
 * NOTES
 *		A planner support function redirects calls of the server's functions to
 *		these, wherever an expression is planned.  They find out the kind when
 *		they run, so a plan that is older than a switch is right.  The server's
 *		own functions, called past that, fail on a sequence that is not local:
 *		its page says that the maximum has been reached (base/sequence.h).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/supportnodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/hooks.h"
#include "base/tables.h"
#include "session/sequence/function.h"
#include "session/sequence/kind.h"
#include "bdr_compat.h"

#define SUPPORT_FUNCTION	"seq_support"

/* Functions of the server, and ours in their place. */
static const struct
{
	Oid			from;
	const char *to;
}			redirections[] =
{
	{F_NEXTVAL, "seq_nextval"},
	{F_CURRVAL, "seq_currval"},
	{F_LASTVAL, "seq_lastval"},
	{F_SETVAL_REGCLASS_INT8, "seq_setval"},
	{F_SETVAL_REGCLASS_INT8_BOOL, "seq_setval_called"},
	{F_PG_SEQUENCE_LAST_VALUE, "seq_last_value"},
	{BDR_F_PG_GET_SEQUENCE_DATA, "seq_data"}	/* InvalidOid before 18 */
};

PG_FUNCTION_INFO_V1(bdr_seq_support);
PG_FUNCTION_INFO_V1(bdr_seq_nextval);
PG_FUNCTION_INFO_V1(bdr_seq_nextval_identity);
PG_FUNCTION_INFO_V1(bdr_seq_currval);
PG_FUNCTION_INFO_V1(bdr_seq_lastval);
PG_FUNCTION_INFO_V1(bdr_seq_setval);
PG_FUNCTION_INFO_V1(bdr_seq_setval_called);
PG_FUNCTION_INFO_V1(bdr_seq_last_value);
PG_FUNCTION_INFO_V1(bdr_seq_data);
PG_FUNCTION_INFO_V1(bdr_seq_row);
PG_FUNCTION_INFO_V1(bdr_internal_sequence);

/* Whose value lastval returns; NULL: the server knows. */
static BdrSequence *last_used = NULL;

static void check_direct_call(FunctionCallInfo fcinfo, Oid function);
static inline BdrSequence *open_for_call(FunctionCallInfo fcinfo);
static inline int64 next(BdrSequence *seq, bool check_rights);
static int64 next_of_any(BdrSequence *seq, bool check_rights);
static int64 set(Oid relid, int64 value, bool is_called);
static void settle(BdrSequence *seq, const char *command);
static void exhaust(Relation rel);
static BdrSequenceState begun(Relation rel, int64 made);
static void go_on_locally(Relation rel, const BdrSequenceState *from);
static void check_rights_to(BdrSequence *seq, AclMode mode);
static void refuse(Oid relid);
static Datum read_from_server(PGFunction function, FunctionCallInfo fcinfo);
static void accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);

void
bdr_sequence_function_init(void)
{
	bdr_hooks_on_access(accessed);
}

/*
 * Who may not call the server's function shall be told so by it.
 */
Datum
bdr_seq_support(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = (SupportRequestSimplify *) PG_GETARG_POINTER(0);
	FuncExpr   *call;
	Oid			ours;

	if (!IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(NULL);
	ours = bdr_sequence_redirect(request->fcall->funcid);
	if (!OidIsValid(ours) || !bdr_may_execute(request->fcall->funcid))
		PG_RETURN_POINTER(NULL);
	call = copyObject(request->fcall);
	call->funcid = ours;
	call->funcformat = BDR_CALL_IS_OURS;
	PG_RETURN_POINTER(call);
}

Oid
bdr_sequence_redirect(Oid function)
{
	for (int i = 0; i < lengthof(redirections); i++)
	{
		if (redirections[i].from == function && OidIsValid(function))
			return bdr_catalog_function(redirections[i].to);
	}
	return InvalidOid;
}

int
bdr_sequence_redirections(void)
{
	return lengthof(redirections);
}

Oid
bdr_sequence_redirected(int i)
{
	return redirections[i].from;
}

bool
bdr_sequence_is_installed(void)
{
	Oid			support = bdr_catalog_function(SUPPORT_FUNCTION);

	return OidIsValid(support) && get_func_support(F_NEXTVAL) == support;
}

/*
 * What calls the server's function by its oid is not planned, or was before our
 * functions were there.
 */
static void
accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (access != OAT_FUNCTION_EXECUTE || class != ProcedureRelationId || object >= FirstNormalObjectId ||
		!OidIsValid(bdr_sequence_redirect(object)) || !bdr_sequence_is_installed())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("function %s cannot be called this way in a database of bdr", get_func_name(object)),
			 errdetail("The call goes past the kinds of sequences, or was planned before the database became a node."),
			 errhint("Call it in an SQL statement; connect again if a prepared statement has it.")));
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

Datum
bdr_seq_nextval(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(next(open_for_call(fcinfo), true));
}

/*
 * As the server does it for identity columns, without a look at the rights on
 * the sequence; for a user who calls it, it is nextval.  It is not STRICT, so that
 * COPY does not look for NULLs in each row.
 */
Datum
bdr_seq_nextval_identity(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_INT64(next(open_for_call(fcinfo), !bdr_sequence_call_is_ours(fcinfo->flinfo)));
}

/*
 * Everybody may execute our functions: who calls one by its own name needs the
 * right on the server's.
 */
static void
check_direct_call(FunctionCallInfo fcinfo, Oid function)
{
	if (bdr_sequence_call_is_ours(fcinfo->flinfo) || bdr_may_execute(function))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for function %s", get_func_name(function))));
}

/*
 * A statement asks the same sequence again and again, in turn with others.
 */
static inline BdrSequence *
open_for_call(FunctionCallInfo fcinfo)
{
	Oid			relid = PG_GETARG_OID(0);
	BdrSequence *seq = fcinfo->flinfo->fn_extra;

	if (seq == NULL)
		check_direct_call(fcinfo, F_NEXTVAL);
	if (seq == NULL || seq->relid != relid || !bdr_sequence_is_open(seq))
		fcinfo->flinfo->fn_extra = seq = bdr_sequence_open(relid);
	return seq;
}

/*
 * The way of a local sequence is so short that a call more would be seen.
 */
static inline int64
next(BdrSequence *seq, bool check_rights)
{
	if (seq->settled && bdr_sequence_is_local(seq->method) && seq->last_from == BDR_LAST_SERVER && last_used == NULL)
		return nextval_internal(seq->relid, check_rights);	/* nothing to note behind it */
	return next_of_any(seq, check_rights);
}

static int64
next_of_any(BdrSequence *seq, bool check_rights)
{
	int64		value;

	if (!seq->settled)
		settle(seq, "nextval()");
	if (bdr_sequence_is_local(seq->method))
	{
		value = nextval_internal(seq->relid, check_rights);
		seq->last_from = BDR_LAST_SERVER;
		last_used = NULL;
		return value;
	}
	if (check_rights)
		check_rights_to(seq, ACL_USAGE | ACL_UPDATE);
	PreventCommandIfReadOnly("nextval()");
	PreventCommandIfParallelMode("nextval()");
	value = seq->method->nextval(seq);
	seq->last = value;
	seq->last_from = BDR_LAST_OURS;
	last_used = seq;
	return value;
}

Datum
bdr_seq_setval(PG_FUNCTION_ARGS)
{
	check_direct_call(fcinfo, F_SETVAL_REGCLASS_INT8);
	PG_RETURN_INT64(set(PG_GETARG_OID(0), PG_GETARG_INT64(1), true));
}

Datum
bdr_seq_setval_called(PG_FUNCTION_ARGS)
{
	check_direct_call(fcinfo, F_SETVAL_REGCLASS_INT8_BOOL);
	PG_RETURN_INT64(set(PG_GETARG_OID(0), PG_GETARG_INT64(1), PG_GETARG_BOOL(2)));
}

static int64
set(Oid relid, int64 value, bool is_called)
{
	BdrSequence *seq;

	PreventCommandIfParallelMode("setval()");
	seq = bdr_sequence_open(relid);
	if (!seq->settled)
		settle(seq, "setval()");
	if (bdr_sequence_is_local(seq->method))
	{
		DirectFunctionCall3(setval3_oid, ObjectIdGetDatum(relid), Int64GetDatum(value), BoolGetDatum(is_called));
		if (is_called)
			seq->last_from = BDR_LAST_SERVER;
		return value;
	}
	check_rights_to(seq, ACL_UPDATE);
	PreventCommandIfReadOnly("setval()");
	if (value < seq->form.seqmin || value > seq->form.seqmax)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("setval: value %lld is out of bounds for sequence \"%s\" (%lld..%lld)",
						(long long) value, get_rel_name(relid), (long long) seq->form.seqmin, (long long) seq->form.seqmax)));
	seq->method->setval(seq, is_called ? value : value - 1);
	if (is_called)
	{
		seq->last = value;
		seq->last_from = BDR_LAST_OURS;
	}
	return value;
}

/*
 * Makes the page what the kind wants: a switch, a restore or pg_upgrade may have
 * left it otherwise.  Others may do the same: each looks under the page's lock.
 */
static void
settle(BdrSequence *seq, const char *command)
{
	Relation	rel;

	if (seq->has_row)
	{
		PreventCommandIfReadOnly(command);
		rel = relation_open(seq->relid, NoLock);
		if (bdr_sequence_is_local(seq->method))
			go_on_locally(rel, &seq->local);
		else
			exhaust(rel);
		relation_close(rel, NoLock);
	}
	seq->settled = true;
}

static void
exhaust(Relation rel)
{
	BdrSequencePage page;
	BdrSequenceState state;
	BdrSequenceState ours;

	bdr_sequence_read(rel, &state);
	if (bdr_sequence_is_exhausted(&state))
		return;
	ours = begun(rel, 0);
	bdr_sequence_page_open(&page, rel, &state);
	if (!bdr_sequence_is_exhausted(&state))
	{
		GetTopTransactionId();
		bdr_sequence_page_write(&page, &ours, &ours);
	}
	bdr_sequence_page_close(&page);
}

/*
 * The page of a sequence that begins with its kind.  Values up to made are in use,
 * and those that the page says.
 */
static BdrSequenceState
begun(Relation rel, int64 made)
{
	BdrSequence *seq = bdr_sequence_look(RelationGetRelid(rel));
	BdrSequenceState state;

	bdr_sequence_read(rel, &state);
	if (!bdr_sequence_is_exhausted(&state))
		made = Max(made, state.is_called ? state.last_value : state.last_value - 1);
	return bdr_sequence_exhausted(seq->relid, seq->method->begin(seq, made));
}

static void
go_on_locally(Relation rel, const BdrSequenceState *from)
{
	BdrSequencePage page;
	BdrSequenceState state;

	bdr_sequence_page_open(&page, rel, &state);
	if (bdr_sequence_is_exhausted(&state))
	{
		GetTopTransactionId();
		bdr_sequence_page_write(&page, from, from);
	}
	bdr_sequence_page_close(&page);
}

void
bdr_sequence_settle_local(Oid relid)
{
	BdrSequence *seq = bdr_sequence_look(relid);
	Relation	rel;

	if (!seq->has_row || !bdr_sequence_is_local(seq->method))
		return;
	rel = relation_open(relid, ShareRowExclusiveLock);
	go_on_locally(rel, &seq->local);
	relation_close(rel, NoLock);
}

void
bdr_sequence_begin(Oid relid, int64 made)
{
	Relation	rel = relation_open(relid, NoLock);
	BdrSequenceState ours = begun(rel, made);

	bdr_sequence_replace(rel, &ours);
	relation_close(rel, NoLock);
}

/*
 * What a transaction has found for a user stays, while nothing of the sequence
 * changes.
 */
static void
check_rights_to(BdrSequence *seq, AclMode mode)
{
	if (mode == (ACL_USAGE | ACL_UPDATE) && seq->checked == bdr_local_xid() && seq->user == GetUserId())
		return;
	if (pg_class_aclcheck(seq->relid, GetUserId(), mode) != ACLCHECK_OK)
		refuse(seq->relid);
	if (mode == (ACL_USAGE | ACL_UPDATE))
	{
		seq->checked = bdr_local_xid();
		seq->user = GetUserId();
	}
}

static void
refuse(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for sequence %s", get_rel_name(relid))));
}

/* ---------------------------------------------------------------------
 * Looking
 * ---------------------------------------------------------------------
 */

Datum
bdr_seq_currval(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	BdrSequence *seq = bdr_sequence_had(relid);

	check_direct_call(fcinfo, F_CURRVAL);
	if (seq == NULL || seq->last_from != BDR_LAST_OURS)
		return DirectFunctionCall1(currval_oid, ObjectIdGetDatum(relid));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT | ACL_USAGE) != ACLCHECK_OK)
		refuse(relid);
	PG_RETURN_INT64(seq->last);
}

Datum
bdr_seq_lastval(PG_FUNCTION_ARGS)
{
	check_direct_call(fcinfo, F_LASTVAL);
	if (last_used == NULL || last_used->last_from != BDR_LAST_OURS)
		return DirectFunctionCall1(lastval, (Datum) 0);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(last_used->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("lastval is not yet defined in this session")));
	if (pg_class_aclcheck(last_used->relid, GetUserId(), ACL_SELECT | ACL_USAGE) != ACLCHECK_OK)
		refuse(last_used->relid);
	PG_RETURN_INT64(last_used->last);
}

/*
 * For the view pg_sequences.
 */
Datum
bdr_seq_last_value(PG_FUNCTION_ARGS)
{
	BdrSequence *seq = bdr_sequence_look(PG_GETARG_OID(0));
	BdrSequenceState state;

	if (bdr_sequence_is_local(seq->method) && !seq->has_row)
		return read_from_server(pg_sequence_last_value, fcinfo);
	if (pg_class_aclcheck(seq->relid, GetUserId(), ACL_SELECT | ACL_USAGE) != ACLCHECK_OK)
		PG_RETURN_NULL();
	state = bdr_sequence_shown(seq);
	if (!state.is_called)
		PG_RETURN_NULL();
	PG_RETURN_INT64(state.last_value);
}

static Datum
read_from_server(PGFunction function, FunctionCallInfo fcinfo)
{
	LOCAL_FCINFO(call, 1);
	Datum		result;

	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = PG_GETARG_DATUM(0);
	call->args[0].isnull = false;
	result = function(call);
	fcinfo->isnull = call->isnull;
	return result;
}

/*
 * For pg_get_sequence_data of version 18.
 */
Datum
bdr_seq_data(PG_FUNCTION_ARGS)
{
	BdrSequence *seq = bdr_sequence_look(PG_GETARG_OID(0));
	BdrSequenceState state;
	TupleDesc	desc;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};

	if (OidIsValid(BDR_F_PG_GET_SEQUENCE_DATA) && bdr_sequence_is_local(seq->method) && !seq->has_row)
		PG_RETURN_DATUM(OidFunctionCall1(BDR_F_PG_GET_SEQUENCE_DATA, ObjectIdGetDatum(seq->relid)));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (pg_class_aclcheck(seq->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
	{
		state = bdr_sequence_shown(seq);
		values[0] = Int64GetDatum(state.last_value);
		values[1] = BoolGetDatum(state.is_called);
		nulls[0] = nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * What SELECT from a sequence shows, and pg_dump before version 18 writes.  The
 * second argument is whose rights count, in a view its owner's; the current user's
 * where it is 0, or a user calls this.
 */
Datum
bdr_seq_row(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			reader = bdr_sequence_call_is_ours(fcinfo->flinfo) ? PG_GETARG_OID(1) : InvalidOid;
	TupleDesc	desc;
	BdrSequenceState state;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!OidIsValid(reader))
		reader = GetUserId();
	if (get_rel_relkind(relid) != RELKIND_SEQUENCE || pg_class_aclcheck(relid, reader, ACL_SELECT) != ACLCHECK_OK)
		refuse(relid);
	state = bdr_sequence_shown(bdr_sequence_look(relid));
	values[0] = Int64GetDatum(state.last_value);
	values[1] = Int64GetDatum(state.log_cnt);
	values[2] = BoolGetDatum(state.is_called);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

BdrSequenceState
bdr_sequence_shown(BdrSequence *seq)
{
	BdrSequenceState state = {.is_called = true};
	Relation	rel;

	if (!bdr_sequence_is_local(seq->method))
	{
		state.last_value = Min(seq->method->describe(seq), seq->form.seqmax);
		if (state.last_value >= seq->form.seqstart)
			return state;
		state.last_value = seq->form.seqstart;
		state.is_called = false;
		return state;
	}
	rel = relation_open(seq->relid, AccessShareLock);
	bdr_sequence_read(rel, &state);
	relation_close(rel, AccessShareLock);
	return bdr_sequence_is_exhausted(&state) ? seq->local : state;
}

/*
 * Where a sequence stands, by its oid, for a join: SELECT ... FROM its name would
 * run what has that name by now.  NULLs: it is gone, or temporary.
 */
Datum
bdr_internal_sequence(PG_FUNCTION_ARGS)
{
	Relation	rel;
	TupleDesc	desc;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	BdrSequenceState state;

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to read sequences for a join")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (rel != NULL && rel->rd_rel->relkind == RELKIND_SEQUENCE &&
		rel->rd_rel->relpersistence != RELPERSISTENCE_TEMP)
	{
		state = bdr_sequence_shown(bdr_sequence_look(RelationGetRelid(rel)));
		values[0] = Int64GetDatum(state.last_value);
		values[1] = BoolGetDatum(state.is_called);
		nulls[0] = nulls[1] = false;
	}
	if (rel != NULL)
		relation_close(rel, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
