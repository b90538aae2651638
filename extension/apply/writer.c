/*-------------------------------------------------------------------------
 * apply/writer.c
 *		The life of a writer: connect, read frames, apply them, report.
 *
 * NOTES
 *		A writer is a dynamic background worker that the manager starts for
 *		one peer.  It has two connections to the manager's socket: frames
 *		come in and progress goes out on the data connection, conflicts are
 *		asked on the other, so that a decision never queues behind frames.
 *		It is pure C and knows no peer address.  The manager may hand it the
 *		peer's stream, to read frames from there: apply/handoff.c.
 *
 *		It ends on SIGTERM, when the postmaster dies, when the manager closes
 *		the data connection and after any error, which it reports in a FAULT
 *		first.  Trying again is the manager's business.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "apply/activity.h"
#include "apply/frame.h"
#include "apply/handoff.h"
#include "apply/origin.h"
#include "apply/progress.h"
#include "apply/report.h"
#include "apply/state.h"
#include "apply/table_gate.h"
#include "apply/transaction.h"
#include "apply/walwriter.h"
#include "apply/writer.h"
#include "base/run_directory.h"
#include "base/settings.h"
#include "base/worker.h"
#include "base/worker_settings.h"
#include "conflict/resolvers.h"
#include "row/relation.h"
#include "bdr_compat.h"

static BdrSocket *data;			/* frames in, progress out */
static bool in_transaction;		/* between two frames of one */

static void read_setup(BdrMessage *msg);
static void writer_loop(void);
static void handle_message(BdrMessage *msg);
static bool wait_for_message(BdrMessage *msg);
static int	next_message(BdrMessage *msg);
static long gates_timeout_ms(void);
static bool wait_for_socket(long timeout_ms);
static void apply_frame(StringInfo body);
static void report_fault(void);
static void pack_failed(StringInfo buf);
static void note_all_before(void);
static void send_failed(StringInfo failed, ErrorData *edata);

/*
 * Entry point of the background worker; bgw_extra holds a BdrWriterExtra.
 */
void
bdr_writer_main(Datum arg)
{
	BdrWriterExtra extra;
	BdrMessage	msg;
	char		path[MAXPGPATH];
	sigjmp_buf	on_error;

	memcpy(&extra, MyBgworkerEntry->bgw_extra, sizeof(extra));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(extra.dboid, InvalidOid, 0);
	bdr_worker_pin_settings(BDR_SESSION_WRITER);
	bdr_apply.change_context = AllocSetContextCreate(TopMemoryContext, "bdr change",
											   ALLOCSET_DEFAULT_SIZES);

	if (sigsetjmp(on_error, 1) != 0)
	{
		report_fault();
		proc_exit(0);
	}
	PG_exception_stack = &on_error;

	bdr_socket_path(extra.dboid, path, sizeof(path));
	MemoryContextSwitchTo(TopMemoryContext);
	data = bdr_socket_connect(path, BDR_ROLE_WRITER, extra.token);
	bdr_apply.decider = bdr_socket_connect(path, BDR_ROLE_DECIDER, extra.token);
	MemoryContextSwitchTo(bdr_apply.change_context);
	if (!bdr_socket_read(data, &msg))
		proc_exit(0);
	read_setup(&msg);
	bdr_activity_attach(bdr_apply.peer.subscription_id);
	bdr_relation_init();
	bdr_resolvers_init();
	bdr_version_init(bdr_apply.peer.local_node_id);
	bdr_report_init(data);
	bdr_gates_init();
	bdr_xact_init();
	writer_loop();
	bdr_xact_abort();
	proc_exit(0);
}

/*
 * SETUP, the first message.
 */
static void
read_setup(BdrMessage *msg)
{
	StringInfo	body = &msg->body;
	MemoryContext old;
	char		mode;

	if (msg->kind != BDR_MSG_SETUP)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("unexpected message from the bdr manager"),
				 errdetail("A writer was sent \"%c\" instead of its setup.", msg->kind)));
	old = MemoryContextSwitchTo(TopMemoryContext);
	bdr_apply.peer.subscription_id = pq_getmsgint(body, 4);
	bdr_apply.peer.node_id = pq_getmsgint(body, 4);
	bdr_apply.peer.local_node_id = pq_getmsgint(body, 4);
	mode = pq_getmsgbyte(body);
	bdr_apply.peer.name = bdr_message_get_text(body);
	bdr_apply.peer.first_lsn = pq_getmsgint64(body);
	pq_getmsgend(body);
	MemoryContextSwitchTo(old);

	if ((mode != 'n' && mode != 'm') || bdr_apply.peer.name == NULL ||
		bdr_apply.peer.node_id == 0 || bdr_apply.peer.local_node_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("invalid setup from the bdr manager")));
	bdr_apply.peer.catch_up = (mode == 'm');
	bdr_apply.peer.trusted = bdr_apply.peer.catch_up || bdr_debug_trust_peers;
	bdr_reader_set_source(bdr_apply.peer.name);
}

/*
 * Apply frames until the manager closes the connection.
 */
static void
writer_loop(void)
{
	BdrMessage	msg;

	bdr_report_activity(STATE_IDLE);
	while (wait_for_message(&msg))
	{
		handle_message(&msg);
		MemoryContextReset(bdr_apply.change_context);
	}
}

static void
handle_message(BdrMessage *msg)
{
	switch (msg->kind)
	{
		case BDR_MSG_APPLY:
			apply_frame(&msg->body);
			in_transaction = bdr_apply.xact.open;
			break;
		case BDR_MSG_HANDOFF:
			bdr_handoff_accept(data, msg);
			break;
		case BDR_MSG_RECLAIM:
			bdr_handoff_reclaim();
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("unexpected message from the bdr manager"),
					 errdetail("A writer was sent \"%c\".", msg->kind)));
	}
}

/*
 * Wait for the next message.  Meanwhile report what got flushed, and hand
 * the statistics on.  Returns false at the end of the stream.
 */
static bool
wait_for_message(BdrMessage *msg)
{
	for (;;)
	{
		int			got;
		long		timeout;

		bdr_worker_handle_signals();
		timeout = gates_timeout_ms();
		got = next_message(msg);
		if (got != 0)
			return got > 0;
		bdr_report_activity(STATE_IDLE);
		if (bdr_handoff_has_news())
			bdr_report_note();
		bdr_report_if_due();
		if (wait_for_socket(timeout))
			continue;
		bdr_report_after_silence();
		if (bdr_handoff_is_here())
			bdr_handoff_check_silence();
	}
}

/*
 * From the manager or, while that is here, from the stream; the manager is looked
 * at before we wait, after each report, and between the frames of a transaction.
 */
static int
next_message(BdrMessage *msg)
{
	if (bdr_report_was_sent() || in_transaction || !bdr_handoff_is_here())
	{
		int			got = bdr_socket_try_read(data, msg);

		in_transaction = false;
		if (got != 0 || !bdr_handoff_is_here())
			return got;
	}
	if (bdr_handoff_take(msg))
		return 1;
	return bdr_socket_try_read(data, msg);
}

/* Between the frames of a transaction gates have time. */
static long
gates_timeout_ms(void)
{
	return bdr_apply.xact.open ? -1 : bdr_gates_serve();
}

/*
 * Returns false when it is time for a report.
 */
static bool
wait_for_socket(long timeout_ms)
{
	long		report = bdr_report_timeout_ms();
	bool		is_report = timeout_ms < 0 || (report >= 0 && report <= timeout_ms);
	long		timeout = is_report ? report : timeout_ms;

	return (bdr_handoff_is_here() ? bdr_handoff_wait(timeout) : bdr_socket_wait(data, timeout)) || !is_report;
}

/*
 * APPLY.
 */
static void
apply_frame(StringInfo body)
{
	uint64		commits = bdr_apply.counters.commits + bdr_apply.counters.skipped;

	bdr_report_activity(STATE_RUNNING);
	bdr_walwriter_begin_frame();
	bdr_frame_apply(body->data + body->cursor, body->len - body->cursor);
	bdr_walwriter_end_frame();
	if (bdr_apply.counters.commits + bdr_apply.counters.skipped != commits)
		bdr_report_note();
	bdr_report_if_due();
}

/*
 * The error goes to the server log and to the manager; then we end.
 */
static void
report_fault(void)
{
	ErrorData  *edata;
	StringInfoData failed;
	sigjmp_buf	give_up;

	error_context_stack = NULL;
	HOLD_INTERRUPTS();
	bdr_origin_reset();
	EmitErrorReport();
	MemoryContextSwitchTo(TopMemoryContext);
	edata = CopyErrorData();
	FlushErrorState();
	pack_failed(&failed);
	if (bdr_apply.xact.started)
		bdr_apply.counters.aborts++;
	AbortOutOfAnyTransaction();
	RESUME_INTERRUPTS();
	if (data == NULL || sigsetjmp(give_up, 1) != 0)
		return;
	PG_exception_stack = &give_up;
	MemoryContextSwitchTo(TopMemoryContext);
	send_failed(&failed, edata);
}

/*
 * FAILED: where in the stream the error is.
 */
static void
pack_failed(StringInfo buf)
{
	BdrRelation *rel = bdr_apply.relation;

	bdr_message_begin(buf, BDR_MSG_FAILED);
	pq_sendint32(buf, bdr_apply.xact.xid);
	pq_sendint64(buf, bdr_apply.xact.end_lsn);
	pq_sendint64(buf, bdr_apply.xact.version.time);
	pq_sendint32(buf, bdr_apply.xact.change_nr);
	bdr_message_text(buf, rel ? rel->schema : NULL);
	bdr_message_text(buf, rel ? rel->name : NULL);
}

/*
 * A statement of another node may wait for a place between the last transaction and
 * this one, which fails as that statement has not run.
 */
static void
note_all_before(void)
{
	if (bdr_apply.xact.open && bdr_apply.xact.commit_lsn > bdr_progress_applied())
		bdr_progress_note(bdr_apply.xact.commit_lsn, InvalidXLogRecPtr, bdr_progress_time());
}

/*
 * The last words: what was done before, where it failed, and why.  They wait
 * for a manager that is busy, but an interrupt ends that.
 */
static void
send_failed(StringInfo failed, ErrorData *edata)
{
	StringInfoData fault;

	note_all_before();
	if (bdr_activity != NULL)
		bdr_report_send();
	if (bdr_apply.xact.open)
		bdr_socket_send(data, failed);
	bdr_fault_pack(&fault, edata);
	bdr_socket_send(data, &fault);
}

