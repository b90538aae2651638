/*-------------------------------------------------------------------------
 * manager/manager.c
 *		The manager's main thread: starts Go, serves it, dies cleanly with it.
 *
 * NOTES
 *		This thread runs no Go, and no Go thread calls PostgreSQL; they talk
 *		over a socketpair.  How it ends:
 *		  Go died              FATAL, exit code 1, started again after 1 s
 *		  Go closed its end    exit code 0, started again when it is wanted
 *		  SIGTERM              Go gets a second to stop; exit code 1
 *		  postmaster died      at once
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "common/file_perm.h"
#include "executor/spi.h"
#include "libpq/pqformat.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/run_directory.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/sql.h"
#include "base/worker.h"
#include "base/worker_settings.h"
#include "manager/golib.h"
#include "manager/manager.h"
#include "bdr_compat.h"
#include "bdr_protocol.h"

#define GRACE_MS		800		/* for Go to stop */
#define GRACE_FATAL_MS	200		/* the same when this thread cannot serve it */

static BdrSocket *go;
static MemoryContext message_context;
static bool ready = false;
static TimestampTz stop_deadline = 0;	/* 0: not stopping */

/* Set while an interrupt may end the process: in a message. */
static volatile sig_atomic_t serving = false;
static volatile sig_atomic_t stop_requested = false;

static void handle_stop(SIGNAL_ARGS);
static void handle_cancel(SIGNAL_ARGS);
static void start_go(Oid dboid);
static void fill_config(BdrGoConfig *config, Oid dboid);
static void make_run_directory(Oid dboid);
static char *home_directory(void);
static void main_loop(void);
static WaitEventSet *make_events(void);
static void check_go(void);
static void check_signals(void);
static long time_left(void);
static void serve_go(void);
static void serve(BdrMessage *msg);
static void tell_death(void *arg);
static void send_settings(void);
static void serve_sql(StringInfo body);
static void run_sql(StringInfo body, StringInfo answer);
static void serve_launch(StringInfo body);
static bool launch(uint64 token, const char *title, BackgroundWorkerHandle **handle);
static void serve_log(StringInfo body);
static int	log_level(const char *name);
static void stop_go_at_exit(int code, Datum arg);

void
bdr_manager_main(Datum arg)
{
	Oid			dboid = DatumGetObjectId(arg);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_stop);
	pqsignal(SIGINT, handle_cancel);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	bdr_worker_pin_settings(BDR_SESSION_MANAGER);
	if (!bdr_shmem_attach(dboid))
		proc_exit(0);

	message_context = AllocSetContextCreate(TopMemoryContext, "bdr message", ALLOCSET_DEFAULT_SIZES);
	start_go(dboid);
	main_loop();
}

/* In a message the process ends like any backend, otherwise in main_loop. */
static void
handle_stop(SIGNAL_ARGS)
{
	int			save_errno = errno;

	stop_requested = true;
	if (serving)
		die(postgres_signal_arg);
	SetLatch(MyLatch);
	errno = save_errno;
}

/* There is nothing to cancel between messages. */
static void
handle_cancel(SIGNAL_ARGS)
{
	if (serving)
		StatementCancelHandler(postgres_signal_arg);
}

/* A failure is told to the sessions that wait for this manager. */
static void
start_go(Oid dboid)
{
	static BdrGoConfig config;
	int			pair[2];

	make_run_directory(dboid);
	fill_config(&config, dboid);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		ereport(FATAL,
				(errcode_for_socket_access(),
				 errmsg("could not make a socketpair: %m")));
	config.main_fd = pair[1];
	go = bdr_socket_adopt(pair[0]);
	send_settings();
	PG_TRY();
	{
		bdr_golib_start(&config, pair[0]);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(message_context);
		edata = CopyErrorData();
		bdr_shmem_set_failed(psprintf("%s: %s", edata->message, edata->detail ? edata->detail : ""));
		PG_RE_THROW();
	}
	PG_END_TRY();
	before_shmem_exit(stop_go_at_exit, 0);
}

/* What Go cannot find out by itself: it sees no environment. */
static void
fill_config(BdrGoConfig *config, Oid dboid)
{
	char		path[MAXPGPATH];
	const char *passfile = getenv("PGPASSFILE");

	config->database_oid = dboid;
	config->server_version_num = PG_VERSION_NUM;
	StartTransactionCommand();
	config->database_name = MemoryContextStrdup(TopMemoryContext, get_database_name(dboid));
	CommitTransactionCommand();
	config->data_directory = MemoryContextStrdup(TopMemoryContext, DataDir);
	bdr_run_directory(dboid, path, sizeof(path));
	config->run_directory = MemoryContextStrdup(TopMemoryContext, path);
	strlcpy(path, my_exec_path, sizeof(path));
	get_parent_directory(path);
	config->bin_directory = MemoryContextStrdup(TopMemoryContext, path);
	config->home_directory = home_directory();
	config->passfile = MemoryContextStrdup(TopMemoryContext, passfile ? passfile : "");
}

static void
make_run_directory(Oid dboid)
{
	char		path[MAXPGPATH];

	bdr_run_directory(dboid, path, sizeof(path));
	if ((MakePGDirectory(BDR_RUN_DIRECTORY) != 0 && errno != EEXIST) ||
		(MakePGDirectory(path) != 0 && errno != EEXIST))
		ereport(FATAL,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", path)));
}

static char *
home_directory(void)
{
	const char *home = getenv("HOME");
	struct passwd *user;

	if (home == NULL || home[0] == '\0')
	{
		user = getpwuid(geteuid());
		home = user ? user->pw_dir : "/";
	}
	return MemoryContextStrdup(TopMemoryContext, home);
}

static void
main_loop(void)
{
	WaitEventSet *events = make_events();

	for (;;)
	{
		WaitEvent	occurred;

		ResetLatch(MyLatch);
		bdr_golib_clear_event();
		check_go();
		check_signals();
		bdr_shmem_answer_ping();
		serve_go();
		(void) WaitEventSetWait(events, time_left(), &occurred, 1, PG_WAIT_EXTENSION);
	}
}

static WaitEventSet *
make_events(void)
{
	WaitEventSet *events = BdrCreateWaitEventSet(5);

	AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(events, WL_SOCKET_READABLE, bdr_socket_fd(go), NULL, NULL);
	AddWaitEventToSet(events, WL_SOCKET_READABLE, bdr_golib_event_fd(), NULL, NULL);
	AddWaitEventToSet(events, WL_SOCKET_READABLE, bdr_golib_dead_fd(), NULL, NULL);
	return events;
}

/* What became of Go. */
static void
check_go(void)
{
	if (bdr_golib_died())
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("the Go part of the bdr manager died"),
				 errdetail("The server log shows where, just before this line."),
				 errhint("The manager is started again after a second.")));
	switch (bdr_golib_state())
	{
		case BDR_GO_RUNNING:
			if (!ready)
				bdr_shmem_set_ready();
			ready = true;
			break;
		case BDR_GO_FAILED:
			bdr_shmem_set_failed(bdr_golib_error());
			ereport(FATAL,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not start the Go part of the bdr manager"),
					 errdetail_internal("%s", bdr_golib_error())));
			break;
		case BDR_GO_STOPPED:
			proc_exit(1);
			break;
		default:
			break;
	}
}

static void
check_signals(void)
{
	CHECK_FOR_INTERRUPTS();
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		serving = true;
		send_settings();
		serving = false;
	}
	if (!stop_requested)
		return;
	if (stop_deadline == 0)
	{
		stop_deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), GRACE_MS);
		bdr_golib_stop(GRACE_MS);
	}
	/* Go is still starting, or does not keep to its time. */
	if (bdr_golib_state() != BDR_GO_STOPPING || GetCurrentTimestamp() >= stop_deadline)
		proc_exit(1);
}

/* For the wait: until Go's grace is over, or for ever. */
static long
time_left(void)
{
	if (stop_deadline == 0)
		return -1;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), stop_deadline) + 1;
}

/* Serves what has come; the end of the stream is Go's wish to end. */
static void
serve_go(void)
{
	BdrMessage	msg;
	int			got;

	while ((got = bdr_socket_try_read(go, &msg)) > 0)
	{
		MemoryContextSwitchTo(message_context);
		serving = true;
		serve(&msg);
		serving = false;
		QueryCancelPending = false;
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(message_context);
		if (stop_requested)
		{
			SetLatch(MyLatch);
			return;
		}
		CHECK_FOR_INTERRUPTS();
	}
	if (got < 0)
	{
		check_go();
		bdr_shmem_set_finished();
		proc_exit(0);
	}
}

static void
serve(BdrMessage *msg)
{
	ErrorContextCallback context = {.previous = error_context_stack,.callback = tell_death};

	error_context_stack = &context;
	switch (msg->kind)
	{
		case BDR_MSG_SQL:
			serve_sql(&msg->body);
			break;
		case BDR_MSG_LAUNCH:
			serve_launch(&msg->body);
			break;
		case BDR_MSG_LOG:
			serve_log(&msg->body);
			break;
		default:
			elog(FATAL, "unexpected message '%c' from the Go part of the bdr manager", msg->kind);
	}
	error_context_stack = context.previous;
}

/* Go's death interrupts a statement like an administrator would. */
static void
tell_death(void *arg)
{
	if (bdr_golib_died())
		errcontext("the Go part of the bdr manager died");
}

static void
send_settings(void)
{
	StringInfoData buf;

	bdr_settings_pack(&buf);
	bdr_socket_send(go, &buf);
	pfree(buf.data);
}

/* One transaction; its error goes to Go. */
static void
serve_sql(StringInfo body)
{
	StringInfoData answer;

	PG_TRY();
	{
		run_sql(body, &answer);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(message_context);
		edata = CopyErrorData();
		FlushErrorState();
		disable_all_timeouts(false);
		QueryCancelPending = false;
		AbortCurrentTransaction();
		MemoryContextSwitchTo(message_context);
		bdr_fault_pack(&answer, edata);
	}
	PG_END_TRY();
	bdr_socket_send(go, &answer);
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(false);
}

/* While Go stops, a statement gets no more time than Go. */
static void
run_sql(StringInfo body, StringInfo answer)
{
	QueryCancelPending = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (stop_deadline != 0 || stop_requested)
		enable_timeout_after(STATEMENT_TIMEOUT, Max(stop_deadline ? time_left() : GRACE_MS, 1));
	pgstat_report_activity(STATE_RUNNING, "bdr: statements of the manager");
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(message_context);
	bdr_sql_run(body, answer);
	PopActiveSnapshot();
	CommitTransactionCommand();
	disable_timeout(STATEMENT_TIMEOUT, false);
	MemoryContextSwitchTo(message_context);
}

/* Starts a writer; it connects to Go by itself. */
static void
serve_launch(StringInfo body)
{
	uint64		token = pq_getmsgint64(body);
	char	   *title = bdr_message_get_shown_text(body);
	BackgroundWorkerHandle *handle;
	StringInfoData answer;
	pid_t		pid;

	if (launch(token, title, &handle))
	{
		bdr_message_begin(&answer, BDR_MSG_LAUNCHED);
		if (GetBackgroundWorkerPid(handle, &pid) != BGWH_STARTED)
			pid = 0;
		pq_sendint32(&answer, (uint32) pid);
	}
	else
	{
		ErrorData	fault = {
			.sqlerrcode = ERRCODE_INSUFFICIENT_RESOURCES,
			.message = psprintf("could not start bdr writer \"%s\"", title),
			.detail = "There is no free background worker slot.",
			.hint = "Increase max_worker_processes and restart the server.",
		};

		bdr_fault_pack(&answer, &fault);
	}
	bdr_socket_send(go, &answer);
}

static bool
launch(uint64 token, const char *title, BackgroundWorkerHandle **handle)
{
	BdrWriterExtra extra = {.dboid = MyDatabaseId,.token = token};
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_type = "bdr writer",
		.bgw_library_name = "bdr",
		.bgw_function_name = "bdr_writer_main",
		.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId),
		.bgw_notify_pid = MyProcPid,
	};

	StaticAssertStmt(sizeof(extra) <= BGW_EXTRALEN, "BdrWriterExtra is too large");
	memcpy(worker.bgw_extra, &extra, sizeof(extra));
	snprintf(worker.bgw_name, BGW_MAXLEN, "bdr writer: %s", title ? title : "");
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

static void
serve_log(StringInfo body)
{
	char	   *level = bdr_message_get_shown_text(body);
	char	   *message = bdr_message_get_shown_text(body);
	char	   *detail = bdr_message_get_shown_text(body);
	char	   *hint = bdr_message_get_shown_text(body);

	ereport(log_level(level),
			(errmsg_internal("%s", message ? message : ""),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0));
}

static int
log_level(const char *name)
{
	if (name != NULL && strcmp(name, "DEBUG1") == 0)
		return DEBUG1;
	if (name != NULL && strcmp(name, "WARNING") == 0)
		return WARNING;
	return LOG;
}

/*
 * An exit in the middle of a statement: Go has not been told yet.
 *
 * This thread does not serve it any more, so Go's statements fail at once.
 * Without a postmaster there is nobody to be polite to.
 */
static void
stop_go_at_exit(int code, Datum arg)
{
	struct pollfd fds[] = {
		{.fd = bdr_golib_event_fd(),.events = POLLIN},
		{.fd = bdr_golib_dead_fd(),.events = POLLIN},
	};

	if (bdr_golib_state() != BDR_GO_RUNNING || bdr_golib_died() || !PostmasterIsAlive())
		return;
	shutdown(bdr_socket_fd(go), SHUT_RDWR);
	bdr_golib_clear_event();
	bdr_golib_stop(GRACE_FATAL_MS);
	(void) poll(fds, lengthof(fds), GRACE_FATAL_MS);
}
