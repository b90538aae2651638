/*-------------------------------------------------------------------------
 * apply/table_gate.h
 *		The gates that a writer closes and opens.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_TABLE_GATE_H
#define BDR_APPLY_TABLE_GATE_H

extern void bdr_gates_init(void);

/*
 * Between two transactions: does what the manager wants.  Returns in how many
 * milliseconds to call it again, -1: when the latch is set.
 */
extern long bdr_gates_serve(void);

#endif							/* BDR_APPLY_TABLE_GATE_H */
