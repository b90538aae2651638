/*-------------------------------------------------------------------------
 * version/version.c
 *		The version of a row: when its transaction committed, and on which node.
 *
 * NOTES
 *		PostgreSQL keeps both with the commit: the time and the replication
 *		origin, from which the node follows.  What a writer has in progress is
 *		not committed yet; it counts as the version that comes in.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "version/version.h"
#include "bdr_wire.h"

/* Node ids by replication origin; few, and dropped when any origin changes. */
#define ORIGIN_NODES_MAX		64

typedef struct OriginNode
{
	RepOriginId origin;
	uint32		node;			/* 0: not an origin of a node */
} OriginNode;

static OriginNode origin_nodes[ORIGIN_NODES_MAX];
static int	norigin_nodes;

/* Many rows in a row come from one transaction. */
static TransactionId cached_xmin = InvalidTransactionId;
static BdrVersion cached_version;

static uint32 local_node_here;	/* 0: not in a writer */
static BdrVersion incoming = {true};

static uint32 node_of_origin(RepOriginId origin, uint32 local_node);
static uint32 look_up_node(RepOriginId origin, uint32 local_node);
static void origins_changed(Datum arg, int cacheid, uint32 hashvalue);

/*
 * In a writer of node local_node.  A session calls nothing of this: it has no
 * changes of peers, and looks each origin up.
 */
void
bdr_version_init(uint32 local_node)
{
	local_node_here = local_node;
	CacheRegisterSyscacheCallback(REPLORIGIDENT, origins_changed, (Datum) 0);
}

/*
 * A transaction of a peer begins, which the local transaction stands for.
 */
void
bdr_version_begin(const BdrVersion *version)
{
	incoming = *version;
}

const BdrVersion *
bdr_version_incoming(void)
{
	return &incoming;
}

static void
origins_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	norigin_nodes = 0;
	cached_xmin = InvalidTransactionId;
}

/*
 * The writer of a row.  A frozen row still has it, as long as it is stored.
 */
TransactionId
bdr_version_xmin(TupleTableSlot *slot)
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
bdr_version_of(TransactionId xmin, BdrVersion *version)
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
		*version = incoming;
		return;
	}
	bdr_version_of_committed(xmin, local_node_here, version);
	/* else a session, which only looks for rows */
	if (local_node_here == 0)
		return;
	cached_xmin = xmin;
	cached_version = *version;
}

/*
 * The same for any process of node local_node, of a transaction that has ended.
 */
void
bdr_version_of_committed(TransactionId xid, uint32 local_node, BdrVersion *version)
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
	if (local_node_here != 0 && norigin_nodes < ORIGIN_NODES_MAX)
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
