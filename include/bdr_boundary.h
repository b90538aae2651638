/*-------------------------------------------------------------------------
 * bdr_boundary.h
 *		Start and stop of the Go library; the only calls between C and Go.
 *
 * NOTES
 *		Plain C99, read by cgo and by the manager.  Everything else crosses
 *		as a message on main_fd (see bdr_protocol.h).  No string is kept by
 *		Go after bdr_go_start returns.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BOUNDARY_H
#define BDR_BOUNDARY_H

#include <stdint.h>

typedef struct BdrGoConfig
{
	int			main_fd;		/* Go's end of the socketpair */
	int			dead_fd;		/* eventfd: Go writes 1 when it cannot go on */
	uint32_t	database_oid;
	int32_t		server_version_num;
	const char *database_name;
	const char *data_directory; /* absolute; also the working directory */
	const char *run_directory;	/* relative: bdr/<dboid> */
	const char *bin_directory;	/* where pg_dump and pg_restore are */
	const char *home_directory; /* of the server's OS user, for .pgpass */
	const char *passfile;		/* PGPASSFILE of the postmaster, or "" */
} BdrGoConfig;

typedef struct BdrGoError
{
	char		message[512];
} BdrGoError;

/*
 * 0 on success; -1 with error->message filled in.  socket_version is the
 * caller's BDR_SOCKET_VERSION: where it is another than the library's own, the
 * library was installed over that of a server that runs, and looks at nothing
 * else.  "bdr_go_start" is what 0.1.0 calls, with a config first; it always fails.
 */
typedef int (*bdr_go_start_fn) (const char *socket_version, const BdrGoConfig *config,
								BdrGoError *error);
#define BDR_GO_START			"bdr_go_start_version"

/* Returns when Go has stopped or grace_ms have passed. */
typedef void (*bdr_go_stop_fn) (int64_t grace_ms);

#endif							/* BDR_BOUNDARY_H */
