/*-------------------------------------------------------------------------
 * bdr_protocol.h
 *		Messages on the Unix socket between C and the manager's Go threads.
 *
 * NOTES
 *		The same kinds are listed in gosrc/ipc/kinds.go and, byte by byte, in
 *		docs/protocol.md; gosrc/ipc's tests compare the three.
 *
 *		A message is: uint32 length of what follows, uint8 kind, body.  All
 *		integers are big-endian.  A text is int32 length (-1: NULL) + bytes,
 *		without a terminator.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_PROTOCOL_H
#define BDR_PROTOCOL_H

#include "lib/stringinfo.h"

#include "bdr_compat.h"

/* First message of every connection; both ends must be of one build. */
#define BDR_SOCKET_VERSION		"0.2.0/6"

/* Largest body: a 1 GB row and its frame fit. */
#define BDR_MESSAGE_BYTES_MAX	((Size) 1024 * 1024 * 1024 + 64 * 1024)

typedef enum BdrMessageKind
{
	BDR_MSG_HELLO = 'h',		/* C: version, role, pid, token */
	BDR_MSG_WELCOME = 'w',		/* Go: go ahead */
	BDR_MSG_REQUEST = 'r',		/* backend: call a function */
	BDR_MSG_REPLY = 'y',		/* Go: the function's rows */
	BDR_MSG_NOTICE = 'n',		/* Go: level and text for the user */
	BDR_MSG_FAULT = 'f',		/* either: SQLSTATE, message, detail, hint */
	BDR_MSG_SQL = 'q',			/* Go: run these statements */
	BDR_MSG_ROWS = 'd',			/* C: what they returned */
	BDR_MSG_LOG = 'g',			/* Go: write to the server log */
	BDR_MSG_LAUNCH = 'l',		/* Go: start a writer */
	BDR_MSG_LAUNCHED = 'k',		/* C: it was registered */
	BDR_MSG_SETTINGS = 'u',		/* C: settings, at start and after reload */
	BDR_MSG_SETUP = 's',		/* Go: whom a writer serves */
	BDR_MSG_APPLY = 'a',		/* Go: one frame */
	BDR_MSG_PROGRESS = 'p',		/* writer: applied, flushed, counters */
	BDR_MSG_FAILED = 'x',		/* writer: which change the FAULT that follows is about */
	BDR_MSG_CONFLICT = 'c',		/* writer: how two tables differ */
	BDR_MSG_DECISION = 'e',		/* Go: what to do about it */
	BDR_MSG_FACTS = 'v',		/* writer: what an incoming version collides with */
	BDR_MSG_PLAN = 'z',			/* Go: what to do about it */
	BDR_MSG_FETCH = 't',		/* writer: which values an update left out */
	BDR_MSG_FETCHED = 'i',		/* Go: the values, or that the row is gone */
	BDR_MSG_AWAIT = 'A',		/* writer: positions that must be applied here first */
	BDR_MSG_AWAITED = 'D',		/* Go: they are */
	BDR_MSG_HANDOFF = 'j',			/* Go: read the peer's stream yourself */
	BDR_MSG_RECLAIM = 'm',		/* Go: give it back */
	BDR_MSG_RETURNED = 'b',		/* writer: here it is */
	BDR_MSG_HEARD = 'o'			/* writer: what the peer said about itself */
} BdrMessageKind;

/* Roles in HELLO. */
#define BDR_ROLE_BACKEND		'b'
#define BDR_ROLE_WRITER			'w'	/* a writer's data connection */
#define BDR_ROLE_DECIDER		'd'	/* the same writer's conflict connection */

typedef struct BdrSocket BdrSocket;

/* One received message; body lives until the next read on the socket. */
typedef struct BdrMessage
{
	BdrMessageKind kind;
	StringInfoData body;		/* read with pq_getmsg*; never NUL-padded */
} BdrMessage;

extern BdrSocket *bdr_socket_connect(const char *path, char role, uint64 token);

/*
 * As above, but returns NULL when nobody listens or no welcome comes within
 * timeout_ms.
 */
extern BdrSocket *bdr_socket_try_connect(const char *path, char role, uint64 token, int timeout_ms);
extern BdrSocket *bdr_socket_adopt(int fd);

/*
 * As above, for a connection to a server in which CopyData comes.  Its waits
 * end when something comes on the other socket, too.  Only for reading; a
 * stream that ends in the middle of a message simply ends.
 */
extern BdrSocket *bdr_socket_adopt_server(int fd, BdrSocket *other);
extern void bdr_socket_close(BdrSocket *sock);
extern int	bdr_socket_fd(BdrSocket *sock);

/*
 * Waits (latch, postmaster death, interrupts) until a whole message is here.
 * Returns false on a clean end of stream; a broken one is an ERROR.
 */
extern bool bdr_socket_read(BdrSocket *sock, BdrMessage *msg);

/*
 * As above but returns at once: 1 a message, 0 not yet, -1 end of stream.
 */
extern int	bdr_socket_try_read(BdrSocket *sock, BdrMessage *msg);

/*
 * Waits until something can be read, the latch is set (it is reset then) or
 * the time is over, which is false; -1 is without a limit.  Handles no
 * interrupts.
 */
extern bool bdr_socket_wait(BdrSocket *sock, long timeout_ms);

/* The errno with which the stream ended; 0 when the other end closed it. */
extern int	bdr_socket_error(BdrSocket *sock);

/* The descriptor that came with the last message that had one, or -1. */
extern int	bdr_socket_take_descriptor(BdrSocket *sock);

/*
 * Makes msg, which was read last, unread again; and what was received and not
 * read, until the next read.
 */
extern void bdr_socket_put_back(BdrSocket *sock, BdrMessage *msg);
extern const char *bdr_socket_unread(BdrSocket *sock, Size *len);

extern void bdr_message_begin(StringInfo buf, BdrMessageKind kind);
extern void bdr_message_text(StringInfo buf, const char *value);	/* NULL allowed */
extern void bdr_message_bytes(StringInfo buf, const void *data, Size len);
extern void bdr_socket_send(BdrSocket *sock, StringInfo buf);	/* fills in the length */

/*
 * Returns NULL for NULL; palloc'd and terminated otherwise.  The bytes may be
 * of any encoding: bdr_message_get_valid_text refuses what the database's
 * encoding does not have, bdr_message_get_shown_text replaces it.
 */
extern char *bdr_message_get_valid_text(StringInfo body);
extern char *bdr_message_get_shown_text(StringInfo body);
extern char *bdr_message_get_text(StringInfo body);
extern char *bdr_message_get_bytes(StringInfo body, int *len);	/* len -1: NULL */

/* Throws a FAULT body as an ERROR / packs *edata as one. */
pg_noreturn extern void bdr_fault_throw(StringInfo body);
extern void bdr_fault_pack(StringInfo buf, ErrorData *edata);

#endif							/* BDR_PROTOCOL_H */
