/*-------------------------------------------------------------------------
 * base/sql.h
 *		Runs SQL for Go through SPI and packs the rows.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_SQL_H
#define BDR_BASE_SQL_H

#include "postgres.h"

#include "lib/stringinfo.h"

/*
 * Runs the statements of an SQL message body and packs the ROWS answer.  The
 * caller owns the transaction and the error handling.
 */
extern void bdr_sql_run(StringInfo body, StringInfo answer);

#endif							/* BDR_BASE_SQL_H */
