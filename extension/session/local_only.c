/*-------------------------------------------------------------------------
 * session/local_only.c
 *		Changes that stay on this node: bdr.xact_replication, and the sessions
 *		that repair a node that differs.
 *
 * NOTES
 *		Both mark what they write with a replication origin that bdr_output
 *		never sends, and the commit record too, by which a walsender drops the
 *		transaction.  A transaction is local as a whole or not at all: what
 *		would mix is refused, at the latest before the commit.
 *
 *		bdr.xact_replication uses DoNotReplicateId, which any number of
 *		sessions can have.  A repair needs an origin of its own, because the
 *		server takes the commit time of a transaction from the session only
 *		with a real one; one session at a time can have it.
 *
 *		The server keeps the session's commit time from one transaction to the
 *		next, and replays it from the commit record after a crash, for
 *		DoNotReplicateId too.  So it is set before every such commit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "session/local_only.h"
#include "version/clock.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

/* Older than any other commit; 0 would mean that none is given. */
#define BDR_OLDEST_COMMIT		((TimestampTz) 1)

PG_FUNCTION_INFO_V1(bdr_difference_fix_origin_create);
PG_FUNCTION_INFO_V1(bdr_difference_fix_session_setup);
PG_FUNCTION_INFO_V1(bdr_difference_fix_session_setup_named);
PG_FUNCTION_INFO_V1(bdr_difference_fix_session_reset);
PG_FUNCTION_INFO_V1(bdr_difference_fix_xact_set_avoid_conflict);

bool		bdr_xact_replication = true;

/* The nesting level where it was turned off; 0: not in this transaction. */
static int	off_level = 0;
static bool marked = false;		/* we set the session's origin */

/* A repair session. */
static RepOriginId repair_origin = InvalidRepOriginId;
static int	created_level = 0;	/* this transaction made the origin, there */
static bool avoid_conflict = false;

static bool has_written(void);
static bool in_repair(void);
static void check_setting_ends(void);
static bool setting_afterwards(void);
static void stamp(void);
static void at_transaction_end(XactEvent event, void *arg);
static void at_subtransaction_end(SubXactEvent event, SubTransactionId mySubid,
								  SubTransactionId parentSubid, void *arg);
static void forget_transaction(bool committed);
static void check_caller(void);
static void set_up(const char *name, bool create);
static void end_session(void);

void
bdr_local_only_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/* ---------------------------------------------------------------------
 * bdr.xact_replication
 * ---------------------------------------------------------------------
 */

/*
 * Off is for the transaction at hand, and only before it has written.
 *
 * Whether it was said with SET LOCAL cannot be seen here; check_setting_ends
 * looks.
 */
bool
bdr_local_only_check_setting(bool *newval, void **extra, GucSource source)
{
	if (*newval || !bdr_xact_replication || InitializingParallelWorker)
		return true;
	GUC_check_errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM);
	GUC_check_errmsg("cannot turn off \"bdr.xact_replication\"");
	if (source != PGC_S_SESSION)
	{
		GUC_check_errdetail("It can be off only for one transaction.");
		GUC_check_errhint("Use SET LOCAL at the beginning of the transaction.");
		return false;
	}
	if (replorigin_session_origin != InvalidRepOriginId)
	{
		GUC_check_errdetail("The session uses a replication origin.");
		return false;
	}
	if (has_written())
	{
		GUC_check_errdetail("The transaction has already written, and peers get all of it or nothing.");
		GUC_check_errhint("Use SET LOCAL at the beginning of the transaction.");
		return false;
	}
	return true;
}

/*
 * Also called when the end of a transaction or subtransaction undoes SET.
 */
void
bdr_local_only_assign_setting(bool newval, void *extra)
{
	int			level = GetCurrentTransactionNestLevel();

	if (newval)
	{
		if (marked && replorigin_session_origin == DoNotReplicateId)
			replorigin_session_origin = InvalidRepOriginId;
		marked = false;
		if (off_level == level && !has_written())
			off_level = 0;
	}
	else
	{
		if (replorigin_session_origin == InvalidRepOriginId)
		{
			replorigin_session_origin = DoNotReplicateId;
			marked = true;
		}
		if (off_level == 0)
			off_level = level;
	}
}

static bool
has_written(void)
{
	return IsTransactionState() && TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/*
 * Refuse to commit what would be half local, and to keep the setting.
 */
static void
check_setting_ends(void)
{
	if (!setting_afterwards())
		ereport(ERROR,
				(errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM),
				 errmsg("cannot turn off \"bdr.xact_replication\" for a session"),
				 errdetail("It can be off only for one transaction."),
				 errhint("Use SET LOCAL at the beginning of the transaction.")));
	if (marked && replorigin_session_origin != DoNotReplicateId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot use a replication origin while \"bdr.xact_replication\" is off")));
	if (off_level != 0 && bdr_xact_replication && has_written())
		ereport(ERROR,
				(errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM),
				 errmsg("cannot turn on \"bdr.xact_replication\" in a transaction that has written without it"),
				 errdetail("Peers get all of a transaction or nothing.")));
}

/*
 * The value that the session has after a commit.
 */
static bool
setting_afterwards(void)
{
	static struct config_generic *setting = NULL;

	if (setting == NULL)
		setting = bdr_find_setting("bdr.xact_replication");
	if (setting == NULL || setting->stack == NULL)
		return bdr_xact_replication;
	switch (setting->stack->state)
	{
		case GUC_SAVE:
		case GUC_LOCAL:
			return setting->stack->prior.val.boolval;
		case GUC_SET_LOCAL:
			return setting->stack->masked.val.boolval;
		default:
			return bdr_xact_replication;
	}
}

/* ---------------------------------------------------------------------
 * Ends of transactions
 * ---------------------------------------------------------------------
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			check_setting_ends();
			stamp();
			break;
		case XACT_EVENT_COMMIT:
			forget_transaction(true);
			break;
		case XACT_EVENT_PREPARE:	/* it may still be rolled back */
		case XACT_EVENT_ABORT:
			forget_transaction(false);
			break;
		default:				/* parallel workers write nothing of ours */
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mySubid,
					  SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		if (off_level == level)
			off_level--;
		if (created_level == level)
			created_level--;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		if (off_level == level)
			off_level = 0;
		if (created_level == level)
			end_session();
	}
}

/*
 * The commit time, for the commit record of a local transaction.
 */
static void
stamp(void)
{
	if (!marked && !in_repair())
		return;
	replorigin_session_origin_timestamp = 0;
	if (!avoid_conflict && has_written())
		bdr_clock_wait();
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp =
		avoid_conflict ? BDR_OLDEST_COMMIT : GetCurrentTimestamp();
}

static void
forget_transaction(bool committed)
{
	if (created_level != 0 && !committed)
		end_session();
	if (marked || in_repair())
		replorigin_session_origin_timestamp = 0;
	off_level = 0;
	created_level = 0;
	avoid_conflict = false;
}

/* ---------------------------------------------------------------------
 * Repair sessions
 * ---------------------------------------------------------------------
 */

/*
 * The server's own functions may have ended or replaced what we set up.
 */
static bool
in_repair(void)
{
	return repair_origin != InvalidRepOriginId && replorigin_session_origin == repair_origin;
}

/* Returns the id of a new origin, whose name gets the prefix "bdr_". */
Datum
bdr_difference_fix_origin_create(PG_FUNCTION_ARGS)
{
	char	   *name = psprintf("bdr_%s", NameStr(*PG_GETARG_NAME(0)));

	check_caller();
	if (!bdr_origin_is_repair(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid origin name \"%s\"", NameStr(*PG_GETARG_NAME(0))),
				 errdetail("It must not be empty, nor begin with a digit: such origins belong to nodes.")));
	if (replorigin_by_name(name, true) != InvalidRepOriginId)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("replication origin \"%s\" already exists", name)));
	PG_RETURN_OID(replorigin_create(name));
}

Datum
bdr_difference_fix_session_setup(PG_FUNCTION_ARGS)
{
	check_caller();
	set_up(BDR_REPAIR_ORIGIN, true);
	PG_RETURN_VOID();
}

/* The name with its prefix. */
Datum
bdr_difference_fix_session_setup_named(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	check_caller();
	if (!bdr_origin_is_repair(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("replication origin \"%s\" is not for repairs", name),
				 errhint("Make one with bdr.difference_fix_origin_create().")));
	set_up(name, false);
	PG_RETURN_VOID();
}

Datum
bdr_difference_fix_session_reset(PG_FUNCTION_ARGS)
{
	check_caller();
	if (!in_repair())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this session does not repair differences")));
	if (has_written())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cannot end the repair in a transaction that has written"),
				 errdetail("Peers get all of a transaction or nothing."),
				 errhint("Commit first.")));
	end_session();
	PG_RETURN_VOID();
}

/*
 * What the transaction writes loses against every other version of a row.
 */
Datum
bdr_difference_fix_xact_set_avoid_conflict(PG_FUNCTION_ARGS)
{
	check_caller();
	if (!in_repair())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this session does not repair differences"),
				 errhint("Call bdr.difference_fix_session_setup() first.")));
	avoid_conflict = true;
	PG_RETURN_VOID();
}

static void
check_caller(void)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to repair differences"),
				 errhint("Only superusers can write what peers do not get.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("bdr does not run during recovery")));
	if (max_replication_slots == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication origins need max_replication_slots above 0")));
}

/*
 * Setting a session up is not transactional, but creating an origin is: when
 * the transaction rolls back, the session must not go on with its id.
 */
static void
set_up(const char *name, bool create)
{
	RepOriginId origin;
	bool		created = false;

	if (replorigin_session_origin != InvalidRepOriginId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the session uses a replication origin already")));
	if (has_written())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cannot begin a repair in a transaction that has written"),
				 errdetail("Peers get all of a transaction or nothing."),
				 errhint("Commit first.")));
	origin = replorigin_by_name(name, create);
	if (origin == InvalidRepOriginId)
	{
		origin = replorigin_create(name);
		created = true;
	}
	bdr_origin_session_setup(origin);
	repair_origin = replorigin_session_origin = origin;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
	created_level = created ? GetCurrentTransactionNestLevel() : 0;
}

/*
 * Also during an abort.
 */
static void
end_session(void)
{
	if (in_repair())
	{
		replorigin_session_reset();
		replorigin_session_origin = InvalidRepOriginId;
		replorigin_session_origin_lsn = InvalidXLogRecPtr;
		replorigin_session_origin_timestamp = 0;
	}
	repair_origin = InvalidRepOriginId;
	created_level = 0;
	avoid_conflict = false;
}
