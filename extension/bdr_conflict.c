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
#include "access/sysattr.h"
#include "access/xact.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "bdr.h"
#include "bdr_apply.h"
#include "bdr_compat.h"
#include "bdr_protocol.h"
#include "bdr_wire.h"

const char *const bdr_conflict_type_names[] = {
	[BDR_INSERT_EXISTS] = "insert_exists",
	[BDR_UPDATE_ORIGIN_CHANGE] = "update_origin_change",
	[BDR_UPDATE_MISSING] = "update_missing",
	[BDR_DELETE_RECENTLY_UPDATED] = "delete_recently_updated",
	[BDR_DELETE_MISSING] = "delete_missing",
	[BDR_TARGET_COLUMN_MISSING] = "target_column_missing",
	[BDR_SOURCE_COLUMN_MISSING] = "source_column_missing",
	[BDR_TARGET_TABLE_MISSING] = "target_table_missing",
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
 * Is an update of a row of this version a conflict?
 *
 * Not if the sender had that version already and updated it.  Its own must be
 * the newer one, though: a clock that is behind makes nodes disagree, and then
 * it is for the policy to choose.
 */
bool
bdr_conflict_is_concurrent(const BdrVersion *version)
{
	if (!version->known || version->node == bdr_xact.origin_node || bdr_peer.mirror)
		return false;
	return version->time >= bdr_xact.commit_time || !bdr_seen_by_sender(version);
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
	bdr_stats_count(conflict->rel, BDR_COUNT_CONFLICTS);
	ask(conflict);
	check_action(conflict);
	return conflict->action;
}

/*
 * As above for tables that differ, which mirror mode does not settle.  The
 * caller checks the action.
 */
void
bdr_conflict_ask(BdrConflict *conflict)
{
	bdr_xact.counters.conflicts++;
	if (decider != NULL)
		ask(conflict);
	else
		conflict->action = BDR_ACTION_ERROR;	/* bdr.internal_debug_apply */
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
				 errmsg("conflict of type %s on table \"%s.%s\"", bdr_conflict_type_names[conflict->type],
						conflict->rel->schema, conflict->rel->name),
				 errdetail("Rule \"%s\" asks for an error.", conflict->rule ? conflict->rule : "")));
	if (action == BDR_ACTION_KEEP)
		return;
	if (conflict->type == BDR_UPDATE_MISSING ? action == BDR_ACTION_INSERT :
		conflict->type == BDR_DELETE_MISSING ? false : action == BDR_ACTION_APPLY)
		return;
	bdr_conflict_bad_action(conflict);
}

void
bdr_conflict_bad_action(BdrConflict *conflict)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the bdr manager answered a conflict of type %s with action %d",
					bdr_conflict_type_names[conflict->type], (int) conflict->action)));
}
