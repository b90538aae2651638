/*-------------------------------------------------------------------------
 * conflict/ask.c
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

#include "apply/apply.h"
#include "base/bdr.h"
#include "conflict/conflict.h"
#include "conflict/decision_cache.h"
#include "session/row_version.h"
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
	[BDR_UPDATE_RECENTLY_DELETED] = "update_recently_deleted",
	[BDR_UPDATE_PKEY_EXISTS] = "update_pkey_exists",
	[BDR_MULTIPLE_UNIQUE_CONFLICTS] = "multiple_unique_conflicts",
	[BDR_UPDATE_DIFFERING] = "update_differing",
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

static bool is_concurrent(const BdrVersion *version);
static uint32 node_of_origin(RepOriginId origin, uint32 local_node);
static uint32 look_up_node(RepOriginId origin, uint32 local_node);
static void origins_changed(Datum arg, int cacheid, uint32 hashvalue);
static void ask_plan(BdrCase *c, uint32 resolvers, BdrMessage *msg);
static void ask(StringInfo question, BdrMessageKind answer, BdrMessage *msg);
static void send_version(StringInfo buf, const BdrVersion *version);
static void send_found(StringInfo buf, BdrCase *c, BdrFound *found);
static void read_plan(BdrCase *c, StringInfo body);
static bool is_plan_possible(BdrCase *c);
static void bad_plan(BdrCase *c) pg_attribute_noreturn();

void
bdr_conflict_init(BdrSocket *sock)
{
	decider = sock;
	CacheRegisterSyscacheCallback(REPLORIGIDENT, origins_changed, (Datum) 0);
}

BdrSocket *
bdr_conflict_decider(void)
{
	return decider;
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
	bdr_conflict_committed_version(xmin, bdr_peer.local_node_id, version);
	/* else a session, which only looks for rows */
	if (bdr_peer.local_node_id == 0)
		return;
	cached_xmin = xmin;
	cached_version = *version;
}

/*
 * The same for any process of node local_node, of a transaction that has ended.
 */
void
bdr_conflict_committed_version(TransactionId xid, uint32 local_node, BdrVersion *version)
{
	RepOriginId origin;

	memset(version, 0, sizeof(*version));
	if (!TransactionIdIsNormal(xid) || !track_commit_timestamp ||
		!TransactionIdGetCommitTsData(xid, &version->time, &origin))
		return;
	version->node = node_of_origin(origin, local_node);
	version->known = version->node != 0;
}

/*
 * Less than, equal to or greater than 0 as a is older than, the same as or
 * newer than b; the order is that of gosrc/conflict.
 */
int
bdr_version_compare(const BdrVersion *a, const BdrVersion *b)
{
	if (!a->known || !b->known)
		return (a->known ? 1 : 0) - (b->known ? 1 : 0);
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	if (a->node != b->node)
		return a->node < b->node ? -1 : 1;
	return 0;
}

/*
 * Is an update of a row of this version a conflict?
 *
 * Not if the sender had that version already and updated it.  Its own must be
 * the newer one, though: a clock that is behind makes nodes disagree, and then
 * it is for the policy to choose.
 */
static bool
is_concurrent(const BdrVersion *version)
{
	if (!version->known || version->node == bdr_xact.origin_node)
		return false;
	return version->time >= bdr_xact.commit_time || !bdr_seen_by_sender(version);
}

/* The same for a row that was found. */
bool
bdr_conflict_with_update(TupleTableSlot *row)
{
	BdrVersion	version;

	if (bdr_peer.trusted)
		return false;
	bdr_conflict_local_version(bdr_conflict_xmin(row), &version);
	return is_concurrent(&version);
}

/* A deletion is in conflict with a row that is newer. */
bool
bdr_conflict_with_delete(TupleTableSlot *row)
{
	BdrVersion	remote = {true, bdr_xact.commit_time, bdr_xact.origin_node};
	BdrVersion	version;

	if (bdr_peer.trusted)
		return false;
	bdr_conflict_local_version(bdr_conflict_xmin(row), &version);
	return bdr_version_compare(&version, &remote) > 0;
}

/*
 * Had the sender this row when it changed it?  A deletion asks only for the
 * row's own version: an older row goes in any case.
 */
bool
bdr_conflict_is_seen(BdrCase *c, BdrFound *found)
{
	if (c->update == NULL || c->key_changed || found->row == NULL || !bms_is_member(0, found->on) ||
		(c->rel->row_version != InvalidAttrNumber && bdr_row_version_differs(c->update, c->rel, found->row)))
		return false;
	return (c->operation == BDR_OP_DELETE && !c->leaves) || !is_concurrent(&found->version);
}

/*
 * 0: nobody that we know.
 */
static uint32
node_of_origin(RepOriginId origin, uint32 local_node)
{
	uint32		node;

	if (origin == InvalidRepOriginId || origin == DoNotReplicateId)
		return local_node;
	for (int i = 0; i < norigin_nodes; i++)
	{
		if (origin_nodes[i].origin == origin)
			return origin_nodes[i].node;
	}
	node = look_up_node(origin, local_node);
	if (bdr_peer.local_node_id != 0 && norigin_nodes < ORIGIN_NODES_MAX)
		origin_nodes[norigin_nodes++] = (OriginNode)
	{
		origin, node
	};
	return node;
}

static uint32
look_up_node(RepOriginId origin, uint32 local_node)
{
	char	   *name;
	char		expected[64];
	unsigned int dboid;
	unsigned int node;

	if (!replorigin_by_oid(origin, true, &name))
		return 0;
	if (bdr_origin_is_repair(name))
		return local_node;
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
 * What to do about tables that differ; the caller checks the action.
 */
void
bdr_conflict_ask(BdrConflict *conflict)
{
	BdrVersion	remote = {true, bdr_xact.commit_time, bdr_xact.origin_node};
	StringInfoData buf;
	BdrMessage	msg;

	bdr_xact.counters.conflicts++;
	if (decider == NULL)
	{
		conflict->action = BDR_ACTION_ERROR;	/* bdr.internal_debug_apply */
		return;
	}
	bdr_message_begin(&buf, BDR_MSG_CONFLICT);
	pq_sendbyte(&buf, conflict->type);
	send_version(&buf, &conflict->local_version);
	send_version(&buf, &remote);
	pq_sendbyte(&buf, conflict->complete ? 1 : 0);
	ask(&buf, BDR_MSG_DECISION, &msg);
	conflict->action = pq_getmsgbyte(&msg.body);
	conflict->resolution = bdr_message_get_valid_text(&msg.body);
	conflict->rule = bdr_message_get_valid_text(&msg.body);
	pq_getmsgend(&msg.body);
}

/*
 * What to do about an incoming version, given what was found.
 */
void
bdr_conflict_plan(BdrCase *c)
{
	uint32		resolvers = bdr_missing_generation();
	StringInfoData known;
	BdrMessage	msg;

	if (bdr_plan_find(c, resolvers, &known))
	{
		read_plan(c, &known);
		pfree(known.data);
		return;
	}
	ask_plan(c, resolvers, &msg);
	bdr_plan_keep(c, resolvers, &msg.body);
	read_plan(c, &msg.body);
}

static void
ask_plan(BdrCase *c, uint32 resolvers, BdrMessage *msg)
{
	static uint32 resolvers_known = 0;
	BdrVersion	remote = {true, bdr_xact.commit_time, bdr_xact.origin_node};
	StringInfoData buf;
	ListCell   *lc;

	bdr_message_begin(&buf, BDR_MSG_FACTS);
	pq_sendbyte(&buf, (resolvers != resolvers_known ? 1 : 0) | (c->key_changed || c->leaves ? 2 : 0) |
				(c->rel->row_version != InvalidAttrNumber ? 4 : 0));
	pq_sendbyte(&buf, c->operation);
	pq_sendbyte(&buf, c->image);
	send_version(&buf, &remote);
	pq_sendint16(&buf, c->nconstraints);
	for (int k = 0; k < c->nconstraints; k++)
		pq_sendbyte(&buf, c->constraints[k].is_exclusion ? 2 : 1);
	pq_sendint16(&buf, list_length(c->found));
	foreach(lc, c->found)
		send_found(&buf, c, lfirst(lc));
	ask(&buf, BDR_MSG_PLAN, msg);
	resolvers_known = resolvers;
}

static void
ask(StringInfo question, BdrMessageKind answer, BdrMessage *msg)
{
	bdr_socket_send(decider, question);
	pfree(question->data);
	if (!bdr_socket_read(decider, msg))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the bdr manager ended before it decided a conflict")));
	if (msg->kind == BDR_MSG_FAULT)
		bdr_fault_throw(&msg->body);
	if (msg->kind != answer)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("unexpected message from the bdr manager"),
				 errdetail("A conflict was answered with \"%c\".", msg->kind)));
}

static void
send_version(StringInfo buf, const BdrVersion *version)
{
	pq_sendbyte(buf, version->known ? 1 : 0);
	pq_sendint64(buf, version->time);
	pq_sendint32(buf, version->node);
}

static void
send_found(StringInfo buf, BdrCase *c, BdrFound *found)
{
	int			k = -1;

	pq_sendbyte(buf, (found->row != NULL ? 1 : 0) | (bdr_conflict_is_seen(c, found) ? 2 : 0));
	send_version(buf, &found->version);
	pq_sendint16(buf, bms_num_members(found->on));
	while ((k = bms_next_member(found->on, k)) >= 0)
		pq_sendint16(buf, k);
}

static void
read_plan(BdrCase *c, StringInfo body)
{
	int			decisive;
	int			n;

	c->type = pq_getmsgbyte(body);
	c->action = pq_getmsgbyte(body);
	c->resolution = bdr_message_get_valid_text(body);
	c->rule = bdr_message_get_valid_text(body);
	decisive = pq_getmsgint(body, 2);
	if (c->type >= lengthof(bdr_conflict_type_names) || decisive > list_length(c->found))
		bad_plan(c);
	c->decisive = decisive > 0 ? list_nth(c->found, decisive - 1) : NULL;
	n = pq_getmsgint(body, 2);
	if (n != list_length(c->found))
		bad_plan(c);
	for (int i = 0; i < n; i++)
		((BdrFound *) list_nth(c->found, i))->fate = pq_getmsgbyte(body);
	n = pq_getmsgint(body, 2);
	for (int i = 0; i < n; i++)
	{
		int			k = pq_getmsgint(body, 2);

		if (k >= c->nconstraints)
			bad_plan(c);
		c->constraints[k].remember = true;
	}
	pq_getmsgend(body);
	if (!is_plan_possible(c))
		bad_plan(c);
}

/*
 * Not every plan makes sense for every case.
 */
static bool
is_plan_possible(BdrCase *c)
{
	bool		is_deletion = c->operation == BDR_OP_DELETE;
	int			nreplaced = 0;
	ListCell   *lc;

	if (c->type != 0 && bdr_conflict_type_names[c->type] == NULL)
		return false;
	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->fate < BDR_FATE_STAYS || found->fate > BDR_FATE_EVICTED ||
			(found->row == NULL && found->fate != BDR_FATE_STAYS))
			return false;
		nreplaced += found->fate == BDR_FATE_REPLACED ? 1 : 0;
	}
	switch (c->action)
	{
		case BDR_ACTION_APPLY:
			return nreplaced == (is_deletion ? 0 : 1);
		case BDR_ACTION_INSERT:
			return nreplaced == 0 && !is_deletion && c->image == BDR_IMAGE_COMPLETE;
		case BDR_ACTION_FETCH:
			return nreplaced == 0 && c->image == BDR_IMAGE_PARTIAL;
		case BDR_ACTION_KEEP:
		case BDR_ACTION_ERROR:
		case BDR_ACTION_IGNORE:
			return nreplaced == 0;
	}
	return false;
}

static void
bad_plan(BdrCase *c)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the bdr manager sent a plan that does not fit"),
			 errdetail("Conflict type %d, action %d, table \"%s.%s\".", (int) c->type, (int) c->action,
					   c->rel->schema, c->rel->name)));
}

void
bdr_conflict_bad_action(BdrConflict *conflict)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the bdr manager answered a conflict of type %s with action %d",
					bdr_conflict_type_names[conflict->type], (int) conflict->action)));
}
