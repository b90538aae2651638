/*-------------------------------------------------------------------------
 * session/rows.h
 *		Does a table have rows?
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_ROWS_H
#define BDR_SESSION_ROWS_H

#include "postgres.h"

extern bool bdr_table_has_rows(Oid relid);

#endif							/* BDR_SESSION_ROWS_H */
