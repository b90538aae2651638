/*-------------------------------------------------------------------------
 * apply/frame.c
 *		The messages of a frame, each to whom it is for.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "apply/activity.h"
#include "apply/change.h"
#include "apply/deferred.h"
#include "apply/frame.h"
#include "apply/pieces.h"
#include "apply/retry.h"
#include "apply/state.h"
#include "apply/statement.h"
#include "apply/tombstone.h"
#include "apply/transaction.h"
#include "apply/truncate.h"
#include "base/hint.h"
#include "conflict/origin_progress.h"
#include "row/statistics.h"
#include "version/clock.h"
#include "bdr_wire.h"

static void check_header(BdrReader *reader);
static void apply_message(uint8 kind, BdrReader *body);
static void apply_piece(const char *start, BdrReader *piece);
static void apply_row_message(uint8 kind, BdrReader *body);
static void must_be_between(const char *what);
static void read_logical_message(BdrReader *body);
static void read_watermark(BdrReader *body);
static void read_startup(BdrReader *body);
static void error_context(void *arg);

/*
 * When a conflict or a deadlock shows up, the unit that it belongs to is rolled
 * back and applied again; see apply/retry.c.
 */
void
bdr_frame_apply(const char *start, Size len)
{
	ErrorContextCallback callback = {error_context_stack, error_context, NULL};
	BdrReader	reader = {start, start + len};
	volatile bool redo = false;
	volatile bool done = false;

	error_context_stack = &callback;
	check_header(&reader);
	while (!done)
	{
		PG_TRY();
		{
			if (redo)
			{
				const char *at = bdr_unit_retry(bdr_frame_apply_messages);

				reader.at = at != NULL ? at : start + BDR_WIRE_HEADER_BYTES;
				reader.end = start + len;
			}
			bdr_frame_apply_messages(&reader);
			bdr_change_flush();
			done = true;
		}
		PG_CATCH();
		{
			if (!bdr_unit_may_retry())
				PG_RE_THROW();
			FlushErrorState();
			redo = true;
		}
		PG_END_TRY();
	}

	if (bdr_apply.xact.open)
	{
		bdr_relation_release_pins();
		bdr_unit_keep(start, len, BDR_WIRE_HEADER_BYTES);
	}
	error_context_stack = callback.previous;
}

static void
check_header(BdrReader *reader)
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
bdr_frame_apply_messages(BdrReader *reader)
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
	if (unlikely(bdr_piece_is_due()))
		bdr_frame_error("A message of kind %u came among the pieces of another one.", kind);
	if (kind != BDR_WIRE_INSERT)
		bdr_change_flush();
	switch (kind)
	{
		case BDR_WIRE_INSERT:
		case BDR_WIRE_UPDATE:
		case BDR_WIRE_DELETE:
		case BDR_WIRE_TRUNCATE:
		case BDR_WIRE_TOMBSTONE:
		case BDR_WIRE_STATEMENT:
			apply_row_message(kind, body);
			break;
		case BDR_WIRE_BEGIN:
			bdr_xact_begin(body);
			break;
		case BDR_WIRE_COMMIT:
			bdr_xact_commit(body);
			break;
		case BDR_WIRE_RELATION:
			bdr_deferred_resolve();
			bdr_relation_define(&bdr_apply, body);
			break;
		case BDR_WIRE_MESSAGE:
			read_logical_message(body);
			break;
		case BDR_WIRE_ORIGIN_PROGRESS:
			must_be_between("What the sender has seen");
			bdr_origin_progress_read(body);
			break;
		case BDR_WIRE_WATERMARK:
			must_be_between("A watermark");
			read_watermark(body);
			break;
		case BDR_WIRE_FORGET:
			must_be_between("A list of dropped relations");
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
	bool		is_again;

	if (!bdr_apply.xact.open)
		bdr_frame_error("A change came outside a transaction.");
	if (bdr_apply.xact.skip)
	{
		piece->at = piece->end;
		return;
	}
	/* one that was put together before is here again when the unit is */
	is_again = bdr_piece_is_last(start);
	if (!is_again && !bdr_piece_is_due())
	{
		bdr_change_flush();
		bdr_unit_close();
	}
	kind = bdr_piece_read(start, piece, &whole);
	if (kind == 0)
		return;
	if (!is_again)
		bdr_unit_start_at(start);
	apply_row_message(kind, &whole);
	if (whole.at != whole.end)
		bdr_frame_error("A message of kind %u is %zu bytes too long.",
						kind, bdr_reader_left(&whole));
	bdr_change_flush();
}

static void
apply_row_message(uint8 kind, BdrReader *body)
{
	if (!bdr_apply.xact.open)
		bdr_frame_error("A change came outside a transaction.");
	if (bdr_apply.xact.skip)
	{
		body->at = body->end;
		return;
	}
	bdr_xact_start_local();
	bdr_activity->nchanges = ++bdr_apply.xact.change_nr;
	switch (kind)
	{
		case BDR_WIRE_INSERT:
			bdr_change_insert(body);
			bdr_stats_count(bdr_apply.relation, BDR_COUNT_INSERTS);
			break;
		case BDR_WIRE_UPDATE:
			bdr_change_update(body);
			bdr_stats_count(bdr_apply.relation, BDR_COUNT_UPDATES);
			break;
		case BDR_WIRE_DELETE:
			bdr_change_delete(body);
			bdr_stats_count(bdr_apply.relation, BDR_COUNT_DELETES);
			break;
		case BDR_WIRE_TOMBSTONE:
			bdr_tombstone_apply(body);
			break;
		case BDR_WIRE_STATEMENT:
			bdr_statement_apply(body);
			break;
		default:
			bdr_truncate_apply(body);
			break;
	}
	bdr_apply.relation = NULL;
}

static void
must_be_between(const char *what)
{
	if (bdr_apply.xact.open)
		bdr_frame_error("%s came inside transaction %u.", what, bdr_apply.xact.xid);
}

/*
 * Logical messages are for the manager, which has read this one already.  One
 * of a transaction counts as a change of it.
 */
static void
read_logical_message(BdrReader *body)
{
	must_be_between("A message");
	(void) bdr_read_uint64(body);
	body->at = body->end;
}

/*
 * WATERMARK.  The manager has read it and knows when all before it is applied.
 *
 * A node that is being made from this peer must not begin to commit below what
 * the others were promised before they knew of it.
 */
static void
read_watermark(BdrReader *body)
{
	TimestampTz time = (TimestampTz) bdr_read_uint64(body);

	(void) bdr_read_uint64(body);
	if (!IS_VALID_TIMESTAMP(time))
		bdr_frame_error("A watermark has no valid time.");
	if (bdr_apply.peer.catch_up)
		bdr_clock_raise(time);
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
	must_be_between("The beginning of a stream");
	bdr_relation_forget_definitions();
}

static void
error_context(void *arg)
{
	if (!bdr_apply.xact.open)
		return;
	bdr_hint_search_path();
	if (bdr_apply.column != NULL)
	{
		bdr_hint_refused_value();
		errcontext("column \"%s\"", bdr_apply.column);
	}
	if (bdr_apply.relation != NULL)
		errcontext("replication target relation \"%s.%s\", change %u of remote transaction %u finished at %X/%X",
				   bdr_apply.relation->schema, bdr_apply.relation->name,
				   bdr_apply.xact.change_nr, bdr_apply.xact.xid, LSN_FORMAT_ARGS(bdr_apply.xact.end_lsn));
	else
		errcontext("change %u of remote transaction %u finished at %X/%X",
				   bdr_apply.xact.change_nr, bdr_apply.xact.xid, LSN_FORMAT_ARGS(bdr_apply.xact.end_lsn));
}
