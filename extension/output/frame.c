/*-------------------------------------------------------------------------
 * output/frame.c
 *		Bytes of each change, writing side, and the frames that collect them.
 *
 * NOTES
 *		Messages collect in one frame.  It leaves through the plugin's writer
 *		when it is full, and between transactions as late as is harmless: while
 *		there is WAL to decode, many small transactions share a frame.  What
 *		makes that safe is in output/walsender.c.
 *
 *		A row that is too large for a frame leaves in pieces, while it is being
 *		written: one value of it and one piece are in memory at a time.
 *
 *		This is the sender's hot path: nothing here allocates per value unless
 *		the value has to be converted or detoasted.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_crc32c.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "output/frame.h"
#include "output/walsender.h"
#include "bdr_compat.h"

#define EMPTY_FRAME_BYTES		(BDR_COPY_HEADER_BYTES + BDR_WIRE_HEADER_BYTES)

/* A buffer that one large row has blown up further than this is given back. */
#define BUFFER_BYTES_KEPT		(1024 * 1024)

static void shrink(StringInfo buf);
static StringInfo message_begin(BdrOutput *output, char kind);
static void message_end(BdrOutput *output);
static void become_piece(BdrOutput *output);
static void send_piece(BdrOutput *output);
static void append_names(StringInfo buf, ArrayType *names, int each);
static void append_row(BdrOutput *output, const BdrSentRelation *sent,
					   const BdrRow *row, const BdrRow *fallback);
static void append_value(BdrOutput *output, const BdrSentColumn *column, Datum value);
static void append_fixed(BdrOutput *output, const BdrSentColumn *column, Datum value);
static void append_varlena(BdrOutput *output, Datum value);
static void append_converted(BdrOutput *output, const BdrSentColumn *column, Datum value);
static void append_sized(BdrOutput *output, const char *data, Size size);
static void append_large(BdrOutput *output, const char *data, Size size);
static void append_bytes(BdrOutput *output, const char *data, Size size);
static char *reserve(BdrOutput *output, Size size);
static void deform(HeapTuple tuple, TupleDesc desc, BdrRow *row);
static bool is_unsent(Datum value);

/*
 * Prepare an empty frame and room for rows.  The caller is in the memory
 * context of the decoding session.
 */
void
bdr_wire_init(BdrOutput *output)
{
	initStringInfo(&output->frame.bytes);
	enlargeStringInfo(&output->frame.bytes, 2 * BDR_FRAME_BYTES_TARGET);
	appendStringInfoSpaces(&output->frame.bytes, BDR_COPY_HEADER_BYTES);
	pq_sendbyte(&output->frame.bytes, BDR_WIRE_MAGIC);
	pq_sendbyte(&output->frame.bytes, output->protocol);
	pq_sendint16(&output->frame.bytes, 0);
	pq_sendint32(&output->frame.bytes, 0);	/* bdr_frame_seal */

	output->old_row.values = palloc(MaxTupleAttributeNumber * sizeof(Datum));
	output->old_row.nulls = palloc(MaxTupleAttributeNumber * sizeof(bool));
	output->new_row.values = palloc(MaxTupleAttributeNumber * sizeof(Datum));
	output->new_row.nulls = palloc(MaxTupleAttributeNumber * sizeof(bool));
}

/*
 * One change has been written: send the frame if it is full.
 */
void
bdr_wire_finish_change(BdrOutput *output)
{
	if (output->frame.bytes.len >= BDR_FRAME_BYTES_TARGET)
		bdr_wire_close_frame(output, false);
}

/*
 * One transaction has been written, up to end_lsn.  Without a walsender that
 * calls us again (output/walsender.c) its frame has to leave now.
 */
void
bdr_wire_finish_transaction(BdrOutput *output, XLogRecPtr end_lsn)
{
	output->frame.commit_end = end_lsn;
	if (!bdr_sender_is_attached(output) ||
		output->frame.bytes.len >= BDR_FRAME_BYTES_TARGET)
		bdr_wire_close_frame(output, true);
}

/*
 * Send the frame if it has waited too long, in the middle of a transaction
 * that writes nothing.
 */
void
bdr_wire_check_delay(BdrOutput *output)
{
	if (bdr_frame_is_overdue(&output->frame))
		bdr_wire_close_frame(output, false);
}

/*
 * Send the frame, if there is anything in it.  To be called from a callback
 * that may write, between messages.
 *
 * ends_transaction: the CopyData header may name the callback's LSN, because
 * everything up to it is in this frame or has left before.
 */
void
bdr_wire_close_frame(BdrOutput *output, bool ends_transaction)
{
	LogicalDecodingContext *decoding = output->decoding;
	BdrFrame   *frame = &output->frame;

	Assert(frame->open_at == 0);
	if (bdr_frame_is_empty(frame))
		return;

	bdr_frame_seal(frame);
	OutputPluginPrepareWrite(decoding, ends_transaction);
	appendBinaryStringInfo(decoding->out, frame->bytes.data + BDR_COPY_HEADER_BYTES,
						   frame->bytes.len - BDR_COPY_HEADER_BYTES);

	/* Before the write: it may answer the receiver, and so send what is pending. */
	bdr_frame_reset(frame);
	OutputPluginWrite(decoding, ends_transaction);
	shrink(decoding->out);
}

/*
 * The frame is complete: put the checksum of its messages into its header.
 */
void
bdr_frame_seal(BdrFrame *frame)
{
	pg_crc32c	crc;
	uint32		sealed;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, frame->bytes.data + EMPTY_FRAME_BYTES, frame->bytes.len - EMPTY_FRAME_BYTES);
	FIN_CRC32C(crc);
	sealed = pg_hton32(crc);
	memcpy(frame->bytes.data + EMPTY_FRAME_BYTES - sizeof(sealed), &sealed, sizeof(sealed));
}

void
bdr_frame_reset(BdrFrame *frame)
{
	frame->bytes.len = EMPTY_FRAME_BYTES;
	frame->commit_end = InvalidXLogRecPtr;
	shrink(&frame->bytes);
}

/* Give back what one large row took. */
static void
shrink(StringInfo buf)
{
	if (buf->maxlen <= BUFFER_BYTES_KEPT)
		return;
	buf->data = repalloc(buf->data, 2 * BDR_FRAME_BYTES_TARGET);
	buf->maxlen = 2 * BDR_FRAME_BYTES_TARGET;
	buf->len = Min(buf->len, buf->maxlen - 1);
}

bool
bdr_frame_is_empty(const BdrFrame *frame)
{
	return frame->bytes.len == EMPTY_FRAME_BYTES;
}

bool
bdr_frame_is_overdue(const BdrFrame *frame)
{
	return !bdr_frame_is_empty(frame) &&
		TimestampDifferenceExceeds(frame->since, GetCurrentTimestamp(),
								   BDR_FRAME_DELAY_MS_MAX);
}

/*
 * Begin a message.  It ends with message_end(); nothing in between may let the
 * walsender send.
 */
static StringInfo
message_begin(BdrOutput *output, char kind)
{
	BdrFrame   *frame = &output->frame;

	Assert(frame->open_at == 0);
	if (bdr_frame_is_empty(frame))
		frame->since = GetCurrentTimestamp();
	frame->open_at = frame->bytes.len;
	pq_sendbyte(&frame->bytes, kind);
	pq_sendint32(&frame->bytes, 0);
	return &frame->bytes;
}

static void
message_end(BdrOutput *output)
{
	BdrFrame   *frame = &output->frame;
	uint32		length = pg_hton32(frame->bytes.len - frame->open_at -
								   BDR_WIRE_MESSAGE_HEADER_BYTES);

	if (unlikely(output->piece_of != 0))
	{
		frame->bytes.data[frame->open_at + BDR_WIRE_MESSAGE_HEADER_BYTES + 1] = BDR_PIECE_LAST;
		output->piece_of = 0;
	}
	memcpy(frame->bytes.data + frame->open_at + 1, &length, sizeof(length));
	frame->open_at = 0;
}

/*
 * The open message turns out to be too large: make what there is of it the
 * first piece.
 */
static void
become_piece(BdrOutput *output)
{
	BdrFrame   *frame = &output->frame;
	char	   *body;
	Size		len;

	enlargeStringInfo(&frame->bytes, BDR_PIECE_HEADER_BYTES);
	body = frame->bytes.data + frame->open_at + BDR_WIRE_MESSAGE_HEADER_BYTES;
	len = frame->bytes.data + frame->bytes.len - body;
	memmove(body + BDR_PIECE_HEADER_BYTES, body, len);
	output->piece_of = body[0] = frame->bytes.data[frame->open_at];
	output->piece_bytes = 0;
	body[1] = 0;
	frame->bytes.data[frame->open_at] = BDR_WIRE_PIECE;
	frame->bytes.len += BDR_PIECE_HEADER_BYTES;
}

/*
 * Send what there is of the open message, and begin its next piece.
 */
static void
send_piece(BdrOutput *output)
{
	BdrFrame   *frame = &output->frame;
	char		kind;

	if (output->piece_of == 0)
		become_piece(output);
	kind = output->piece_of;
	output->piece_bytes += frame->bytes.len - frame->open_at -
		BDR_WIRE_MESSAGE_HEADER_BYTES - BDR_PIECE_HEADER_BYTES;
	output->piece_of = 0;		/* this is not the last one */
	message_end(output);
	bdr_wire_close_frame(output, false);
	pq_sendbyte(message_begin(output, BDR_WIRE_PIECE), kind);
	pq_sendbyte(&frame->bytes, 0);
	output->piece_of = kind;
}

/*-------------------------------------------------------------------------
 * Messages.  bdr_wire.h has their layout.
 *-------------------------------------------------------------------------
 */

void
bdr_wire_write_startup(BdrOutput *output)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_STARTUP);

	pq_sendint16(buf, output->protocol);
	pq_sendint32(buf, PG_VERSION_NUM);
	pq_sendbyte(buf, output->best_format);
	bdr_wire_append_name(buf, pg_encoding_to_char(GetDatabaseEncoding()));
	message_end(output);
}

void
bdr_wire_write_relation(BdrOutput *output, BdrSentRelation *sent)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_RELATION);

	appendBinaryStringInfo(buf, sent->described->data, sent->described->len);
	message_end(output);
}

void
bdr_wire_write_forget(BdrOutput *output, int n, const Oid *relids)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_FORGET);

	for (int i = 0; i < n; i++)
		pq_sendint32(buf, relids[i]);
	message_end(output);
}

void
bdr_wire_write_begin(BdrOutput *output, ReorderBufferTXN *txn)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_BEGIN);

	pq_sendint32(buf, txn->xid);
	pq_sendint64(buf, txn->final_lsn);
	pq_sendint64(buf, txn->end_lsn);
	pq_sendint64(buf, txn->xact_time.commit_time);
	pq_sendint32(buf, output->origin_node);
	pq_sendint64(buf, output->origin_node != 0 ? txn->origin_lsn : txn->end_lsn);
	message_end(output);
}

/*
 * The entries that have changed.
 */
void
bdr_wire_write_origin_progress(BdrOutput *output)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_ORIGIN_PROGRESS);
	ListCell   *lc;
	uint16		count = 0;
	int			count_at = buf->len;

	pq_sendint16(buf, 0);
	foreach(lc, output->seen)
	{
		BdrOriginProgress    *seen = lfirst(lc);

		if (seen->sent)
			continue;
		pq_sendint32(buf, seen->node);
		pq_sendint64(buf, seen->time);
		seen->sent = true;
		count++;
	}
	count = pg_hton16(count);
	memcpy(buf->data + count_at, &count, sizeof(count));
	message_end(output);
	output->seen_changed = false;
}

/*
 * The bytes of content are the message's already.
 */
void
bdr_wire_write_watermark(BdrOutput *output, const char *content)
{
	appendBinaryStringInfo(message_begin(output, BDR_WIRE_WATERMARK), content, BDR_WATERMARK_BYTES);
	message_end(output);
}

void
bdr_wire_write_commit(BdrOutput *output, ReorderBufferTXN *txn)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_COMMIT);

	pq_sendint64(buf, txn->final_lsn);
	pq_sendint64(buf, txn->end_lsn);
	pq_sendint32(buf, output->nchanges);
	message_end(output);
}

void
bdr_wire_write_insert(BdrOutput *output, BdrSentRelation *sent,
					  TupleDesc desc, HeapTuple new_tuple)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_INSERT);

	pq_sendint32(buf, sent->relid);
	deform(new_tuple, desc, &output->new_row);
	append_row(output, sent, &output->new_row, NULL);
	message_end(output);
}

/*
 * old_tuple is NULL when the key did not change and the replica identity is
 * not FULL.
 */
void
bdr_wire_write_update(BdrOutput *output, BdrSentRelation *sent,
					  TupleDesc desc, HeapTuple old_tuple, HeapTuple new_tuple)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_UPDATE);
	bool		is_full = sent->identity == REPLICA_IDENTITY_FULL;

	pq_sendint32(buf, sent->relid);
	if (old_tuple == NULL)
		pq_sendbyte(buf, BDR_OLD_NONE);
	else
	{
		pq_sendbyte(buf, is_full ? BDR_OLD_FULL : BDR_OLD_KEY);
		deform(old_tuple, desc, &output->old_row);
		append_row(output, sent, &output->old_row, NULL);
	}
	deform(new_tuple, desc, &output->new_row);
	append_row(output, sent, &output->new_row,
			   old_tuple != NULL && is_full ? &output->old_row : NULL);
	message_end(output);
}

void
bdr_wire_write_delete(BdrOutput *output, BdrSentRelation *sent,
					  TupleDesc desc, HeapTuple old_tuple)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_DELETE);

	pq_sendint32(buf, sent->relid);
	pq_sendbyte(buf, sent->identity == REPLICA_IDENTITY_FULL ?
				BDR_OLD_FULL : BDR_OLD_KEY);
	deform(old_tuple, desc, &output->old_row);
	append_row(output, sent, &output->old_row, NULL);
	message_end(output);
}

void
bdr_wire_write_truncate(BdrOutput *output, uint8 flags, int ntables,
						const BdrTruncated *tables)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_TRUNCATE);

	pq_sendbyte(buf, flags);
	pq_sendint32(buf, ntables);
	for (int i = 0; i < ntables; i++)
	{
		pq_sendint32(buf, tables[i].relid);
		pq_sendint32(buf, tables[i].above);
	}
	message_end(output);
}

void
bdr_wire_write_message(BdrOutput *output, XLogRecPtr lsn, Size size, const char *content)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_MESSAGE);

	pq_sendint64(buf, lsn);
	appendBinaryStringInfo(buf, content, size);
	message_end(output);
}

void
bdr_wire_write_tombstone(BdrOutput *output, Oid relid, char what, const char *index, ArrayType *values)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_TOMBSTONE);
	Datum	   *texts;
	bool	   *nulls;
	int			n;

	deconstruct_array(values, TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &n);
	pq_sendint32(buf, relid);
	pq_sendbyte(buf, what);
	bdr_wire_append_name(buf, index);
	pq_sendint16(buf, n);
	for (int i = 0; i < n; i++)
	{
		text	   *value = nulls[i] ? NULL : DatumGetTextPP(texts[i]);

		pq_sendbyte(buf, value == NULL ? BDR_VALUE_NULL : BDR_VALUE_LONG);
		if (value == NULL)
			continue;
		pq_sendint32(buf, VARSIZE_ANY_EXHDR(value));
		append_bytes(output, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	}
	message_end(output);
}

/*
 * sets: NULL for the default one; settings: name, value, name, value.
 */
void
bdr_wire_write_statement(BdrOutput *output, const char *role, bool is_superuser, ArrayType *sets, ArrayType *settings, text *statement)
{
	StringInfo	buf = message_begin(output, BDR_WIRE_STATEMENT);

	pq_sendbyte(buf, (is_superuser ? BDR_STATEMENT_SUPERUSER : 0) | (sets != NULL ? BDR_STATEMENT_SETS : 0));
	bdr_wire_append_name(buf, role);
	if (sets != NULL)
		append_names(buf, sets, 1);
	append_names(buf, settings, 2);
	append_bytes(output, VARDATA_ANY(statement), VARSIZE_ANY_EXHDR(statement));
	message_end(output);
}

/* How many items there are of so many names each, and the names. */
static void
append_names(StringInfo buf, ArrayType *names, int each)
{
	Datum	   *texts;
	int			n;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &texts, NULL, &n);
	pq_sendint16(buf, n / each);
	for (int i = 0; i < n; i++)
		bdr_wire_append_name(buf, TextDatumGetCString(texts[i]));
}

/* Names are identifiers, type names, encodings and settings: never long. */
void
bdr_wire_append_name(StringInfo buf, const char *name)
{
	Size		length = strlen(name);

	Assert(length <= PG_UINT16_MAX);
	pq_sendint16(buf, length);
	appendBinaryStringInfo(buf, name, length);
}

/*-------------------------------------------------------------------------
 * Rows and values.
 *-------------------------------------------------------------------------
 */

static void
deform(HeapTuple tuple, TupleDesc desc, BdrRow *row)
{
	heap_deform_tuple(tuple, desc, row->values, row->nulls);
}

/*
 * Append a tuple.  A value that the change left in its TOAST table is taken
 * from fallback, the complete old row, where there is one.
 */
static void
append_row(BdrOutput *output, const BdrSentRelation *sent, const BdrRow *row,
		   const BdrRow *fallback)
{
	StringInfo	buf = &output->frame.bytes;

	pq_sendint16(buf, sent->ncolumns);
	for (int i = 0; i < sent->ncolumns; i++)
	{
		const BdrSentColumn *column = &sent->columns[i];
		int			at = column->index;
		Datum		value = row->values[at];

		if (row->nulls[at])
			appendStringInfoCharMacro(buf, BDR_VALUE_NULL);
		else if (column->length > 0 && column->format == BDR_FORMAT_INTERNAL)
			append_fixed(output, column, value);
		else if (column->length != -1 || !is_unsent(value))
			append_value(output, column, value);
		else if (fallback != NULL && !fallback->nulls[at] &&
				 !is_unsent(fallback->values[at]))
			append_value(output, column, fallback->values[at]);
		else
			pq_sendbyte(buf, BDR_VALUE_UNCHANGED);
	}
}

/*
 * Does the value still lie in the TOAST table?  Those that the change wrote
 * have been put together by the reorder buffer: they are pointers into memory.
 */
static bool
is_unsent(Datum value)
{
	return VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
}

static void
append_value(BdrOutput *output, const BdrSentColumn *column, Datum value)
{
	if (column->format != BDR_FORMAT_INTERNAL)
		append_converted(output, column, value);
	else if (column->length == -1)
		append_varlena(output, value);
	else
		append_sized(output, DatumGetCString(value), strlen(DatumGetCString(value)));
}

/*
 * Fixed length in internal form.  The copies have constant sizes so that they
 * compile to single moves.
 */
static void
append_fixed(BdrOutput *output, const BdrSentColumn *column, Datum value)
{
	char	   *to = reserve(output, column->length + 1);

	*to++ = BDR_VALUE_FIXED;
	if (!column->byval)
		memcpy(to, DatumGetPointer(value), column->length);
	else if (column->length == sizeof(int32))
	{
		int32		word = DatumGetInt32(value);

		memcpy(to, &word, sizeof(word));
	}
	else if (column->length == sizeof(Datum))
		memcpy(to, &value, sizeof(Datum));
	else if (column->length == sizeof(int16))
	{
		int16		half = DatumGetInt16(value);

		memcpy(to, &half, sizeof(half));
	}
	else
		*to = DatumGetChar(value);
	output->frame.bytes.len += column->length + 1;
}

/*
 * What the reorder buffer has put together is sent from where it lies; what is
 * compressed, from a copy that does not wait for the end of the row.
 */
static void
append_varlena(BdrOutput *output, Datum value)
{
	struct varlena *data = (struct varlena *) DatumGetPointer(value);
	struct varlena *plain = NULL;

	if (VARATT_IS_EXTERNAL_INDIRECT(data))
	{
		struct varatt_indirect redirect;

		VARATT_EXTERNAL_GET_POINTER(redirect, data);
		data = redirect.pointer;
	}
	if (VARATT_IS_EXTERNAL(data) || VARATT_IS_COMPRESSED(data))
		data = plain = detoast_attr(data);
	append_sized(output, (const char *) data, VARSIZE_ANY(data));
	if (plain != NULL)
		pfree(plain);
}

static void
append_converted(BdrOutput *output, const BdrSentColumn *column, Datum value)
{
	FmgrInfo   *function = unconstify(FmgrInfo *, &column->function);

	if (column->format == BDR_FORMAT_BINARY)
	{
		bytea	   *sent = SendFunctionCall(function, value);

		append_sized(output, VARDATA(sent), VARSIZE(sent) - VARHDRSZ);
		if (VARSIZE(sent) >= BDR_LARGE_VALUE_BYTES)
			pfree(sent);
	}
	else
	{
		char	   *text = OutputFunctionCall(function, value);

		Size		len = strlen(text);

		append_sized(output, text, len);
		if (len >= BDR_LARGE_VALUE_BYTES)
			pfree(text);
	}
}

static void
append_sized(BdrOutput *output, const char *data, Size size)
{
	StringInfo	buf = &output->frame.bytes;
	char	   *to;

	if (unlikely(size >= BDR_LARGE_VALUE_BYTES) &&
		(output->piece_of != 0 || buf->len + size > BDR_PIECE_BYTES))
	{
		append_large(output, data, size);
		return;
	}
	to = reserve(output, size + 5);
	if (size <= PG_UINT8_MAX)
	{
		*to++ = BDR_VALUE_SHORT;
		*to++ = (char) size;
	}
	else
	{
		uint32		length = pg_hton32((uint32) size);

		*to++ = BDR_VALUE_LONG;
		memcpy(to, &length, sizeof(length));
		to += sizeof(length);
	}
	memcpy(to, data, size);
	buf->len = to + size - buf->data;
}

/*
 * A value of a row that is sent in pieces.  It may lie in several of them, and
 * is aligned in what they are put together to.
 */
static void
append_large(BdrOutput *output, const char *data, Size size)
{
	StringInfo	buf = &output->frame.bytes;
	char	   *to;
	uint32		length = pg_hton32((uint32) size);
	Size		offset;
	uint8		padding;

	if (output->piece_of == 0)
		become_piece(output);
	to = reserve(output, BDR_VALUE_ALIGNED_HEADER_BYTES + MAXIMUM_ALIGNOF);
	offset = output->piece_bytes + (to + BDR_VALUE_ALIGNED_HEADER_BYTES - buf->data) - output->frame.open_at -
		BDR_WIRE_MESSAGE_HEADER_BYTES - BDR_PIECE_HEADER_BYTES;
	padding = MAXALIGN(offset) - offset;
	*to++ = BDR_VALUE_ALIGNED;
	memcpy(to, &length, sizeof(length));
	to[sizeof(length)] = padding;
	memset(to + sizeof(length) + 1, 0, padding);
	buf->len += BDR_VALUE_ALIGNED_HEADER_BYTES + padding;

	append_bytes(output, data, size);
}

/* Bytes that may lie in several pieces. */
static void
append_bytes(BdrOutput *output, const char *data, Size size)
{
	StringInfo	buf = &output->frame.bytes;

	while (size > 0)
	{
		Size		n = Min(size, (Size) Max(BDR_PIECE_BYTES - buf->len, 0));

		enlargeStringInfo(buf, n);
		memcpy(buf->data + buf->len, data, n);
		buf->len += n;
		data += n;
		size -= n;
		if (size > 0)
			send_piece(output);
	}
}

/*
 * Room for size bytes at the end of a row; most of the time it is there.
 */
static char *
reserve(BdrOutput *output, Size size)
{
	StringInfo	buf = &output->frame.bytes;

	if (unlikely(size >= (Size) (buf->maxlen - buf->len)))
	{
		if (buf->len + size > BDR_PIECE_BYTES)
			send_piece(output);
		enlargeStringInfo(buf, size);
	}
	return buf->data + buf->len;
}
