/*-------------------------------------------------------------------------
 * apply/pieces.c
 *		Rows that are too large for a frame: their pieces, put together.
 *
 * NOTES
 *		A row may have 1,600 values of 1 GB, and memory for one thing ends at
 *		1 GB in most places.  So such a row comes in pieces, is put together
 *		here, and its large values lie where they are: what is in a slot are
 *		pointers to them, as the server itself makes them while it decodes
 *		WAL.  A tuple made of pointers is small, and what stores it follows
 *		each.
 *
 *		The row is a unit of its own (apply/retry.c): it starts with the
 *		last piece.  When that is read again, what was put together is there.
 *
 *		A peer may lie.  Memory grows with what has come, up to a limit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "apply/pieces.h"
#include "apply/state.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

/* Of one row, with its old version. */
#define ROW_BYTES_MAX		((Size) 8 * 1024 * 1024 * 1024)

/* The buffer grows by so much at least. */
#define GROW_BYTES_MIN		((Size) 32 * 1024 * 1024)

static struct
{
	uint8		kind;			/* of the message; 0: there is none */
	const char *last;			/* piece, in its frame; NULL: it has not come */
	char	   *data;
	Size		len;
	Size		size;
	bool		is_due;
}			row;

static void append(const char *bytes, Size len);

/*
 * Read the piece that lies at start.  Returns the kind of the message if this
 * completes it, and sets *whole to its body, which lives until the unit ends;
 * else 0.
 */
uint8
bdr_piece_read(const char *start, BdrReader *piece, BdrReader *whole)
{
	uint8		kind = bdr_read_uint8(piece);
	uint8		flags = bdr_read_uint8(piece);
	Size		len = bdr_reader_left(piece);
	const char *bytes = bdr_read_bytes(piece, len);

	if (kind != BDR_WIRE_INSERT && kind != BDR_WIRE_UPDATE && kind != BDR_WIRE_DELETE &&
		kind != BDR_WIRE_TOMBSTONE && kind != BDR_WIRE_STATEMENT)
		bdr_frame_error("A message of kind %u came in pieces.", kind);
	if ((flags & ~BDR_PIECE_LAST) != 0)
		bdr_frame_error("A piece has unknown flags %u.", flags);
	if (!bdr_piece_is_last(start))
	{
		if (!row.is_due)
			row.kind = kind;
		row.is_due = true;
		if (row.kind != kind)
			bdr_frame_error("A piece of kind %u came after one of kind %u.", kind, row.kind);
		append(bytes, len);
		if (!(flags & BDR_PIECE_LAST))
			return 0;
		row.last = start;
		row.is_due = false;
	}
	whole->at = row.data;
	whole->end = row.data + row.len;
	return kind;
}

bool
bdr_piece_is_last(const char *start)
{
	return row.last != NULL && row.last == start;
}

bool
bdr_piece_is_due(void)
{
	return row.is_due;
}

bool
bdr_piece_is_held(void)
{
	return row.kind != 0;
}

void
bdr_piece_forget(void)
{
	if (row.data != NULL)
		pfree(row.data);
	memset(&row, 0, sizeof(row));
}

static void
append(const char *bytes, Size len)
{
	if (len > ROW_BYTES_MAX - row.len)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row of node \"%s\" is too large", bdr_apply.peer.name),
				 errdetail("It has more than %zu bytes.", ROW_BYTES_MAX)));
	if (len > row.size - row.len)
	{
		row.size = Min(ROW_BYTES_MAX, row.size + Max(row.size / 8, GROW_BYTES_MIN) + len);
		row.data = row.data == NULL ? MemoryContextAllocHuge(TopMemoryContext, row.size) :
			repalloc_huge(row.data, row.size);
	}
	memcpy(row.data + row.len, bytes, len);
	row.len += len;
}

