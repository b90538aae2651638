/*-------------------------------------------------------------------------
 * session/lock/table_gate.h
 *		What sessions may not do to a table that another node has locked.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_LOCK_TABLE_GATE_H
#define BDR_SESSION_LOCK_TABLE_GATE_H

#include "postgres.h"

extern void bdr_table_gate_init(void);

/* A table of users; who keeps the manager, or the server, from its own stops them. */
extern bool bdr_table_gate_is_for(Oid relid);

#endif							/* BDR_SESSION_LOCK_TABLE_GATE_H */
