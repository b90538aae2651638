/*-------------------------------------------------------------------------
 * base/retry.h
 *		An error that has the work in progress started over.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_RETRY_H
#define BDR_BASE_RETRY_H

#include "postgres.h"

#include "bdr_compat.h"

/* Class 40: the transaction was rolled back. */
#define BDR_ERRCODE_START_OVER	MAKE_SQLSTATE('4', '0', 'B', 'D', 'R')

/* About transaction xid of a node. */
pg_noreturn extern void bdr_retry_start_over(uint32 xid, const char *node);

#endif							/* BDR_BASE_RETRY_H */
