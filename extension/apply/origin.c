/*-------------------------------------------------------------------------
 * apply/origin.c
 *		The replication origin that local transactions carry.
 *
 * NOTES
 *		From PostgreSQL 16 an abort advances the session's origin, the abort of a
 *		subtransaction in somebody's trigger included.  So the origin's position is
 *		set only where nothing but the commit record can follow, and the origin is
 *		reset before we abort anything.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "apply/origin.h"
#include "apply/state.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

/* The origin of the session; switched only in catch-up mode. */
static uint32 session_node;		/* 0: none is set up */
static RepOriginId session_origin;
static XLogRecPtr session_progress;

static void reset_origin_at_exit(int code, Datum arg);
static bool seen_before(uint32 node);

/*
 * Callbacks run last in, first out: this one is registered after those of
 * InitPostgres and so runs before the abort.
 */
void
bdr_origin_init(void)
{
	before_shmem_exit(reset_origin_at_exit, (Datum) 0);
	if (!bdr_apply.peer.catch_up)
		bdr_origin_use(bdr_apply.peer.node_id);
}

/*
 * Is the transaction that ends there applied already?
 */
bool
bdr_origin_has(XLogRecPtr origin_lsn)
{
	return origin_lsn <= session_progress;
}

/*
 * What is written from here on carries the origin.
 */
void
bdr_origin_set(void)
{
	replorigin_session_origin = session_origin;
}

/*
 * The transaction has ended.
 */
void
bdr_origin_passed(XLogRecPtr origin_lsn)
{
	session_progress = origin_lsn;
	bdr_origin_reset();
}

static void
reset_origin_at_exit(int code, Datum arg)
{
	bdr_origin_reset();
}

/*
 * Must come before every abort; see the notes above.
 */
void
bdr_origin_reset(void)
{
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

/*
 * Make node's origin the one of this session and read its progress.
 *
 * The origin is created when it is missing: catch-up mode meets nodes that this
 * node never had a connection to.
 */
void
bdr_origin_use(uint32 node)
{
	char		name[64];

	if (session_node == node)
		return;
	if (session_node != 0)
	{
		replorigin_session_reset();
		session_node = 0;
	}
	snprintf(name, sizeof(name), BDR_ORIGIN_FORMAT, MyDatabaseId, node);
	StartTransactionCommand();
	session_origin = replorigin_by_name(name, true);
	if (session_origin == InvalidRepOriginId)
		session_origin = replorigin_create(name);
	CommitTransactionCommand();
	MemoryContextSwitchTo(bdr_apply.change_context);

	bdr_origin_session_setup(session_origin);
	session_node = node;
	session_progress = replorigin_session_get_progress(!seen_before(node));
}

/*
 * What an earlier writer committed may not be on disk yet.  A transaction
 * that is skipped because of it must not be confirmed before it is, so the
 * first look at an origin's progress flushes.
 */
static bool
seen_before(uint32 node)
{
	static List *seen = NIL;
	MemoryContext old;

	if (list_member_oid(seen, node))
		return true;
	old = MemoryContextSwitchTo(TopMemoryContext);
	seen = lappend_oid(seen, node);
	MemoryContextSwitchTo(old);
	return false;
}

/*
 * What the commit record carries.  Deferred triggers have fired: no code of
 * users runs any more that could abort a subtransaction.
 */
void
bdr_origin_stamp(void)
{
	replorigin_session_origin_lsn = bdr_apply.xact.origin_lsn;
	replorigin_session_origin_timestamp = bdr_apply.xact.version.time;
}
