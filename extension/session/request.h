/*-------------------------------------------------------------------------
 * session/request.h
 *		SQL functions that the manager answers.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_REQUEST_H
#define BDR_SESSION_REQUEST_H

#include "fmgr.h"

/* Every such function; the manager knows what each of them does. */
extern PGDLLEXPORT Datum bdr_call(PG_FUNCTION_ARGS);

#endif							/* BDR_SESSION_REQUEST_H */
