/*-------------------------------------------------------------------------
 * apply/writer.c
 *		The life of a writer: connect, read frames, apply them, report.
 *
 * NOTES
 *		A writer is a dynamic background worker that the manager starts for
 *		one peer.  It has two connections to the manager's socket: frames
 *		come in and progress goes out on the data connection, conflicts are
 *		asked on the other, so that a decision never queues behind frames.
 *		It is pure C and knows no peer address.  The manager may lend it the
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
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "postmaster/walwriter.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "apply/activity.h"
#include "apply/apply.h"
#include "apply/handoff.h"
#include "base/bdr.h"
#include "base/worker_settings.h"
#include "bdr_compat.h"
#include "bdr_protocol.h"
#include "bdr_wire.h"

/* Between the reports of a long transaction. */
#define BDR_PROGRESS_MS			1000

/* Between those of short ones: each wakes the manager up. */
#define BDR_REPORT_MS			20

MemoryContext bdr_change_context;

static BdrSocket *data;			/* frames in, progress out */
static BdrSocket *decider;		/* conflicts out, decisions in */
static XLogRecPtr reported_flushed;
static TimestampTz reported_at;
static bool report_pending;		/* commits that were not reported */
static bool stats_pending;		/* counted, not yet handed on */
static bool manager_is_due;		/* for a look at what it says */
static BackendState shown = STATE_UNDEFINED;	/* in pg_stat_activity */

static void read_setup(BdrMessage *msg);
static void writer_loop(void);
static void handle_message(BdrMessage *msg);
static bool wait_for_message(BdrMessage *msg);
static int	next_message(BdrMessage *msg);
static bool wait_for_socket(void);
static void handle_silence(void);
static void handle_signals(void);
static void apply_frame(StringInfo body);
static void apply_message(uint8 kind, BdrReader *body);
static void apply_piece(const char *start, BdrReader *piece);
static void apply_row_message(uint8 kind, BdrReader *body);
static void read_logical_message(BdrReader *body);
static void read_startup(BdrReader *body);
static void check_frame_header(BdrReader *reader);
static bool progress_is_due(void);
static void report_activity(BackendState state);
static void report_fault(void);
static void pack_failed(StringInfo buf);
static void send_failed(StringInfo failed, ErrorData *edata);
static void error_context(void *arg);

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
	bdr_session_pin(BDR_SESSION_WRITER);
	bdr_change_context = AllocSetContextCreate(TopMemoryContext, "bdr change",
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
	decider = bdr_socket_connect(path, BDR_ROLE_DECIDER, extra.token);
	MemoryContextSwitchTo(bdr_change_context);
	if (!bdr_socket_read(data, &msg))
		proc_exit(0);
	read_setup(&msg);
	bdr_activity_attach(bdr_peer.subscription_id);
	bdr_relation_init();
	bdr_missing_init();
	bdr_apply_init();
	bdr_conflict_init(decider);
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
	bdr_peer.subscription_id = pq_getmsgint(body, 4);
	bdr_peer.node_id = pq_getmsgint(body, 4);
	bdr_peer.local_node_id = pq_getmsgint(body, 4);
	mode = pq_getmsgbyte(body);
	bdr_peer.name = bdr_message_get_text(body);
	bdr_peer.first_lsn = pq_getmsgint64(body);
	pq_getmsgend(body);
	MemoryContextSwitchTo(old);

	if ((mode != 'n' && mode != 'm') || bdr_peer.name == NULL ||
		bdr_peer.node_id == 0 || bdr_peer.local_node_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("invalid setup from the bdr manager")));
	bdr_peer.mirror = (mode == 'm');
	bdr_peer.trusted = bdr_peer.mirror || bdr_debug_trust_peers;
}

/*
 * Apply frames until the manager closes the connection.
 */
static void
writer_loop(void)
{
	BdrMessage	msg;

	reported_flushed = bdr_peer.first_lsn;
	report_activity(STATE_IDLE);
	while (wait_for_message(&msg))
	{
		handle_message(&msg);
		MemoryContextReset(bdr_change_context);
	}
}

static void
handle_message(BdrMessage *msg)
{
	switch (msg->kind)
	{
		case BDR_MSG_APPLY:
			apply_frame(&msg->body);
			manager_is_due |= bdr_xact.open;
			break;
		case BDR_MSG_LEND:
			bdr_stream_borrow(data, msg);
			break;
		case BDR_MSG_RECALL:
			bdr_stream_recall();
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

		handle_signals();
		got = next_message(msg);
		if (got != 0)
			return got > 0;
		report_activity(STATE_IDLE);
		report_pending |= bdr_stream_has_news();
		if (progress_is_due())
			bdr_writer_report();
		if (!wait_for_socket())
			handle_silence();
	}
}

/*
 * From the manager or, while it is lent, from the stream; the manager is looked
 * at before we wait, after each report, and between the frames of a transaction.
 */
static int
next_message(BdrMessage *msg)
{
	if (manager_is_due || !bdr_stream_is_lent())
	{
		int			got = bdr_socket_try_read(data, msg);

		manager_is_due = false;
		if (got != 0 || !bdr_stream_is_lent())
			return got;
	}
	if (bdr_stream_take(msg))
		return 1;
	return bdr_socket_try_read(data, msg);
}

/*
 * Returns false on a timeout.  There is one while commits wait to be reported
 * or for their flush, which the WAL writer does within its delay, and for the
 * statistics.
 */
static bool
wait_for_socket(void)
{
	bool		pending = report_pending || bdr_progress_pending() || stats_pending;
	long		timeout = report_pending ? BDR_REPORT_MS : pending ? WalWriterDelay : -1;

	return bdr_stream_is_lent() ? bdr_stream_wait(timeout) : bdr_socket_wait(data, timeout);
}

/* Nothing came for a while. */
static void
handle_silence(void)
{
	if (report_pending)
		bdr_writer_report();
	else
	{
		if (bdr_progress_flushed() != reported_flushed)
			bdr_writer_report();
		if (!bdr_xact.started)
			pgstat_report_stat(true);
		stats_pending = false;
	}
	if (bdr_stream_is_lent())
		bdr_stream_check_silence();
}

static void
handle_signals(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Between BEGIN and the first change, when no local transaction is open.
 */
void
bdr_writer_wait(long (*left_ms) (void), const char *activity)
{
	long		left = left_ms();

	Assert(!bdr_xact.started);
	pgstat_report_activity(STATE_RUNNING, activity);
	while (left > 0)
	{
		if (progress_is_due())
			bdr_writer_report();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, BDR_PROGRESS_MS), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		handle_signals();
		left = left_ms();
	}
	shown = STATE_UNDEFINED;
	report_activity(STATE_RUNNING);
}

/*
 * APPLY.  When a conflict or a deadlock shows up, the unit that it belongs to
 * is rolled back and applied again; see apply/transaction.c.
 */
static void
apply_frame(StringInfo body)
{
	const char *start = body->data + body->cursor;
	Size		len = body->len - body->cursor;
	uint64		commits = bdr_counters.commits + bdr_counters.skipped;
	ErrorContextCallback callback = {error_context_stack, error_context, NULL};
	BdrReader	reader = {start, start + len};
	volatile bool redo = false;
	volatile bool done = false;

	error_context_stack = &callback;
	report_activity(STATE_RUNNING);
	bdr_walwriter_begin_frame();
	check_frame_header(&reader);
	while (!done)
	{
		PG_TRY();
		{
			if (redo)
			{
				const char *at = bdr_unit_redo(bdr_writer_apply_messages);

				reader.at = at != NULL ? at : start + BDR_WIRE_HEADER_BYTES;
				reader.end = start + len;
			}
			bdr_writer_apply_messages(&reader);
			bdr_apply_flush();
			done = true;
		}
		PG_CATCH();
		{
			if (!bdr_unit_may_redo())
				PG_RE_THROW();
			FlushErrorState();
			redo = true;
		}
		PG_END_TRY();
	}

	if (bdr_xact.open)
	{
		bdr_relation_release_pins();
		bdr_unit_keep(start, len, BDR_WIRE_HEADER_BYTES);
	}
	bdr_walwriter_end_frame();
	error_context_stack = callback.previous;
	report_pending |= bdr_counters.commits + bdr_counters.skipped != commits;
	if (progress_is_due())
		bdr_writer_report();
}

/*
 * Commits are reported soon, a long transaction now and then, and with it what
 * was flushed.
 */
static bool
progress_is_due(void)
{
	if (!report_pending && !bdr_xact.open)
		return false;
	return TimestampDifferenceExceeds(reported_at, GetCurrentTimestamp(),
									  report_pending ? BDR_REPORT_MS : BDR_PROGRESS_MS);
}

static void
check_frame_header(BdrReader *reader)
{
	uint8		magic = bdr_read_uint8(reader);
	uint8		version = bdr_read_uint8(reader);
	uint16		reserved = bdr_read_uint16(reader);

	(void) bdr_read_uint32(reader); /* checksum: the manager has looked at it */
	if (magic != BDR_WIRE_MAGIC)
		bdr_frame_error("It does not start as a frame does.");
	if (version < BDR_WIRE_VERSION_MIN || version > BDR_WIRE_VERSION_MAX)
		bdr_frame_error("Its version %u is not known.", version);
	if (reserved != 0)
		bdr_frame_error("Its header has an unknown part of %u bytes.", reserved);
}

/*
 * Every message from reader->at to the end.
 */
void
bdr_writer_apply_messages(BdrReader *reader)
{
	while (reader->at < reader->end)
	{
		const char *start = reader->at;
		uint8		kind = bdr_read_uint8(reader);
		uint32		len = bdr_read_uint32(reader);
		BdrReader	body;

		CHECK_FOR_INTERRUPTS();
		if (len > bdr_reader_left(reader))
			bdr_frame_error("A message of kind %u claims %u bytes, but %zu are left.",
							kind, len, bdr_reader_left(reader));
		body.at = reader->at;
		body.end = reader->at + len;
		reader->at = body.end;
		if (unlikely(kind == BDR_WIRE_PIECE))
			apply_piece(start, &body);
		else
			apply_message(kind, &body);
		if (body.at != body.end)
			bdr_frame_error("A message of kind %u is %zu bytes too long.",
							kind, bdr_reader_left(&body));
		if (kind == BDR_WIRE_BEGIN)
			bdr_unit_start(reader->at);
	}
}

/*
 * Only inserts make a run longer.  Whatever else comes finds it written, before
 * a byte of it is read: writing a run resets the memory that is read into.
 */
static void
apply_message(uint8 kind, BdrReader *body)
{
	if (unlikely(bdr_piece_is_due))
		bdr_frame_error("A message of kind %u came among the pieces of another one.", kind);
	if (kind != BDR_WIRE_INSERT)
		bdr_apply_flush();
	switch (kind)
	{
		case BDR_WIRE_INSERT:
		case BDR_WIRE_UPDATE:
		case BDR_WIRE_DELETE:
		case BDR_WIRE_TRUNCATE:
		case BDR_WIRE_UNSEEN:
			apply_row_message(kind, body);
			break;
		case BDR_WIRE_BEGIN:
			bdr_xact_begin(body);
			break;
		case BDR_WIRE_COMMIT:
			bdr_xact_commit(body);
			break;
		case BDR_WIRE_RELATION:
			bdr_relation_define(body);
			break;
		case BDR_WIRE_MESSAGE:
			read_logical_message(body);
			break;
		case BDR_WIRE_SEEN:
			bdr_seen_read(body);
			break;
		case BDR_WIRE_WATERMARK:
			bdr_watermark_read(body);
			break;
		case BDR_WIRE_FORGET:
			bdr_relation_forget(body);
			break;
		case BDR_WIRE_STARTUP:
			read_startup(body);
			break;
		default:
			bdr_frame_error("It has a message of unknown kind %u.", kind);
	}
}

/*
 * A part of a message about a row; the last one makes it whole.  Nothing of it
 * remains to be written afterwards.
 */
static void
apply_piece(const char *start, BdrReader *piece)
{
	BdrReader	whole;
	uint8		kind;

	if (!bdr_xact.open)
		bdr_frame_error("A change came outside a transaction.");
	if (bdr_xact.skip)
	{
		piece->at = piece->end;
		return;
	}
	kind = bdr_piece_read(start, piece, &whole);
	if (kind == 0)
		return;
	apply_row_message(kind, &whole);
	if (whole.at != whole.end)
		bdr_frame_error("A message of kind %u is %zu bytes too long.",
						kind, bdr_reader_left(&whole));
	bdr_apply_flush();
}

static void
apply_row_message(uint8 kind, BdrReader *body)
{
	if (!bdr_xact.open)
		bdr_frame_error("A change came outside a transaction.");
	if (bdr_xact.skip)
	{
		body->at = body->end;
		return;
	}
	bdr_xact_start_local();
	bdr_activity->nchanges = ++bdr_xact.change_nr;
	switch (kind)
	{
		case BDR_WIRE_INSERT:
			bdr_apply_insert(body);
			bdr_stats_count(bdr_apply_relation, BDR_COUNT_INSERTS);
			break;
		case BDR_WIRE_UPDATE:
			bdr_apply_update(body);
			bdr_stats_count(bdr_apply_relation, BDR_COUNT_UPDATES);
			break;
		case BDR_WIRE_DELETE:
			bdr_apply_delete(body);
			bdr_stats_count(bdr_apply_relation, BDR_COUNT_DELETES);
			break;
		case BDR_WIRE_UNSEEN:
			bdr_unseen_apply(body);
			break;
		default:
			bdr_truncate_apply(body);
			break;
	}
	bdr_apply_relation = NULL;
}

/*
 * Logical messages are for the manager, which has read this one already.  One
 * of a transaction counts as a change of it.
 */
static void
read_logical_message(BdrReader *body)
{
	if (bdr_xact.open)
		bdr_frame_error("A message came inside a transaction.");
	(void) bdr_read_uint64(body);
	body->at = body->end;
}

static void
read_startup(BdrReader *body)
{
	uint16		version = bdr_read_uint16(body);

	if (version < BDR_WIRE_VERSION_MIN || version > BDR_WIRE_VERSION_MAX)
		bdr_frame_error("Protocol version %u is not known.", version);
	(void) bdr_read_uint32(body);
	(void) bdr_read_uint8(body);
	(void) bdr_read_bytes(body, bdr_read_uint16(body));
	if (bdr_xact.open)
		bdr_frame_error("A stream begins inside transaction %u.", bdr_xact.xid);
	bdr_relation_forget_definitions();
}

/* ---------------------------------------------------------------------
 * Reports
 * ---------------------------------------------------------------------
 */
void
bdr_writer_report(void)
{
	StringInfoData buf;
	const uint64 *counter = (const uint64 *) &bdr_counters;

	manager_is_due = true;
	report_pending = false;
	reported_flushed = bdr_progress_flushed();
	reported_at = GetCurrentTimestamp();
	stats_pending = true;
	bdr_message_begin(&buf, BDR_MSG_PROGRESS);
	pq_sendint64(&buf, bdr_progress_applied());
	pq_sendint64(&buf, reported_flushed);
	pq_sendint64(&buf, bdr_progress_time());
	for (int i = 0; i < BDR_COUNTERS; i++)
		pq_sendint64(&buf, counter[i]);
	pq_sendint64(&buf, bdr_xact.open ? bdr_xact.change_nr : 0);
	bdr_stream_report(&buf);
	bdr_socket_send(data, &buf);
	pfree(buf.data);
	bdr_stats_report();
	if (!bdr_xact.started)
		pgstat_report_stat(false);
}

/*
 * What pg_stat_activity shows.  A text for each transaction would cost more
 * than a small transaction; bdr.stat_writer knows which one it is.
 */
static void
report_activity(BackendState state)
{
	char		text[NAMEDATALEN + 64];

	if (state == shown)
		return;
	shown = state;
	snprintf(text, sizeof(text), state == STATE_RUNNING ?
			 "apply changes of node \"%s\"" : "wait for node \"%s\"", bdr_peer.name);
	pgstat_report_activity(state, text);
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
	bdr_xact_reset_origin();
	EmitErrorReport();
	MemoryContextSwitchTo(TopMemoryContext);
	edata = CopyErrorData();
	FlushErrorState();
	pack_failed(&failed);
	if (bdr_xact.started)
		bdr_counters.aborts++;
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
	BdrRelation *rel = bdr_apply_relation;

	bdr_message_begin(buf, BDR_MSG_FAILED);
	pq_sendint32(buf, bdr_xact.xid);
	pq_sendint64(buf, bdr_xact.end_lsn);
	pq_sendint64(buf, bdr_xact.commit_time);
	pq_sendint32(buf, bdr_xact.change_nr);
	bdr_message_text(buf, rel ? rel->schema : NULL);
	bdr_message_text(buf, rel ? rel->name : NULL);
}

/*
 * The last words: what was done before, where it failed, and why.  They wait
 * for a manager that is busy, but an interrupt ends that.
 */
static void
send_failed(StringInfo failed, ErrorData *edata)
{
	StringInfoData fault;

	if (bdr_activity != NULL)
		bdr_writer_report();
	if (bdr_xact.open)
		bdr_socket_send(data, failed);
	bdr_fault_pack(&fault, edata);
	bdr_socket_send(data, &fault);
}

void
bdr_frame_error(const char *fmt,...)
{
	StringInfoData detail;

	initStringInfo(&detail);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, fmt);
		needed = appendStringInfoVA(&detail, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&detail, needed);
	}
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("malformed frame from node \"%s\"", bdr_peer.name),
			 errdetail_internal("%s", detail.data)));
}

static void
error_context(void *arg)
{
	if (!bdr_xact.open)
		return;
	bdr_hint_search_path();
	if (bdr_apply_relation != NULL)
		errcontext("replication target relation \"%s.%s\", change %u of remote transaction %u finished at %X/%X",
				   bdr_apply_relation->schema, bdr_apply_relation->name,
				   bdr_xact.change_nr, bdr_xact.xid, LSN_FORMAT_ARGS(bdr_xact.end_lsn));
	else
		errcontext("change %u of remote transaction %u finished at %X/%X",
				   bdr_xact.change_nr, bdr_xact.xid, LSN_FORMAT_ARGS(bdr_xact.end_lsn));
}
