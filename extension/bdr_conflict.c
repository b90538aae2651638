/*-------------------------------------------------------------------------
 * bdr_conflict.c
 *		Facts about a conflict, gathered for Go; the decision, brought back.
 *
 * NOTES
 *		Which version wins is decided in gosrc/conflict.  This file runs
 *		inside the apply transaction and never starts or ends one.  The
 *		question goes over a connection of its own, and only when there is a
 *		conflict.
 *
 *		In mirror mode nothing is asked: the sender's state is copied.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/json.h"
#include "utils/pg_lsn.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "bdr.h"
#include "bdr_apply.h"
#include "bdr_compat.h"
#include "bdr_protocol.h"
#include "bdr_wire.h"

/* Columns of bdr.conflict_history, in the order of sql/40_conflict.sql. */
enum
{
	HISTORY_SUB_ID,
	HISTORY_ORIGIN_NODE_ID,
	HISTORY_LOCAL_XID,
	HISTORY_LOCAL_LSN,
	HISTORY_LOCAL_TIME,
	HISTORY_REMOTE_XID,
	HISTORY_REMOTE_CHANGE_NR,
	HISTORY_REMOTE_COMMIT_LSN,
	HISTORY_REMOTE_COMMIT_TIME,
	HISTORY_CONFLICT_TYPE,
	HISTORY_CONFLICT_RESOLUTION,
	HISTORY_CONFLICT_RULE,
	HISTORY_CONFLICT_INDEX,
	HISTORY_RELOID,
	HISTORY_NSPNAME,
	HISTORY_RELNAME,
	HISTORY_KEY_TUPLE,
	HISTORY_REMOTE_TUPLE,
	HISTORY_LOCAL_TUPLE,
	HISTORY_APPLY_TUPLE,
	HISTORY_LOCAL_TUPLE_XMIN,
	HISTORY_LOCAL_TUPLE_NODE_ID,
	HISTORY_LOCAL_TUPLE_COMMIT_TIME,
	HISTORY_COLUMNS
};

static const char *const type_names[] = {
	[BDR_INSERT_EXISTS] = "insert_exists",
	[BDR_UPDATE_ORIGIN_CHANGE] = "update_origin_change",
	[BDR_UPDATE_MISSING] = "update_missing",
	[BDR_DELETE_RECENTLY_UPDATED] = "delete_recently_updated",
	[BDR_DELETE_MISSING] = "delete_missing",
};

/* Node ids by replication origin; few, and dropped when any origin changes. */
#define ORIGIN_NODES_MAX		64

typedef struct OriginNode
{
	RepOriginId origin;
	uint32		node;			/* 0: not an origin of a node */
} OriginNode;

static BdrSocket *decider;
static OriginNode origin_nodes[ORIGIN_NODES_MAX];
static int	norigin_nodes;

/* Many rows in a row come from one transaction. */
static TransactionId cached_xmin = InvalidTransactionId;
static BdrVersion cached_version;

static uint32 node_of_origin(RepOriginId origin);
static uint32 look_up_node(RepOriginId origin);
static void origins_changed(Datum arg, int cacheid, uint32 hashvalue);
static BdrAction mirror_action(BdrConflict *conflict);
static void ask(BdrConflict *conflict);
static void send_conflict(BdrConflict *conflict);
static void send_version(StringInfo buf, const BdrVersion *version);
static void read_decision(BdrConflict *conflict, StringInfo body);
static void check_action(BdrConflict *conflict);
static void fill_history(BdrConflict *conflict, TupleTableSlot *applied, Datum *values, bool *nulls);
static void fill_key(BdrConflict *conflict, Datum *values, bool *nulls);
static void fill_local(BdrConflict *conflict, Datum *values, bool *nulls);
static void fill_json(TupleTableSlot *slot, int column, Datum *values, bool *nulls);
static void insert_history(Datum *values, bool *nulls);

void
bdr_conflict_init(BdrSocket *sock)
{
	decider = sock;
	CacheRegisterSyscacheCallback(REPLORIGIDENT, origins_changed, (Datum) 0);
}

static void
origins_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	norigin_nodes = 0;
	cached_xmin = InvalidTransactionId;
}

/* ---------------------------------------------------------------------
 * Versions
 * ---------------------------------------------------------------------
 */

/*
 * The writer of a row.  A frozen row still has it, as long as it is stored.
 */
TransactionId
bdr_conflict_xmin(TupleTableSlot *slot)
{
	bool		isnull;
	Datum		xmin = slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull);

	return isnull ? InvalidTransactionId : DatumGetTransactionId(xmin);
}

/*
 * Fill *version with who wrote the local row and when.
 *
 * It is unknown when the commit is too old for pg_commit_ts to remember, and
 * when the row was copied by a join.  What our own transaction in progress
 * wrote counts as the incoming change's own.
 */
void
bdr_conflict_local_version(TransactionId xmin, BdrVersion *version)
{
	RepOriginId origin;

	if (xmin == cached_xmin && TransactionIdIsValid(xmin))
	{
		*version = cached_version;
		return;
	}
	memset(version, 0, sizeof(*version));
	if (!TransactionIdIsNormal(xmin) || !track_commit_timestamp)
		return;
	if (TransactionIdIsCurrentTransactionId(xmin))
	{
		version->known = true;
		version->node = bdr_xact.origin_node;
		version->time = bdr_xact.commit_time;
		return;
	}
	if (TransactionIdGetCommitTsData(xmin, &version->time, &origin))
	{
		version->node = node_of_origin(origin);
		version->known = version->node != 0;
	}
	cached_xmin = xmin;
	cached_version = *version;
}

/*
 * 0: nobody that we know.
 */
static uint32
node_of_origin(RepOriginId origin)
{
	uint32		node;

	if (origin == InvalidRepOriginId || origin == DoNotReplicateId)
		return bdr_peer.local_node_id;
	for (int i = 0; i < norigin_nodes; i++)
	{
		if (origin_nodes[i].origin == origin)
			return origin_nodes[i].node;
	}
	node = look_up_node(origin);
	if (norigin_nodes < ORIGIN_NODES_MAX)
		origin_nodes[norigin_nodes++] = (OriginNode)
	{
		origin, node
	};
	return node;
}

static uint32
look_up_node(RepOriginId origin)
{
	char	   *name;
	char		expected[64];
	unsigned int dboid;
	unsigned int node;

	if (!replorigin_by_oid(origin, true, &name))
		return 0;
	if (bdr_origin_is_repair(name))
		return bdr_peer.local_node_id;
	if (sscanf(name, BDR_ORIGIN_FORMAT, &dboid, &node) != 2 || dboid != MyDatabaseId)
		return 0;
	snprintf(expected, sizeof(expected), BDR_ORIGIN_FORMAT, dboid, node);
	return strcmp(name, expected) == 0 ? node : 0;
}

/* ---------------------------------------------------------------------
 * Asking
 * ---------------------------------------------------------------------
 */

/*
 * What to do.  Never returns BDR_ACTION_ERROR: that is an error.
 */
BdrAction
bdr_conflict_decide(BdrConflict *conflict)
{
	if (conflict->local != NULL)
	{
		conflict->local_xmin = bdr_conflict_xmin(conflict->local);
		bdr_conflict_local_version(conflict->local_xmin, &conflict->local_version);
	}
	if (bdr_peer.mirror)
		return conflict->action = mirror_action(conflict);
	bdr_xact.counters.conflicts++;
	ask(conflict);
	check_action(conflict);
	return conflict->action;
}

static BdrAction
mirror_action(BdrConflict *conflict)
{
	switch (conflict->type)
	{
		case BDR_UPDATE_MISSING:
			return BDR_ACTION_INSERT;
		case BDR_DELETE_MISSING:
			return BDR_ACTION_KEEP;
		default:
			return BDR_ACTION_APPLY;
	}
}

static void
ask(BdrConflict *conflict)
{
	BdrMessage	msg;

	send_conflict(conflict);
	if (!bdr_socket_read(decider, &msg))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the bdr manager ended before it decided a conflict")));
	if (msg.kind == BDR_MSG_FAULT)
		bdr_fault_throw(&msg.body);
	if (msg.kind != BDR_MSG_DECISION)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("unexpected message from the bdr manager"),
				 errdetail("A conflict was answered with \"%c\".", msg.kind)));
	read_decision(conflict, &msg.body);
}

static void
send_conflict(BdrConflict *conflict)
{
	BdrVersion	remote = {true, bdr_xact.commit_time, bdr_xact.origin_node};
	StringInfoData buf;

	bdr_message_begin(&buf, BDR_MSG_CONFLICT);
	pq_sendbyte(&buf, conflict->type);
	send_version(&buf, &conflict->local_version);
	send_version(&buf, &remote);
	pq_sendbyte(&buf, conflict->complete ? 1 : 0);
	bdr_socket_send(decider, &buf);
	pfree(buf.data);
}

static void
send_version(StringInfo buf, const BdrVersion *version)
{
	pq_sendbyte(buf, version->known ? 1 : 0);
	pq_sendint64(buf, version->time);
	pq_sendint32(buf, version->node);
}

static void
read_decision(BdrConflict *conflict, StringInfo body)
{
	conflict->action = pq_getmsgbyte(body);
	conflict->resolution = bdr_message_get_valid_text(body);
	conflict->rule = bdr_message_get_valid_text(body);
	pq_getmsgend(body);
}

/*
 * Not every action makes sense for every conflict.
 */
static void
check_action(BdrConflict *conflict)
{
	BdrAction	action = conflict->action;

	if (action == BDR_ACTION_ERROR)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("conflict of type %s on table \"%s.%s\"", type_names[conflict->type],
						conflict->rel->schema, conflict->rel->name),
				 errdetail("Rule \"%s\" asks for an error.", conflict->rule ? conflict->rule : "")));
	if (action == BDR_ACTION_KEEP)
		return;
	if (conflict->type == BDR_UPDATE_MISSING ? action == BDR_ACTION_INSERT :
		conflict->type == BDR_DELETE_MISSING ? false : action == BDR_ACTION_APPLY)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the bdr manager answered a conflict of type %s with action %d",
					type_names[conflict->type], (int) action)));
}

/* ---------------------------------------------------------------------
 * History
 * ---------------------------------------------------------------------
 */

/*
 * Write the history row; applied is the row that was stored, if any.
 */
void
bdr_conflict_log(BdrConflict *conflict, TupleTableSlot *applied)
{
	Datum		values[HISTORY_COLUMNS];
	bool		nulls[HISTORY_COLUMNS];

	if (bdr_peer.mirror)
		return;
	memset(nulls, true, sizeof(nulls));
	fill_history(conflict, applied, values, nulls);
	insert_history(values, nulls);
}

static void
set_value(int column, Datum value, Datum *values, bool *nulls)
{
	values[column] = value;
	nulls[column] = false;
}

static void
set_text(int column, const char *value, Datum *values, bool *nulls)
{
	if (value != NULL)
		set_value(column, CStringGetTextDatum(value), values, nulls);
}

static void
fill_history(BdrConflict *conflict, TupleTableSlot *applied, Datum *values, bool *nulls)
{
	BdrRelation *rel = conflict->rel;

	set_value(HISTORY_SUB_ID, ObjectIdGetDatum(bdr_peer.subscription_id), values, nulls);
	set_value(HISTORY_ORIGIN_NODE_ID, ObjectIdGetDatum(bdr_xact.origin_node), values, nulls);
	set_value(HISTORY_LOCAL_XID, TransactionIdGetDatum(GetTopTransactionId()), values, nulls);
	set_value(HISTORY_LOCAL_LSN, LSNGetDatum(GetXLogInsertRecPtr()), values, nulls);
	set_value(HISTORY_LOCAL_TIME, TimestampTzGetDatum(GetCurrentTimestamp()), values, nulls);
	set_value(HISTORY_REMOTE_XID, TransactionIdGetDatum(bdr_xact.xid), values, nulls);
	set_value(HISTORY_REMOTE_CHANGE_NR, ObjectIdGetDatum(bdr_xact.change_nr), values, nulls);
	set_value(HISTORY_REMOTE_COMMIT_LSN, LSNGetDatum(bdr_xact.commit_lsn), values, nulls);
	set_value(HISTORY_REMOTE_COMMIT_TIME, TimestampTzGetDatum(bdr_xact.commit_time), values, nulls);
	set_text(HISTORY_CONFLICT_TYPE, type_names[conflict->type], values, nulls);
	set_text(HISTORY_CONFLICT_RESOLUTION, conflict->resolution, values, nulls);
	set_text(HISTORY_CONFLICT_RULE, conflict->rule, values, nulls);
	set_value(HISTORY_RELOID, ObjectIdGetDatum(rel->local_relid), values, nulls);
	set_text(HISTORY_NSPNAME, rel->schema, values, nulls);
	set_text(HISTORY_RELNAME, rel->name, values, nulls);
	if (conflict->key != NULL)
		fill_key(conflict, values, nulls);
	fill_json(conflict->remote, HISTORY_REMOTE_TUPLE, values, nulls);
	fill_json(applied, HISTORY_APPLY_TUPLE, values, nulls);
	if (conflict->local != NULL)
		fill_local(conflict, values, nulls);
}

/*
 * Only what the row was looked up by; the other columns are null.
 */
static void
fill_key(BdrConflict *conflict, Datum *values, bool *nulls)
{
	TupleDesc	desc = conflict->rel->desc;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);

	for (int i = 0; i < desc->natts; i++)
	{
		slot->tts_values[i] = conflict->key->tts_values[i];
		slot->tts_isnull[i] = conflict->key->tts_isnull[i] || !conflict->key_columns[i];
	}
	ExecStoreVirtualTuple(slot);
	fill_json(slot, HISTORY_KEY_TUPLE, values, nulls);
	ExecDropSingleTupleTableSlot(slot);
}

static void
fill_local(BdrConflict *conflict, Datum *values, bool *nulls)
{
	const BdrVersion *version = &conflict->local_version;

	fill_json(conflict->local, HISTORY_LOCAL_TUPLE, values, nulls);
	if (OidIsValid(conflict->index))
		set_value(HISTORY_CONFLICT_INDEX, ObjectIdGetDatum(conflict->index), values, nulls);
	set_value(HISTORY_LOCAL_TUPLE_XMIN, TransactionIdGetDatum(conflict->local_xmin), values, nulls);
	if (!version->known)
		return;
	set_value(HISTORY_LOCAL_TUPLE_NODE_ID, ObjectIdGetDatum(version->node), values, nulls);
	set_value(HISTORY_LOCAL_TUPLE_COMMIT_TIME, TimestampTzGetDatum(version->time), values, nulls);
}

/*
 * The row as json: the same as row_to_json gives in SQL.
 */
static void
fill_json(TupleTableSlot *slot, int column, Datum *values, bool *nulls)
{
	Datum		row;

	if (slot == NULL || TTS_EMPTY(slot))
		return;
	row = ExecFetchSlotHeapTupleDatum(slot);
	set_value(column, DirectFunctionCall1(row_to_json, row), values, nulls);
}

static void
insert_history(Datum *values, bool *nulls)
{
	Oid			relid = get_relname_relid("conflict_history", get_namespace_oid(BDR_SCHEMA, false));
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot *slot;
	Relation	history;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.conflict_history\" does not exist", BDR_SCHEMA)));
	history = table_open(relid, RowExclusiveLock);
	if (RelationGetDescr(history)->natts != HISTORY_COLUMNS)
		elog(ERROR, "table \"%s.conflict_history\" has %d columns", BDR_SCHEMA,
			 RelationGetDescr(history)->natts);
	InitResultRelInfo(result, history, 0, NULL, 0);
	ExecOpenIndices(result, false);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(history), &TTSOpsVirtual);
	memcpy(slot->tts_values, values, HISTORY_COLUMNS * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, HISTORY_COLUMNS * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = relid;
	table_tuple_insert(history, slot, GetCurrentCommandId(true), 0, NULL);
	list_free(bdr_insert_new_index_tuples(result, slot, estate));
	ExecCloseIndices(result);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	table_close(history, NoLock);
}
