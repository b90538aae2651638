/*-------------------------------------------------------------------------
 * base/socket.c
 *		Messages on the Unix socket between C and the manager's Go threads.
 *
 * NOTES
 *		Every wait here ends at an interrupt, and with the postmaster.  An
 *		error in the middle of a message leaves the stream out of step: the
 *		caller closes the socket then.
 *
 *		Reading takes as much as is there, so that a stream of frames costs
 *		one system call for many messages.
 *
 *		A replication connection that the manager has handed off to a writer is read
 *		here, too; its messages have PostgreSQL's framing.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bswap.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bdr_compat.h"
#include "bdr_protocol.h"
#include "bdr_wire.h"

#define HEADER_BYTES		5	/* length and kind */
#define BUFFER_BYTES_MIN	((Size) 128 * 1024)
#define CONNECT_MS_MAX		30000

struct BdrSocket
{
	int			fd;
	bool		server;			/* it is a server's: the kind comes first */
	int			descriptor;		/* that came with a message; -1: none */
	int			error;			/* with which the stream ended; 0: none */
	WaitEventSet *events;		/* latch, postmaster, fd at position 2 */
	uint32		waiting_for;	/* what position 2 waits for */
	TimestampTz deadline;		/* 0: none */
	char	   *buffer;
	Size		size;
	Size		start;			/* first byte that was not handed out */
	Size		end;			/* first byte that was not received */
};

static BdrSocket *open_socket(const char *path);
static bool greet(BdrSocket *sock, char role, uint64 token);
static bool send_hello(BdrSocket *sock, char role, uint64 token);
static BdrSocket *make_socket(int fd);
static void wait_for(BdrSocket *sock, uint32 event);
static bool wait_event(BdrSocket *sock, uint32 event, long timeout_ms);
static int	take_message(BdrSocket *sock, BdrMessage *msg);
static Size message_bytes(BdrSocket *sock);
static void make_room(BdrSocket *sock);
static int	fill(BdrSocket *sock);
static ssize_t receive(BdrSocket *sock);
static void keep_descriptor(BdrSocket *sock, struct msghdr *header);
pg_noreturn static void lost_connection(int error);
static int	fault_code(const char *sqlstate);

BdrSocket *
bdr_socket_connect(const char *path, char role, uint64 token)
{
	BdrSocket  *sock = bdr_socket_try_connect(path, role, token, CONNECT_MS_MAX);

	if (sock == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not connect to the bdr manager"),
				 errdetail("Nobody answers at socket \"%s\".", path)));
	return sock;
}

BdrSocket *
bdr_socket_try_connect(const char *path, char role, uint64 token, int timeout_ms)
{
	BdrSocket  *sock = open_socket(path);
	bool		welcome = false;

	if (sock == NULL)
		return NULL;
	sock->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	PG_TRY();
	{
		welcome = greet(sock, role, token);
	}
	PG_CATCH();
	{
		bdr_socket_close(sock);
		PG_RE_THROW();
	}
	PG_END_TRY();
	sock->deadline = 0;
	if (welcome)
		return sock;
	bdr_socket_close(sock);
	return NULL;
}

/* Takes over fd, which must be a stream socket. */
BdrSocket *
bdr_socket_adopt(int fd)
{
	if (!AcquireExternalFD())
	{
		int			save_errno = errno;

		close(fd);
		errno = save_errno;
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not open a socket: %m")));
	}
	return make_socket(fd);
}

BdrSocket *
bdr_socket_adopt_server(int fd, BdrSocket *other)
{
	BdrSocket  *sock = bdr_socket_adopt(fd);

	sock->server = true;
	AddWaitEventToSet(sock->events, WL_SOCKET_READABLE, other->fd, NULL, NULL);
	return sock;
}

void
bdr_socket_close(BdrSocket *sock)
{
	FreeWaitEventSet(sock->events);
	close(sock->fd);
	if (sock->descriptor >= 0)
		close(sock->descriptor);
	ReleaseExternalFD();
	pfree(sock->buffer);
	pfree(sock);
}

int
bdr_socket_fd(BdrSocket *sock)
{
	return sock->fd;
}

int
bdr_socket_error(BdrSocket *sock)
{
	return sock->error;
}

int
bdr_socket_take_descriptor(BdrSocket *sock)
{
	int			fd = sock->descriptor;

	sock->descriptor = -1;
	return fd;
}

void
bdr_socket_put_back(BdrSocket *sock, BdrMessage *msg)
{
	sock->start -= HEADER_BYTES + msg->body.len;
	Assert(sock->buffer + sock->start + HEADER_BYTES == msg->body.data);
}

const char *
bdr_socket_unread(BdrSocket *sock, Size *len)
{
	*len = sock->end - sock->start;
	return sock->buffer + sock->start;
}

bool
bdr_socket_read(BdrSocket *sock, BdrMessage *msg)
{
	for (;;)
	{
		int			got = bdr_socket_try_read(sock, msg);

		if (got != 0)
			return got > 0;
		wait_for(sock, WL_SOCKET_READABLE);
	}
}

int
bdr_socket_try_read(BdrSocket *sock, BdrMessage *msg)
{
	for (;;)
	{
		int			got = take_message(sock, msg);

		if (got == 0)
			got = fill(sock);
		else
			return got;
		if (got == 0)
			return 0;
		if (got > 0)
			continue;
		if (sock->end > sock->start && !sock->server)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("connection to the bdr manager ended in the middle of a message")));
		return -1;
	}
}

bool
bdr_socket_wait(BdrSocket *sock, long timeout_ms)
{
	return wait_event(sock, WL_SOCKET_READABLE, timeout_ms);
}

void
bdr_message_begin(StringInfo buf, BdrMessageKind kind)
{
	initStringInfo(buf);
	pq_sendint32(buf, 0);
	pq_sendbyte(buf, kind);
}

void
bdr_message_text(StringInfo buf, const char *value)
{
	if (value == NULL)
		pq_sendint32(buf, (uint32) -1);
	else
		bdr_message_bytes(buf, value, strlen(value));
}

void
bdr_message_bytes(StringInfo buf, const void *data, Size len)
{
	if (len > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value of %zu bytes is too large for a message", len)));
	pq_sendint32(buf, (uint32) len);
	appendBinaryStringInfo(buf, data, (int) len);
}

void
bdr_socket_send(BdrSocket *sock, StringInfo buf)
{
	uint32		length = pg_hton32((uint32) (buf->len - sizeof(uint32)));
	Size		sent = 0;

	memcpy(buf->data, &length, sizeof(length));
	while (sent < (Size) buf->len)
	{
		ssize_t		n = send(sock->fd, buf->data + sent, buf->len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0)
			sent += n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			wait_for(sock, WL_SOCKET_WRITEABLE);
		else if (errno != EINTR)
			lost_connection(errno);
	}
}

char *
bdr_message_get_bytes(StringInfo body, int *len)
{
	int			n = (int) pq_getmsgint(body, 4);
	const char *bytes;
	char	   *copy;

	*len = n;
	if (n == -1)
		return NULL;
	bytes = pq_getmsgbytes(body, n);
	copy = palloc((Size) n + 1);
	memcpy(copy, bytes, n);
	copy[n] = '\0';
	return copy;
}

char *
bdr_message_get_text(StringInfo body)
{
	int			len;

	return bdr_message_get_bytes(body, &len);
}

char *
bdr_message_get_valid_text(StringInfo body)
{
	int			len;
	char	   *text = bdr_message_get_bytes(body, &len);

	if (text != NULL)
		(void) pg_verifymbstr(text, len, false);
	return text;
}

char *
bdr_message_get_shown_text(StringInfo body)
{
	int			len;
	char	   *text = bdr_message_get_bytes(body, &len);

	if (text != NULL && !pg_verifymbstr(text, len, true))
		for (int i = 0; i < len; i++)
			if (IS_HIGHBIT_SET(text[i]) || text[i] == '\0')
				text[i] = '?';
	return text;
}

void
bdr_fault_throw(StringInfo body)
{
	char	   *sqlstate = bdr_message_get_shown_text(body);
	char	   *message = bdr_message_get_shown_text(body);
	char	   *detail = bdr_message_get_shown_text(body);
	char	   *hint = bdr_message_get_shown_text(body);
	char	   *context = bdr_message_get_shown_text(body);

	ereport(ERROR,
			(errcode(fault_code(sqlstate)),
			 errmsg_internal("%s", message ? message : "unknown error"),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0,
			 context ? errcontext("%s", context) : 0));
}

void
bdr_fault_pack(StringInfo buf, ErrorData *edata)
{
	bdr_message_begin(buf, BDR_MSG_FAULT);
	bdr_message_text(buf, unpack_sql_state(edata->sqlerrcode));
	bdr_message_text(buf, edata->message ? edata->message : "unknown error");
	bdr_message_text(buf, edata->detail);
	bdr_message_text(buf, edata->hint);
	bdr_message_text(buf, edata->context);
}

/* Returns NULL when nobody listens at path. */
static BdrSocket *
open_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int			fd;

	if (strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path))
		elog(ERROR, "socket path \"%s\" is too long", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not open a socket: %m")));
	/* Go listens with a long queue; a full one is "nobody answers". */
	if (!pg_set_noblock(fd) || connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
	{
		int			save_errno = errno;

		close(fd);
		if (save_errno == ENOENT || save_errno == ECONNREFUSED || save_errno == EAGAIN)
			return NULL;
		errno = save_errno;
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not connect to the bdr manager at socket \"%s\": %m", path)));
	}
	return bdr_socket_adopt(fd);
}

/* False when the other end went away or the deadline passed. */
static bool
greet(BdrSocket *sock, char role, uint64 token)
{
	BdrMessage	msg;
	int			got;

	if (!send_hello(sock, role, token))
		return false;
	while ((got = bdr_socket_try_read(sock, &msg)) == 0)
	{
		if (GetCurrentTimestamp() >= sock->deadline)
			return false;
		wait_for(sock, WL_SOCKET_READABLE);
	}
	if (got < 0)
		return false;
	if (msg.kind == BDR_MSG_FAULT)
		bdr_fault_throw(&msg.body);
	if (msg.kind != BDR_MSG_WELCOME)
		elog(ERROR, "unexpected message '%c' from the bdr manager", msg.kind);
	return true;
}

/* A new socket has room for it; false when the other end is gone again. */
static bool
send_hello(BdrSocket *sock, char role, uint64 token)
{
	StringInfoData buf;
	uint32		length;
	bool		sent;

	bdr_message_begin(&buf, BDR_MSG_HELLO);
	bdr_message_text(&buf, BDR_SOCKET_VERSION);
	pq_sendbyte(&buf, role);
	pq_sendint32(&buf, MyProcPid);
	pq_sendint64(&buf, token);
	length = pg_hton32((uint32) (buf.len - sizeof(uint32)));
	memcpy(buf.data, &length, sizeof(length));
	sent = send(sock->fd, buf.data, buf.len, MSG_DONTWAIT | MSG_NOSIGNAL) == buf.len;
	pfree(buf.data);
	return sent;
}

/* The caller has acquired the descriptor. */
static BdrSocket *
make_socket(int fd)
{
	BdrSocket  *sock = MemoryContextAllocZero(TopMemoryContext, sizeof(BdrSocket));

	sock->fd = fd;
	sock->descriptor = -1;
	sock->size = BUFFER_BYTES_MIN;
	sock->buffer = MemoryContextAlloc(TopMemoryContext, sock->size);
	sock->waiting_for = WL_SOCKET_READABLE;
	sock->events = BdrCreateWaitEventSet(4);
	AddWaitEventToSet(sock->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(sock->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(sock->events, WL_SOCKET_READABLE, fd, NULL, NULL);
	return sock;
}

/* Returns when event may have come; spurious returns are allowed. */
static void
wait_for(BdrSocket *sock, uint32 event)
{
	long		timeout = -1;

	if (sock->deadline != 0)
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), sock->deadline) + 1;
	(void) wait_event(sock, event, timeout);
	CHECK_FOR_INTERRUPTS();
}

/* False on a timeout. */
static bool
wait_event(BdrSocket *sock, uint32 event, long timeout_ms)
{
	WaitEvent	occurred;
	int			n;

	if (sock->waiting_for != event)
		ModifyWaitEvent(sock->events, 2, event, NULL);
	sock->waiting_for = event;
	n = WaitEventSetWait(sock->events, timeout_ms, &occurred, 1, PG_WAIT_EXTENSION);
	if (n > 0 && occurred.events == WL_LATCH_SET)
		ResetLatch(MyLatch);
	return n > 0;
}

/* 1: *msg is the next message; 0: it is not complete. */
static int
take_message(BdrSocket *sock, BdrMessage *msg)
{
	Size		bytes;

	if (sock->end - sock->start < HEADER_BYTES)
		return 0;
	bytes = message_bytes(sock);
	if (sock->end - sock->start < bytes)
		return 0;
	msg->kind = (BdrMessageKind) sock->buffer[sock->start + (sock->server ? 0 : sizeof(uint32))];
	msg->body.data = sock->buffer + sock->start + HEADER_BYTES;
	msg->body.len = msg->body.maxlen = (int) (bytes - HEADER_BYTES);
	msg->body.cursor = 0;
	sock->start += bytes;
	return 1;
}

/* Size of the message at start, with its header. */
static Size
message_bytes(BdrSocket *sock)
{
	uint32		length;
	uint32		least = sock->server ? sizeof(uint32) : 1;

	memcpy(&length, sock->buffer + sock->start + (sock->server ? 1 : 0), sizeof(length));
	length = pg_ntoh32(length);
	if (length < least ||
		length - least > (sock->server ? BDR_FRAME_BYTES_MAX : BDR_MESSAGE_BYTES_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("message of %u bytes from %s", length, sock->server ? "a peer" : "the bdr manager")));
	return (Size) length - least + HEADER_BYTES;
}

/*
 * Makes room for at least one byte behind end.
 *
 * What was handed out is given up: a body lives until the next read.  A buffer
 * that grew for a large row shrinks when it is empty.
 */
static void
make_room(BdrSocket *sock)
{
	if (sock->start > 0)
	{
		memmove(sock->buffer, sock->buffer + sock->start, sock->end - sock->start);
		sock->end -= sock->start;
		sock->start = 0;
	}
	if (sock->end == sock->size)
		sock->size *= 2;
	else if (sock->end == 0 && sock->size > BUFFER_BYTES_MIN)
		sock->size = BUFFER_BYTES_MIN;
	else
		return;
	sock->buffer = repalloc_huge(sock->buffer, sock->size);
}

/*
 * 1: received something; 0: nothing is there; -1: end of stream, which the
 * manager has to explain when the connection is a server's.
 */
static int
fill(BdrSocket *sock)
{
	make_room(sock);
	for (;;)
	{
		ssize_t		n = receive(sock);

		if (n > 0)
		{
			sock->end += n;
			return 1;
		}
		if (n == 0)
			return -1;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return 0;
		if (errno == EINTR)
			continue;
		if (!sock->server && errno != ECONNRESET)
			lost_connection(errno);
		sock->error = errno;
		return -1;
	}
}

static ssize_t
receive(BdrSocket *sock)
{
	struct iovec part = {sock->buffer + sock->end, sock->size - sock->end};
	union
	{
		struct cmsghdr align;
		char		bytes[CMSG_SPACE(sizeof(int))];
	}			control;
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1,
	.msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t		n;

	if (sock->server)
		return recv(sock->fd, part.iov_base, part.iov_len, MSG_DONTWAIT);
	n = recvmsg(sock->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n > 0 && header.msg_controllen > 0)
		keep_descriptor(sock, &header);
	return n;
}

/* One that nobody has taken is of no use any more. */
static void
keep_descriptor(BdrSocket *sock, struct msghdr *header)
{
	struct cmsghdr *item = CMSG_FIRSTHDR(header);

	if (item == NULL || item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS ||
		item->cmsg_len != CMSG_LEN(sizeof(int)))
		return;
	if (sock->descriptor >= 0)
		close(sock->descriptor);
	memcpy(&sock->descriptor, CMSG_DATA(item), sizeof(int));
}

static void
lost_connection(int error)
{
	errno = error;
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("lost connection to the bdr manager: %m"),
			 errhint("See the server log; the manager is started again after a second.")));
}

/* Anything that is not an error's SQLSTATE becomes an internal error. */
static int
fault_code(const char *sqlstate)
{
	if (sqlstate == NULL || strlen(sqlstate) != 5 ||
		strspn(sqlstate, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 ||
		strncmp(sqlstate, "00", 2) == 0)
		return ERRCODE_INTERNAL_ERROR;
	return MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]);
}
