/*-------------------------------------------------------------------------
 * base/reader.h
 *		Reading what a peer has sent: every access is checked.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_READER_H
#define BDR_BASE_READER_H

#include "postgres.h"

#include "port/pg_bswap.h"

#include "bdr_compat.h"

typedef struct BdrReader
{
	const char *at;
	const char *end;
} BdrReader;

/* Whose bytes are read from here on: for messages. */
extern void bdr_reader_set_source(const char *node);

/* 08P01, with what was wrong as the detail. */
pg_noreturn extern void bdr_frame_error(const char *fmt,...) pg_attribute_printf(1, 2);
extern char *bdr_read_name(BdrReader *reader);

static inline Size
bdr_reader_left(const BdrReader *reader)
{
	return (Size) (reader->end - reader->at);
}

static inline const char *
bdr_read_bytes(BdrReader *reader, Size n)
{
	const char *p = reader->at;

	if (unlikely(bdr_reader_left(reader) < n))
		bdr_frame_error("A message ends %zu bytes early.",
						n - bdr_reader_left(reader));
	reader->at += n;
	return p;
}

static inline uint8
bdr_read_uint8(BdrReader *reader)
{
	return (uint8) *bdr_read_bytes(reader, 1);
}

static inline uint16
bdr_read_uint16(BdrReader *reader)
{
	uint16		v;

	memcpy(&v, bdr_read_bytes(reader, sizeof(v)), sizeof(v));
	return pg_ntoh16(v);
}

static inline uint32
bdr_read_uint32(BdrReader *reader)
{
	uint32		v;

	memcpy(&v, bdr_read_bytes(reader, sizeof(v)), sizeof(v));
	return pg_ntoh32(v);
}

static inline uint64
bdr_read_uint64(BdrReader *reader)
{
	uint64		v;

	memcpy(&v, bdr_read_bytes(reader, sizeof(v)), sizeof(v));
	return pg_ntoh64(v);
}

#endif							/* BDR_BASE_READER_H */
