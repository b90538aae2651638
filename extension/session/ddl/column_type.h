/*-------------------------------------------------------------------------
 * session/ddl/column_type.h
 *		Columns whose values no other node takes.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_COLUMN_TYPE_H
#define BDR_SESSION_DDL_COLUMN_TYPE_H

#include "postgres.h"

#include "catalog/objectaccess.h"

/* An error where a statement gives one to a permanent table; to be called by the server's hook. */
extern void bdr_column_type_check(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);

/* An error if a table has one. */
extern void bdr_column_type_check_table(Oid relid);

#endif							/* BDR_SESSION_DDL_COLUMN_TYPE_H */
