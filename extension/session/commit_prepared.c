/*-------------------------------------------------------------------------
 * session/commit_prepared.c
 *		COMMIT PREPARED, which runs no callbacks of the transaction that it
 *		commits: what version/clock.c and version/key_removal.c do at a commit, done for it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "replication/origin.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"

#include "base/hooks.h"
#include "session/commit_prepared.h"
#include "version/clock.h"
#include "version/key_removal.h"

static void process(const BdrUtility *statement);
static bool is_commit_prepared(PlannedStmt *pstmt);
static void committed(void);

void
bdr_commit_prepared_init(void)
{
	bdr_hooks_on_utility(process);
}

static void
process(const BdrUtility *statement)
{
	if (!is_commit_prepared(statement->pstmt))
	{
		bdr_hooks_run_utility(statement);
		return;
	}
	bdr_clock_wait();
	bdr_key_removal_server_begin();
	PG_TRY();
	{
		bdr_hooks_run_utility(statement);
	}
	PG_FINALLY();
	{
		committed();
	}
	PG_END_TRY();
}

static bool
is_commit_prepared(PlannedStmt *pstmt)
{
	return IsA(pstmt->utilityStmt, TransactionStmt) &&
		((TransactionStmt *) pstmt->utilityStmt)->kind == TRANS_STMT_COMMIT_PREPARED;
}

/*
 * The server leaves the commit time where a session may choose it.  The clock
 * may have gone back, or there was no commit.
 */
static void
committed(void)
{
	TimestampTz time = Max(replorigin_session_origin_timestamp, GetCurrentTimestamp());

	bdr_clock_committed(time);
	bdr_key_removal_server_end(time);
}
