/*-------------------------------------------------------------------------
 * session/ddl/value.h
 *		What new columns have in the rows that are there.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_VALUE_H
#define BDR_SESSION_DDL_VALUE_H

#include "postgres.h"

#include "nodes/parsenodes.h"

#include "ddl/statement.h"

/*
 * Values that ALTER TABLE gives by defaults such as now(), of a table that the user
 * owns.  Returns false where each row would have another one.
 */
extern bool bdr_values_describe(BdrStatement *statement, Oid relid, const ColumnDef *column, bool missing_ok, const char *query);

#endif							/* BDR_SESSION_DDL_VALUE_H */
