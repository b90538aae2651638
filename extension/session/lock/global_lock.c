/*-------------------------------------------------------------------------
 * session/lock/global_lock.c
 *		Locks of the whole group, held until the transaction ends.
 *
 * NOTES
 *		Who has a lock is agreed by consensus, for which the manager asks
 *		(gosrc/locker).  Each lock has a connection to the manager of its own:
 *		that it ends is how the manager hears that the lock is not needed any
 *		more, however the transaction or the session has ended.
 *
 *		Sessions of one node settle it among themselves first, by a lock of the
 *		server, which finds their deadlocks.  It is held as long as the global
 *		one, and tells a new manager who still has what the last one got.  It is
 *		a session's lock: transactions of the server know only locks that last
 *		until they end, and not even a subtransaction can give one of an outer
 *		one back.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "bdr_protocol.h"
#include "session/lock/global_lock.h"
#include "session/request.h"

/* A lock of this transaction. */
typedef struct Held
{
	BdrGlobalLock lock;
	List	   *levels;			/* of the (sub)transactions that took it, the deepest last */
	BdrSocket  *connection;		/* NULL while it is asked for */
	char	   *earlier;		/* NULL: nothing */
} Held;

static List *held = NIL;		/* of Held */
static bool kept = false;		/* in a statement that commits, and goes on */

static void at_transaction_end(XactEvent event, void *arg);
static void at_subtransaction_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg);
static void reached_level(Held *lock, int level, bool commit);
static Held *find(const BdrGlobalLock *lock);
static void note_level(Held *lock);
static void take(const BdrGlobalLock *lock, bool alone);
static void lock_here(const BdrGlobalLock *lock);
static void describe_wait(void *arg);
static void ask_group(Held *lock, TimestampTz begin, bool alone);
static const char *type_name(BdrGlobalLockKind kind);
static const char *table_name(Oid relid);
static void release(Held *lock);
static void set_tag(LOCKTAG *tag, const BdrGlobalLock *lock);

void
bdr_global_lock_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

void
bdr_global_lock_take(const BdrGlobalLock *lock)
{
	take(lock, false);
}

/*
 * What another session has changed meanwhile is to be seen.
 */
void
bdr_global_lock_take_ddl(bool alone)
{
	BdrGlobalLock lock = {BDR_GLOBAL_LOCK_DDL};

	take(&lock, alone);
	InvalidateCatalogSnapshot();
	AcceptInvalidationMessages();
}

void
bdr_global_lock_take_table(Oid root)
{
	BdrGlobalLock lock = {BDR_GLOBAL_LOCK_DML, (int32) root};

	take(&lock, false);
	InvalidateCatalogSnapshot();
	AcceptInvalidationMessages();
}

/* The last one has what those before it have. */
const char *
bdr_global_lock_earlier(void)
{
	for (int i = list_length(held) - 1; i >= 0; i--)
	{
		Held	   *mine = list_nth(held, i);

		if (mine->earlier != NULL)
			return mine->earlier;
	}
	return NULL;
}

void
bdr_global_lock_keep(bool keep)
{
	kept = keep;
}

static void
take(const BdrGlobalLock *lock, bool alone)
{
	Held	   *mine = find(lock);
	TimestampTz begin = GetCurrentTimestamp();
	MemoryContext old;

	if (mine != NULL)
	{
		note_level(mine);
		return;
	}
	lock_here(lock);
	old = MemoryContextSwitchTo(TopMemoryContext);
	mine = palloc0(sizeof(Held));
	mine->lock = *lock;
	held = lappend(held, mine);
	MemoryContextSwitchTo(old);
	note_level(mine);
	ask_group(mine, begin, alone);
}

bool
bdr_global_lock_give_back(const BdrGlobalLock *lock)
{
	Held	   *mine = find(lock);

	if (mine == NULL)
		return false;
	mine->levels = list_delete_last(mine->levels);
	if (mine->levels == NIL)
		release(mine);
	return true;
}

char *
bdr_global_lock_title(const BdrGlobalLock *lock)
{
	switch (lock->kind)
	{
		case BDR_GLOBAL_LOCK_DDL:
			return pstrdup("the global DDL lock");
		case BDR_GLOBAL_LOCK_DML:
			return psprintf("the global lock of table \"%s\"", table_name((Oid) lock->key1));
		case BDR_GLOBAL_LOCK_BIGINT:
			return psprintf("the global advisory lock " INT64_FORMAT,
							(int64) ((uint64) (uint32) lock->key1 << 32 | (uint32) lock->key2));
		case BDR_GLOBAL_LOCK_INTEGERS:
			break;
	}
	return psprintf("the global advisory lock (%d, %d)", lock->key1, lock->key2);
}

/*
 * What others may see of the transaction, they see by now.  Nothing here may
 * fail: it is too late for an error.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (held == NIL)
		return;
	if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has global locks"),
				 errhint("Take the locks in a transaction that ends with COMMIT.")));
	if (event != XACT_EVENT_ABORT && (event != XACT_EVENT_COMMIT || kept))
		return;
	while (held != NIL)
		release(linitial(held));
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	List	   *locks;
	ListCell   *cell;

	if (held == NIL || (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB))
		return;
	locks = list_copy(held);
	foreach(cell, locks)
		reached_level(lfirst(cell), level, event == SUBXACT_EVENT_COMMIT_SUB);
	list_free(locks);
}

/* What a subtransaction took becomes its parent's, or goes with it. */
static void
reached_level(Held *lock, int level, bool commit)
{
	while (!commit && lock->levels != NIL && llast_int(lock->levels) >= level)
		lock->levels = list_delete_last(lock->levels);
	if (lock->levels == NIL)
	{
		release(lock);
		return;
	}
	for (int i = 0; i < list_length(lock->levels); i++)
	{
		ListCell   *cell = list_nth_cell(lock->levels, i);

		if (lfirst_int(cell) >= level)
			lfirst_int(cell) = level - 1;
	}
}

static Held *
find(const BdrGlobalLock *lock)
{
	ListCell   *cell;

	foreach(cell, held)
	{
		Held	   *other = lfirst(cell);

		if (other->lock.kind == lock->kind && other->lock.key1 == lock->key1 && other->lock.key2 == lock->key2)
			return other;
	}
	return NULL;
}

static void
note_level(Held *lock)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	lock->levels = lappend_int(lock->levels, GetCurrentTransactionNestLevel());
	MemoryContextSwitchTo(old);
}

/*
 * Waits for other sessions of this node.
 */
static void
lock_here(const BdrGlobalLock *lock)
{
	int			user_timeout = LockTimeout;
	ErrorContextCallback context = {.previous = error_context_stack,.callback = describe_wait,.arg = (void *) lock};
	LOCKTAG		tag;

	set_tag(&tag, lock);
	error_context_stack = &context;
	PG_TRY();
	{
		if (bdr_global_lock_timeout > 0 && (user_timeout == 0 || user_timeout > bdr_global_lock_timeout))
			LockTimeout = bdr_global_lock_timeout;
		(void) LockAcquire(&tag, ExclusiveLock, true, false);
	}
	PG_FINALLY();
	{
		LockTimeout = user_timeout;
	}
	PG_END_TRY();
	error_context_stack = context.previous;
}

static void
describe_wait(void *arg)
{
	errcontext("waiting for other sessions of this node with %s", bdr_global_lock_title(arg));
}

/*
 * An error ends the (sub)transaction, and with it the local lock.
 */
static void
ask_group(Held *lock, TimestampTz begin, bool alone)
{
	bool		is_table = lock->lock.kind == BDR_GLOBAL_LOCK_DML;
	const char *args[10];
	char	   *answer;

	args[0] = type_name(lock->lock.kind);
	args[1] = lock->lock.kind == BDR_GLOBAL_LOCK_BIGINT ? "t" : "f";
	args[2] = psprintf("%d", is_table ? 0 : lock->lock.key1);
	args[3] = psprintf("%d", lock->lock.key2);
	args[4] = psprintf("%d", MyProcPid);
	args[5] = psprintf(INT64_FORMAT, begin + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	args[6] = psprintf("%d", bdr_global_lock_timeout);
	args[7] = alone ? "t" : "f";
	args[8] = is_table ? get_namespace_name(get_rel_namespace((Oid) lock->lock.key1)) : "";
	args[9] = is_table ? get_rel_name((Oid) lock->lock.key1) : "";
	if (args[8] == NULL || args[9] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table was dropped while its global lock was waited for")));
	lock->connection = bdr_request_and_stay("global_lock", lengthof(args), args, &answer);
	if (answer != NULL && answer[0] != '\0')
		lock->earlier = MemoryContextStrdup(TopMemoryContext, answer);
}

/* As in gosrc/catalog. */
static const char *
type_name(BdrGlobalLockKind kind)
{
	switch (kind)
	{
		case BDR_GLOBAL_LOCK_DDL:
			return "ddl";
		case BDR_GLOBAL_LOCK_DML:
			return "dml";
		case BDR_GLOBAL_LOCK_BIGINT:
		case BDR_GLOBAL_LOCK_INTEGERS:
			break;
	}
	return "advisory";
}

static const char *
table_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	return name != NULL ? quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name) : "";
}

/*
 * The manager first: it must not hear of the next owner before.
 */
static void
release(Held *lock)
{
	LOCKTAG		tag;

	held = list_delete_ptr(held, lock);
	if (lock->connection != NULL)
		bdr_socket_close(lock->connection);
	set_tag(&tag, &lock->lock);
	LockRelease(&tag, ExclusiveLock, true);
	list_free(lock->levels);
	if (lock->earlier != NULL)
		pfree(lock->earlier);
	pfree(lock);
}

/* Nothing else uses locks of this type. */
static void
set_tag(LOCKTAG *tag, const BdrGlobalLock *lock)
{
	memset(tag, 0, sizeof(*tag));
	tag->locktag_field1 = MyDatabaseId;
	tag->locktag_field2 = (uint32) lock->key1;
	tag->locktag_field3 = (uint32) lock->key2;
	tag->locktag_field4 = (uint16) lock->kind;
	tag->locktag_type = LOCKTAG_USERLOCK;
	tag->locktag_lockmethodid = DEFAULT_LOCKMETHOD;
}
