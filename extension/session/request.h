/*-------------------------------------------------------------------------
 * session/request.h
 *		SQL functions that the manager answers.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_REQUEST_H
#define BDR_SESSION_REQUEST_H

#include "fmgr.h"

#include "bdr_protocol.h"

/* Every such function; the manager knows what each of them does. */
extern PGDLLEXPORT Datum bdr_call(PG_FUNCTION_ARGS);

/* An error for others; function is one of the schema bdr. */
extern void bdr_require_superuser(const char *function);

/*
 * The same from C, for whoever the code that calls has checked: the manager
 * runs no SQL in the caller's session.  An argument may be NULL.
 */
extern void bdr_request(const char *function, int nargs, const char *const *args);

/*
 * As above, on a connection of its own.  Its end, by bdr_socket_close, tells the
 * manager that what it did is not needed any more.  *answer is its value, or NULL.
 */
extern BdrSocket *bdr_request_and_stay(const char *function, int nargs, const char *const *args, char **answer);

#endif							/* BDR_SESSION_REQUEST_H */
