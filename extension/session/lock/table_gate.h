/*-------------------------------------------------------------------------
 * session/lock/table_gate.h
 *		What sessions may not do to a table that another node has locked.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_LOCK_TABLE_GATE_H
#define BDR_SESSION_LOCK_TABLE_GATE_H

extern void bdr_table_gate_init(void);

#endif							/* BDR_SESSION_LOCK_TABLE_GATE_H */
