/*-------------------------------------------------------------------------
 * session/ddl/table_lock.h
 *		The global locks of tables.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_TABLE_LOCK_H
#define BDR_SESSION_DDL_TABLE_LOCK_H

#include "postgres.h"

#include "nodes/nodes.h"

extern void bdr_table_lock_init(void);

/* Of all tables that a statement names which the user may change; before it runs. */
extern void bdr_table_lock_take_named(Node *statement);

#endif							/* BDR_SESSION_DDL_TABLE_LOCK_H */
