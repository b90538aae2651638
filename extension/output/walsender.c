/*-------------------------------------------------------------------------
 * output/walsender.c
 *		Inside the walsender's loop: when pending frames leave, and how much
 *		is decoded in one turn.
 *
 * NOTES
 *		A frame with complete transactions may wait while the walsender decodes
 *		the WAL behind them.  Three rules make that invisible but for the speed:
 *
 *		1. It leaves before the walsender waits for WAL: that wait is inside
 *		   the reader's page_read callback, which we wrap, and its loop flushes
 *		   before it sleeps.  So the last transaction before a pause leaves at
 *		   once.
 *		2. It leaves when it is older than BDR_FRAME_DELAY_MS_MAX, even while
 *		   the walsender reads WAL that decodes to nothing.
 *		3. It leaves before every keepalive.  A keepalive promises that all that
 *		   was committed before its position has been sent; the receiver
 *		   confirms that position and the server may forget those
 *		   transactions.  The same goes for the end of the stream.  At shutdown
 *		   the walsender does not sleep, but it does not exit before the
 *		   receiver has answered a keepalive either.
 *
 *		A walsender that wakes up to new WAL sends a keepalive before it reads
 *		it, for as long as the receiver has not confirmed what it got before.
 *		That would wake the receiver once more for each transaction, and cost
 *		a system call before the first record is decoded.  Such a keepalive
 *		waits until there is nothing to decode, and is not sent if another one
 *		is; but not longer than frames may.
 *
 *		The walsender's loop asks its socket for a reply and its clock for the
 *		time after each WAL record, which costs more than decoding a small
 *		record.  So a turn of that loop decodes up to BDR_RECORDS_PER_TURN
 *		records.  The walsender's own position moves with the records that it
 *		reads itself; a record is therefore only taken from it when more WAL
 *		follows behind it.
 *
 *		All this needs two functions of the walsender's connection and three
 *		callbacks of the decoding session, which we replace by ours for as
 *		long as the stream lasts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogrecovery.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "replication/decode.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

#include "base/libpq.h"
#include "output/frame.h"
#include "output/stopping.h"
#include "output/walsender.h"
#include "bdr_compat.h"

#define BDR_RECORDS_PER_TURN	100

/* 'k', position, time, "reply requested" */
#define BDR_KEEPALIVE_BYTES		18

/* The session that leaves frames pending, and what it stands in front of. */
static struct
{
	BdrOutput  *output;			/* NULL: pass everything through */
	bool		reading_wal;	/* the decoder waits for WAL, or is about to */
	bool		decoding;		/* a record is being decoded */
	bool		ended;			/* CopyDone was sent: no data may follow it */
	XLogRecPtr	wanted;			/* end of the WAL that the decoder waits for */
	XLogRecPtr	available;		/* end of the WAL that may be read, as last seen */
	char		keepalive[BDR_KEEPALIVE_BYTES]; /* waits to be sent */
	TimestampTz keepalive_time; /* since when; 0: none does */
	PQcommMethods methods;		/* ours */
	const PQcommMethods *original_methods;
	XLogPageReadCB original_read_page;
	LogicalOutputPluginWriterWrite original_write;
	LogicalOutputPluginWriterUpdateProgress original_update_progress;
}			sender;

static void send_pending(void);
static bool keep_keepalive(const char *data, size_t size);
static void send_keepalive(void);
static void decode_ahead(void);
static bool next_record_is_there(XLogReaderState *reader);
static XLogRecPtr wal_end(void);
static void watched_putmessage_noblock(char type, const char *data, size_t size);
static int	watched_flush_if_writable(void);
static int	watched_read_page(XLogReaderState *reader, XLogRecPtr page, int length,
							  XLogRecPtr target, char *buffer);
static void watched_write(LogicalDecodingContext *decoding, XLogRecPtr lsn,
						  TransactionId xid, bool last_write);
static void watched_update_progress(LogicalDecodingContext *decoding, XLogRecPtr lsn,
									TransactionId xid, bool skipped_xact);

/*
 * Let frames of this session wait.  To be called when a walsender starts to
 * stream; elsewhere each transaction is written when it ends.
 */
void
bdr_sender_attach(BdrOutput *output)
{
	LogicalDecodingContext *decoding = output->decoding;

	Assert(am_walsender && sender.output == NULL);
	if (PqCommMethods != &sender.methods)
	{
		if (PqCommMethods->putmessage_noblock == NULL ||
			PqCommMethods->flush_if_writable == NULL)
			return;
		sender.original_methods = PqCommMethods;
		sender.methods = *PqCommMethods;
		sender.methods.putmessage_noblock = watched_putmessage_noblock;
		sender.methods.flush_if_writable = watched_flush_if_writable;
		PqCommMethods = &sender.methods;
	}
	sender.original_read_page = decoding->reader->routine.page_read;
	decoding->reader->routine.page_read = watched_read_page;
	sender.original_write = decoding->write;
	decoding->write = watched_write;
	sender.original_update_progress = decoding->update_progress;
	decoding->update_progress = watched_update_progress;
	sender.reading_wal = false;
	sender.decoding = false;
	sender.ended = false;
	sender.available = InvalidXLogRecPtr;
	sender.keepalive_time = 0;
	sender.output = output;
}

/*
 * The session is over, perhaps by an error: what is pending is given up; the
 * subscriber has not confirmed it and will ask for it again.
 */
void
bdr_sender_detach(BdrOutput *output)
{
	if (sender.output != output)
		return;
	sender.output = NULL;
	if (PqCommMethods == &sender.methods)
		PqCommMethods = sender.original_methods;
}

bool
bdr_sender_is_attached(const BdrOutput *output)
{
	return sender.output == output;
}

/*
 * Send what is pending as a message of its own, between two of the walsender.
 * The header names the last transaction that is complete in it, if any.
 */
static void
send_pending(void)
{
	BdrFrame   *frame;
	StringInfoData header;
	char		space[BDR_COPY_HEADER_BYTES + 1];

	if (sender.output == NULL || bdr_frame_is_empty(&sender.output->frame) ||
		sender.output->frame.open_at != 0)
		return;
	frame = &sender.output->frame;

	bdr_frame_seal(frame);
	header.data = space;
	header.len = header.cursor = 0;
	header.maxlen = sizeof(space);
	pq_sendbyte(&header, 'w');
	pq_sendint64(&header, frame->commit_end);
	pq_sendint64(&header, frame->commit_end);
	pq_sendint64(&header, GetCurrentTimestamp());
	memcpy(frame->bytes.data, space, BDR_COPY_HEADER_BYTES);

	sender.original_methods->putmessage_noblock('d', frame->bytes.data, frame->bytes.len);
	bdr_frame_reset(frame);
}

/*
 * Can this keepalive wait?  Not one that asks for a reply, nor one that tells
 * that the walsender is about to sleep.
 */
static bool
keep_keepalive(const char *data, size_t size)
{
	if (sender.output == NULL || !sender.reading_wal || size != BDR_KEEPALIVE_BYTES ||
		data[BDR_KEEPALIVE_BYTES - 1] != 0 || wal_end() < sender.wanted)
		return false;
	if (sender.keepalive_time == 0)
		sender.keepalive_time = GetCurrentTimestamp();
	memcpy(sender.keepalive, data, size);
	return true;
}

/*
 * Send the keepalive that waits, if it is its time.  Within a record the frame
 * with the transactions before it may be open and cannot leave.
 */
static void
send_keepalive(void)
{
	if (sender.keepalive_time == 0 || sender.decoding ||
		(!sender.reading_wal &&
		 !TimestampDifferenceExceeds(sender.keepalive_time, GetCurrentTimestamp(),
									 BDR_FRAME_DELAY_MS_MAX)))
		return;
	watched_putmessage_noblock('d', sender.keepalive, BDR_KEEPALIVE_BYTES);
}

/*
 * Do what the walsender does with a record, for the records that lie in the
 * page at hand.
 */
static void
decode_ahead(void)
{
	LogicalDecodingContext *decoding = sender.output->decoding;
	XLogReaderState *reader = decoding->reader;

	for (int i = 1; i < BDR_RECORDS_PER_TURN; i++)
	{
		char	   *error;

		if (pq_is_send_pending() || !next_record_is_there(reader))
			return;
		CHECK_FOR_INTERRUPTS();
		if (XLogReadRecord(reader, &error) == NULL)
		{
			if (error != NULL)
				elog(ERROR, "could not read WAL record at %X/%X: %s",
					 LSN_FORMAT_ARGS(reader->EndRecPtr), error);
			return;
		}
		sender.decoding = true;
		LogicalDecodingProcessRecord(decoding, reader);
		sender.decoding = false;
		if (bdr_frame_is_overdue(&sender.output->frame))
			send_pending();
	}
}

/*
 * Can the next record be read without waiting, and is there more WAL behind
 * it?  Where that takes more than a look at the current page, no.
 */
static bool
next_record_is_there(XLogReaderState *reader)
{
	XLogRecPtr	at = reader->EndRecPtr;
	uint32		offset = at % XLOG_BLCKSZ;
	XLogRecPtr	page;
	uint32		length;
	XLogRecPtr	end;

	XLogSegNoOffsetToRecPtr(reader->seg.ws_segno, reader->segoff,
							reader->segcxt.ws_segsize, page);
	if (offset == 0 || page != at - offset ||
		reader->readLen < offset + sizeof(length))
		return false;
	memcpy(&length, reader->readBuf + offset, sizeof(length));
	if (offset + MAXALIGN(length) >= XLOG_BLCKSZ)
		return false;
	end = at + MAXALIGN(length);
	if (end >= sender.available)
		sender.available = wal_end();
	return end < sender.available;
}

static XLogRecPtr
wal_end(void)
{
	return RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) : GetFlushRecPtr(NULL);
}

/*-------------------------------------------------------------------------
 * What stands in front of the walsender's functions.
 *-------------------------------------------------------------------------
 */

/* Rule 3. */
static void
watched_putmessage_noblock(char type, const char *data, size_t size)
{
	bool		is_keepalive = type == 'd' && size > 0 && data[0] == 'k';
	bool		is_copy_done = type == 'c';

	if (is_keepalive && keep_keepalive(data, size))
		return;
	if (is_keepalive || is_copy_done)
	{
		send_pending();
		sender.keepalive_time = 0;
	}
	sender.ended |= is_copy_done;
	sender.original_methods->putmessage_noblock(type, data, size);
}

/*
 * Rules 1 and 2.  Between two records this is the walsender's loop, which has
 * nothing more to do if the flush left something to send.
 *
 * A walsender that is about to wait has looked for WAL before this flush, and
 * since 16 a commit wakes it only once it waits.  So what was committed since,
 * perhaps by who has just got the frame, is looked for here.  One that waits for
 * standbys finds nothing new however often it looks, and tells the log each time.
 */
static int
watched_flush_if_writable(void)
{
	int			result;
	XLogRecPtr	end;

	if (sender.output != NULL &&
		(sender.reading_wal || bdr_frame_is_overdue(&sender.output->frame)))
		send_pending();
	if (sender.output != NULL)
		send_keepalive();
	result = sender.original_methods->flush_if_writable();
	if (sender.output != NULL)
		bdr_stopping_check();
	if (sender.output != NULL && sender.reading_wal &&
		(end = wal_end()) >= sender.wanted && !bdr_sender_waits_for_standbys(end))
		SetLatch(MyLatch);
	if (result == 0 && sender.output != NULL &&
		!sender.reading_wal && !sender.decoding && !sender.ended)
		decode_ahead();
	return result;
}

static int
watched_read_page(XLogReaderState *reader, XLogRecPtr page, int length,
				  XLogRecPtr target, char *buffer)
{
	int			result;

	sender.reading_wal = true;
	sender.wanted = page + length;
	result = sender.original_read_page(reader, page, length, target, buffer);
	sender.reading_wal = false;
	return result;
}

/*
 * These two are called while a record is decoded, and may flush.
 */
static void
watched_write(LogicalDecodingContext *decoding, XLogRecPtr lsn, TransactionId xid,
			  bool last_write)
{
	bool		was_decoding = sender.decoding;

	sender.decoding = true;
	sender.original_write(decoding, lsn, xid, last_write);
	sender.decoding = was_decoding;
}

static void
watched_update_progress(LogicalDecodingContext *decoding, XLogRecPtr lsn,
						TransactionId xid, bool skipped_xact)
{
	bool		was_decoding = sender.decoding;

	sender.decoding = true;
	sender.original_update_progress(decoding, lsn, xid, skipped_xact);
	bdr_stopping_check();
	sender.decoding = was_decoding;
}
