/*-------------------------------------------------------------------------
 * base/table_gate.h
 *		Tables that users do not write to, while a transaction of another node
 *		has their global lock.
 *
 * NOTES
 *		A gate is asked for by the manager, closed by the writer of that node,
 *		which takes a lock of the server for its session (apply/table_gate.c),
 *		and passed by writers (row/write_lock.c).  It stays closed when the
 *		writer ends: sessions refuse to write then (session/lock/table_gate.c).
 *		Decision 0029 has the reasons.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_TABLE_GATE_H
#define BDR_BASE_TABLE_GATE_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "storage/lockdefs.h"

/* Conflicts with what users write with; writers that pass have the other one. */
#define BDR_GATE_LOCK		ShareRowExclusiveLock
#define BDR_GATE_PASS_LOCK	RowShareLock

/* With the terminator; globallock's idBytesMax. */
#define BDR_GATE_ID_BYTES	65

typedef struct BdrGate
{
	Oid			dboid;			/* InvalidOid: free */
	Oid			relid;
	uint32		node;			/* whose transaction has the global lock */
	char		lock_id[BDR_GATE_ID_BYTES];
	bool		closed;			/* the users' transactions of before have ended */
	bool		leaves;			/* is to be opened */
	int			pid;			/* of the writer that has the lock here; 0: none */
} BdrGate;

extern void bdr_gate_init(void);

/* Without the lock: is there one in any database? */
extern bool bdr_gate_exists(void);

/* Those of this database; copies. */
extern List *bdr_gate_list(void);

/* Is there one for the table that a writer holds? */
extern bool bdr_gate_is_held(Oid relid);

/*
 * A lock besides: who makes an index waits for transactions that write, which have a
 * stronger lock than those that pass.  They have this one, for the table and for 0,
 * and who makes indexes keeps them out.  0: of any table.
 */
#define BDR_GATE_PASS		ShareLock
#define BDR_GATE_KEEP_OUT	ExclusiveLock
extern void bdr_gate_lock_pass(Oid relid, LOCKMODE mode, bool of_session);
extern void bdr_gate_unlock_pass(Oid relid, LOCKMODE mode); /* of the session */

/*
 * Asks for one; that there is one already is no error.  Closed: it was, before
 * the server started.
 */
extern void bdr_gate_add(Oid relid, uint32 node, const char *lock_id, bool closed);

/* Those of before the server started have been added: false before. */
extern bool bdr_gate_is_loaded(void);

/* gates: of BdrGate; without effect when somebody else was faster. */
extern void bdr_gate_load(List *gates);

/* Has the writer open those of a lock; what no writer holds is gone at once. */
extern void bdr_gate_leave(const char *lock_id);

/* A writer of that node is there, until it ends. */
extern void bdr_gate_attach(uint32 node);

/* The writer has its lock; false: it is not wanted any more. */
extern bool bdr_gate_closed(const BdrGate *gate);

/* The lock has been given back. */
extern void bdr_gate_opened(const BdrGate *gate);

/* All locks of this writer are about to be given back, as in an abort. */
extern void bdr_gate_lost(void);

#endif							/* BDR_BASE_TABLE_GATE_H */
