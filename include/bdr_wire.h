/*-------------------------------------------------------------------------
 * bdr_wire.h
 *		Frame layout: what bdr_output writes and a writer reads.
 *
 * NOTES
 *		docs/protocol.md has the same, byte by byte; gosrc/wire is the Go
 *		reader, which sees frames and transaction boundaries but never rows.
 *
 *		frame   := uint8 'B', uint8 protocol version, uint16 0 (reserved for
 *		           per-transaction key hashes), uint32 CRC-32C of all that
 *		           follows, message*
 *		message := uint8 kind, uint32 length of body, body
 *		Integers are big-endian except inside values in internal form.  A name
 *		is uint16 length + bytes.  Timestamps are TimestampTz microseconds.
 *
 *		STARTUP 'S'  uint16 protocol, uint32 server version number, uint8
 *		             formats ('i' internal, 'b' send/recv allowed; 't' only
 *		             text), name encoding
 *		RELATION 'R' uint32 remote relid, uint8 replica identity (d n f i),
 *		             uint8 flags (1 = partitioned: named in TRUNCATE only;
 *		             2 = partition whose identity is unique in its whole
 *		             root; 4 = the owner is a superuser; 8 = the root's
 *		             owner is; 16, 32 = since version 3: an owner, or one
 *		             of the root, of then follows), name schema, name relation, name root
 *		             schema, name root relation (empty: not a partition),
 *		             name owner, name owner of the root (empty: not a
 *		             partition), [name owner of then], [name owner of the
 *		             root of then], uint16 ncolumns, then per column: uint8 flags (1 = part of replica identity),
 *		             uint8 format (i b t), uint32 type oid, int32 typmod,
 *		             int16 attlen, name column, name type schema, name type
 *		BEGIN 'B'    uint32 xid, uint64 commit LSN, uint64 end LSN, int64
 *		             commit timestamp, uint32 origin node id (0: the sender),
 *		             uint64 origin LSN (end LSN at the origin; the sender's
 *		             own end LSN when the origin is the sender)
 *		COMMIT 'C'   uint64 commit LSN, uint64 end LSN, uint32 nchanges
 *		INSERT 'I'   uint32 relid, tuple new
 *		UPDATE 'U'   uint32 relid, uint8 old ('n' none, 'k' key, 'f' full),
 *		             [tuple old], tuple new
 *		DELETE 'D'   uint32 relid, uint8 old ('k' or 'f'), tuple old
 *		TRUNCATE 'T' uint8 flags (1 cascade, 2 restart identity), uint32 n,
 *		             n x (uint32 relid, uint32 relid of the nearest table
 *		             above it in the list that it is a partition of, or 0);
 *		             a table comes after those above it
 *		ORIGIN_PROGRESS 'V'     uint16 n, n x (uint32 node id, int64 commit timestamp):
 *		             the sender has applied what these nodes committed up to
 *		             then; before BEGIN, where it has changed
 *		WATERMARK 'W' int64 time, int64 awaited: nothing that the sender commits
 *		             is older than time from here on; it waits for everybody
 *		             to promise a time after awaited
 *		TOMBSTONE 'N'   uint32 relid, uint8 what ('r' remembered, 'e' evicted), name
 *		             index (empty: the key), uint16 n, n x text value: the
 *		             transaction's version took these values and no row shows
 *		             it; or the row with this key, which it deleted last, went
 *		             for another key's sake
 *		STATEMENT 'Q' since version 3: uint8 flags (1 = the role is a
 *		             superuser; 2 = replication sets follow), name role,
 *		             [uint16 n, n x name set: those that it goes with, where
 *		             that is not the default one alone], uint16 n, n x (name
 *		             setting, name value), rest text of the statement, which
 *		             every node runs
 *		FORGET 'F'   n x uint32 relid: RELATION comes again before the next
 *		             change of these; between transactions
 *		MESSAGE 'M'  uint64 LSN, rest content
 *		PIECE 'P'    uint8 kind (I U D N Q), uint8 flags (1 = the last), rest bytes:
 *		             the pieces of a message that is too large for a frame
 *		             follow each other, and their bytes are its body
 *
 *		tuple := uint16 ncolumns (as in RELATION), then per column uint8:
 *		'n' NULL; 'u' unchanged TOAST value, not sent; 'f' attlen bytes of a
 *		fixed-length type in internal form (format i; native byte order);
 *		's' uint8 length + bytes; 'l' uint32 length + bytes; 'a' uint32 length,
 *		uint8 n, n bytes 0, bytes: a value that begins at a multiple of 8 in
 *		the body of the message, which came in pieces.  Under format i the
 *		bytes of 's', 'l' and 'a' are the whole varlena with its header (short
 *		header allowed, never compressed or external), cstrings without the
 *		terminator; under b and t they are the send or output function's
 *		result.
 *		In an old key tuple the columns outside the key are 'n'.
 *
 *		A column of a domain is described as its base type.  nchanges counts
 *		the I, U, D, T, N and Q messages of the transaction; one in pieces is one.  The text values of N
 *		are 'n' or 'l' uint32 length + bytes.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_WIRE_H
#define BDR_WIRE_H

#define BDR_WIRE_MAGIC			'B'
#define BDR_WIRE_VERSION_MIN	2
#define BDR_WIRE_VERSION_MAX	3
#define BDR_WIRE_HEADER_BYTES	8
#define BDR_WIRE_MESSAGE_HEADER_BYTES 5

/* A frame is closed when it reaches this size; one row may exceed it. */
#define BDR_FRAME_BYTES_TARGET	(64 * 1024)

/* A row that would make a frame larger than this is sent in pieces. */
#define BDR_PIECE_BYTES			(8 * 1024 * 1024 - 64 * 1024)
#define BDR_PIECE_HEADER_BYTES	2

/* No frame is larger; as in gosrc/stream/stream.go. */
#define BDR_FRAME_BYTES_MAX		(64 * 1024 * 1024)

/* Values of a row in pieces that travel aligned; less than 1 GB remains in all. */
#define BDR_LARGE_VALUE_BYTES	(64 * 1024)

/* Pending bytes wait no longer than this while there is WAL to decode. */
#define BDR_FRAME_DELAY_MS_MAX	10

#define BDR_WIRE_STARTUP		'S'
#define BDR_WIRE_RELATION		'R'
#define BDR_WIRE_BEGIN			'B'
#define BDR_WIRE_COMMIT			'C'
#define BDR_WIRE_INSERT			'I'
#define BDR_WIRE_UPDATE			'U'
#define BDR_WIRE_DELETE			'D'
#define BDR_WIRE_TRUNCATE		'T'
#define BDR_WIRE_MESSAGE		'M'
#define BDR_WIRE_ORIGIN_PROGRESS			'V'
#define BDR_WIRE_WATERMARK		'W'
#define BDR_WIRE_TOMBSTONE			'N'
#define BDR_WIRE_FORGET			'F'
#define BDR_WIRE_STATEMENT		'Q'
#define BDR_WIRE_PIECE			'P'

/* What TOMBSTONE says. */
#define BDR_TOMBSTONE_REMEMBERED	'r'
#define BDR_TOMBSTONE_EVICTED		'e'

#define BDR_FORMAT_INTERNAL		'i'
#define BDR_FORMAT_BINARY		'b'
#define BDR_FORMAT_TEXT			't'

#define BDR_RELATION_PARTITIONED 1
#define BDR_RELATION_UNIQUE_IN_ROOT 2
#define BDR_RELATION_OWNER_SUPERUSER 4
#define BDR_RELATION_ROOT_OWNER_SUPERUSER 8
#define BDR_RELATION_OWNER_OF_THEN 16
#define BDR_RELATION_ROOT_OWNER_OF_THEN 32
#define BDR_RELATION_FLAGS		63	/* all of them */

/* The first version with STATEMENT, and owners of then. */
#define BDR_WIRE_VERSION_STATEMENT	3

/* Flags of STATEMENT. */
#define BDR_STATEMENT_SUPERUSER	1
#define BDR_STATEMENT_SETS		2
#define BDR_STATEMENT_FLAGS		3	/* all of them */

#define BDR_COLUMN_KEY			1

#define BDR_VALUE_NULL			'n'
#define BDR_VALUE_UNCHANGED		'u'
#define BDR_VALUE_FIXED			'f'
#define BDR_VALUE_SHORT			's'
#define BDR_VALUE_LONG			'l'
#define BDR_VALUE_ALIGNED		'a'
#define BDR_VALUE_ALIGNED_HEADER_BYTES 6

/* Flags of PIECE. */
#define BDR_PIECE_LAST			1

#define BDR_OLD_NONE			'n'
#define BDR_OLD_KEY				'k'
#define BDR_OLD_FULL			'f'

#define BDR_TRUNCATE_CASCADE	1
#define BDR_TRUNCATE_RESTART	2

/*
 * Logical messages that belong to us have this prefix and this origin; see
 * base/wal_message.c.
 */
#define BDR_MESSAGE_PREFIX		"bdr"
#define BDR_MESSAGE_ORIGIN		"bdr_%u_message"

/* A watermark in WAL; its content is the body of WATERMARK. */
#define BDR_WATERMARK_PREFIX	"bdr_watermark"
#define BDR_WATERMARK_BYTES		16

/* Replication origins and slots: bdr_<local database oid>_<peer node id>. */
#define BDR_ORIGIN_FORMAT		"bdr_%u_%u"

/*
 * Origins of repairs are bdr_<name>, and the name does not begin with a digit:
 * what is written under them stays on this node.
 */
#define BDR_REPAIR_ORIGIN		"bdr_local_only_origin"

static inline bool
bdr_origin_is_repair(const char *name)
{
	return strncmp(name, "bdr_", 4) == 0 && name[4] != '\0' && !(name[4] >= '0' && name[4] <= '9');
}

#endif							/* BDR_WIRE_H */
