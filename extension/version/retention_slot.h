/*-------------------------------------------------------------------------
 * version/retention_slot.h
 *		The slot that keeps dead rows.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_VERSION_RETENTION_SLOT_H
#define BDR_VERSION_RETENTION_SLOT_H

#include "postgres.h"

#include "access/transam.h"
#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "replication/slot.h"

/* Its name; gosrc/stream/slot.go has the same. */
#define BDR_RETENTION_FORMAT			"bdr_%u_hold"

/*
 * For the supervisor: the databases that have a hold now, and the end of the
 * hold of one that is not a node any more.
 */
extern List *bdr_retention_databases(MemoryContext context);
extern void bdr_retention_drop(Oid dboid);

extern TransactionId bdr_retention_xmin(void);
extern FullTransactionId bdr_widen_xid(TransactionId xid, FullTransactionId next);
extern bool bdr_retention_is(ReplicationSlot *slot, Oid *dboid);
extern XLogRecPtr bdr_wal_end(void);

#endif							/* BDR_VERSION_RETENTION_SLOT_H */
