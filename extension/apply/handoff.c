/*-------------------------------------------------------------------------
 * apply/handoff.c
 *		The peer's stream, while a writer reads it itself.
 *
 * NOTES
 *		The manager connects to a peer and confirms what is applied.  While
 *		only transactions come, it hands the writer the connection to read
 *		from, which saves each of them the way through another process.
 *
 *		What a writer does not know how to answer goes back to the manager,
 *		with all that follows it: frames with messages or watermarks, those
 *		that are damaged, those that break a promise, errors, the end of the
 *		connection.  The manager passes on what is for us, and hands off the
 *		connection again.  So there is one place for everything but the
 *		common case.
 *
 *		A connection that speaks TLS is never handed off.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "replication/walreceiver.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "apply/handoff.h"
#include "apply/report.h"
#include "apply/state.h"
#include "bdr_wire.h"

/* What a walsender's CopyData begins with. */
#define FRAME_KIND			'w'
#define FRAME_HEADER_BYTES	25	/* kind, start, end, time */
#define FRAME_TIME_AT		17
#define KEEPALIVE_KIND		'k'
#define KEEPALIVE_BYTES		18	/* kind, end, time, reply requested */
#define KEEPALIVE_TIME_AT	9

/* In BEGIN. */
#define BEGIN_TIME_AT		20
#define BEGIN_ORIGIN_AT		28
#define BEGIN_BYTES			40

/* Flags of HEARD. */
#define HEARD_REPLY			1	/* the peer wants to hear from us */
#define HEARD_SILENCE		2	/* nothing has come for long */

static struct
{
	BdrSocket  *manager;
	BdrSocket  *socket;			/* NULL: it is not here */
	TimestampTz promised;		/* nothing of the peer's own is older */
	TimestampTz sent;			/* the last message */
	TimestampTz received;
	TimestampTz listening;		/* since when nothing has come */
	XLogRecPtr	keepalive;		/* to be reported; 0: none */
	bool		applying;		/* what came last was a frame */
	bool		asked;			/* whether the peer is still there */
	bool		reclaimed;
}			stream;

static bool read_copy(StringInfo copy, BdrMessage *msg);
static bool read_frame(StringInfo copy, BdrMessage *msg);
static bool read_keepalive(StringInfo copy);
static void note_times(uint64 sent);
static bool is_for_us(const char *frame, Size len);
static bool keeps_promise(const char *begin, Size len);
static void send_heard(int flags);
static void give_back(const char *reason);
static uint32 get_uint32(const char *at);
static uint64 get_uint64(const char *at);

void
bdr_handoff_accept(BdrSocket *manager, BdrMessage *handoff)
{
	int			fd = bdr_socket_take_descriptor(manager);
	MemoryContext old;

	if (fd < 0 || stream.socket != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("unexpected message from the bdr manager"),
				 errdetail("It hands off a connection that did not come.")));
	memset(&stream, 0, sizeof(stream));
	stream.manager = manager;
	stream.promised = (TimestampTz) pq_getmsgint64(&handoff->body);
	pq_getmsgend(&handoff->body);
	old = MemoryContextSwitchTo(TopMemoryContext);
	stream.socket = bdr_socket_adopt_server(fd, manager);
	MemoryContextSwitchTo(old);
	stream.applying = true;		/* what came before */
}

/* It may have gone back already. */
void
bdr_handoff_reclaim(void)
{
	stream.reclaimed = true;
}

bool
bdr_handoff_is_here(void)
{
	return stream.socket != NULL;
}

bool
bdr_handoff_take(BdrMessage *msg)
{
	for (;;)
	{
		BdrMessage	copy;
		int			got;

		if (stream.reclaimed && !bdr_apply.xact.open)
		{
			give_back(NULL);
			return false;
		}
		got = bdr_socket_try_read(stream.socket, &copy);
		if (got == 0)
			break;
		if (got < 0)
		{
			int			error = bdr_socket_error(stream.socket);

			give_back(error != 0 ? strerror(error) : NULL);
			return false;
		}
		switch ((char) copy.kind)
		{
			case 'd':
				msg->body.len = 0;
				if (!read_copy(&copy.body, msg))
					break;
				if (msg->body.len > 0)
					return true;
				continue;
			case 'N':			/* notice */
			case 'S':			/* a setting of the server */
				continue;
		}
		bdr_socket_put_back(stream.socket, &copy);
		give_back(NULL);
		return false;
	}
	if (stream.applying)
		stream.listening = GetCurrentTimestamp();
	stream.applying = false;
	return false;
}

/* False: the manager has to see it.  A frame becomes msg. */
static bool
read_copy(StringInfo copy, BdrMessage *msg)
{
	if (copy->len > FRAME_HEADER_BYTES && copy->data[0] == FRAME_KIND)
		return read_frame(copy, msg);
	if (copy->len == KEEPALIVE_BYTES && copy->data[0] == KEEPALIVE_KIND)
		return read_keepalive(copy);
	return false;
}

static bool
read_frame(StringInfo copy, BdrMessage *msg)
{
	if (!is_for_us(copy->data + FRAME_HEADER_BYTES, copy->len - FRAME_HEADER_BYTES))
		return false;
	note_times(get_uint64(copy->data + FRAME_TIME_AT));
	stream.applying = true;
	msg->kind = BDR_MSG_APPLY;
	msg->body.data = copy->data + FRAME_HEADER_BYTES;
	msg->body.len = msg->body.maxlen = copy->len - FRAME_HEADER_BYTES;
	msg->body.cursor = 0;
	return true;
}

/*
 * Every transaction that ends before its position has come; in the middle of
 * one, that is known when it ends.
 */
static bool
read_keepalive(StringInfo copy)
{
	note_times(get_uint64(copy->data + KEEPALIVE_TIME_AT));
	if (!bdr_apply.xact.open)
		stream.keepalive = get_uint64(copy->data + 1);
	if (copy->data[KEEPALIVE_BYTES - 1] != 0)
		send_heard(HEARD_REPLY);
	return true;
}

static void
note_times(uint64 sent)
{
	stream.sent = (TimestampTz) sent;
	stream.received = stream.listening = GetCurrentTimestamp();
	stream.asked = false;
}

/*
 * A whole frame in which are only transactions, none of them older than was
 * promised.  What is in a message is looked at when it is applied.
 */
static bool
is_for_us(const char *frame, Size len)
{
	pg_crc32c	sum;
	const char *at = frame + BDR_WIRE_HEADER_BYTES;
	const char *end = frame + len;

	if (len < BDR_WIRE_HEADER_BYTES)
		return false;
	INIT_CRC32C(sum);
	COMP_CRC32C(sum, at, end - at);
	FIN_CRC32C(sum);
	if (sum != get_uint32(frame + 4))
		return false;
	while (end - at >= BDR_WIRE_MESSAGE_HEADER_BYTES)
	{
		uint8		kind = (uint8) *at;
		uint32		bytes = get_uint32(at + 1);

		at += BDR_WIRE_MESSAGE_HEADER_BYTES;
		if (bytes > end - at || kind == BDR_WIRE_MESSAGE || kind == BDR_WIRE_WATERMARK ||
			(kind == BDR_WIRE_BEGIN && !keeps_promise(at, bytes)))
			return false;
		at += bytes;
	}
	return at == end;
}

static bool
keeps_promise(const char *begin, Size len)
{
	return len == BEGIN_BYTES &&
		(get_uint32(begin + BEGIN_ORIGIN_AT) != 0 ||
		 (TimestampTz) get_uint64(begin + BEGIN_TIME_AT) >= stream.promised);
}

bool
bdr_handoff_wait(long timeout_ms)
{
	long		left;

	if (wal_receiver_timeout <= 0)
		return bdr_socket_wait(stream.socket, timeout_ms);
	left = (stream.asked ? wal_receiver_timeout : wal_receiver_timeout / 2) -
		TimestampDifferenceMilliseconds(stream.listening, GetCurrentTimestamp());
	left = Max(left, 0);
	return bdr_socket_wait(stream.socket, timeout_ms < 0 ? left : Min(timeout_ms, left));
}

/*
 * As in gosrc/replicate/pump.go.  Time in which a frame was applied does not
 * count: nobody listened.
 */
void
bdr_handoff_check_silence(void)
{
	long		silence = TimestampDifferenceMilliseconds(stream.listening, GetCurrentTimestamp());

	if (wal_receiver_timeout <= 0)
		return;
	if (silence >= wal_receiver_timeout)
		give_back("nothing was heard for the time of wal_receiver_timeout");
	else if (silence >= wal_receiver_timeout / 2 && !stream.asked)
	{
		stream.asked = true;
		send_heard(HEARD_SILENCE);
	}
}

bool
bdr_handoff_has_news(void)
{
	return stream.keepalive != InvalidXLogRecPtr;
}

void
bdr_handoff_report(StringInfo buf)
{
	pq_sendint64(buf, stream.keepalive);
	pq_sendint64(buf, stream.sent);
	pq_sendint64(buf, stream.received);
	stream.keepalive = InvalidXLogRecPtr;
}

/* What was applied before is reported before. */
static void
send_heard(int flags)
{
	StringInfoData buf;

	bdr_report_send();
	bdr_message_begin(&buf, BDR_MSG_HEARD);
	pq_sendbyte(&buf, flags);
	bdr_socket_send(stream.manager, &buf);
	pfree(buf.data);
}

/*
 * From what was not read on, the manager reads again.  A reason says why it
 * need not try.
 */
static void
give_back(const char *reason)
{
	StringInfoData buf;
	Size		len;
	const char *unread = bdr_socket_unread(stream.socket, &len);

	bdr_report_send();
	bdr_message_begin(&buf, BDR_MSG_RETURNED);
	pq_sendbyte(&buf, bdr_apply.xact.open);
	bdr_message_text(&buf, reason);
	bdr_message_bytes(&buf, unread, len);
	bdr_socket_close(stream.socket);
	stream.socket = NULL;
	stream.sent = stream.received = 0;
	bdr_socket_send(stream.manager, &buf);
	pfree(buf.data);
}

static uint32
get_uint32(const char *at)
{
	uint32		value;

	memcpy(&value, at, sizeof(value));
	return pg_ntoh32(value);
}

static uint64
get_uint64(const char *at)
{
	uint64		value;

	memcpy(&value, at, sizeof(value));
	return pg_ntoh64(value);
}
