/*-------------------------------------------------------------------------
 * apply/activity.h
 *		What each writer is doing, in shared memory, for the views.
 *
 * NOTES
 *		A slot is written by its writer alone, between two steps of changes:
 *		it is odd meanwhile, and a reader that saw it odd, or moving, looks
 *		again.  nchanges moves by itself, once per row, without that.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_ACTIVITY_H
#define BDR_APPLY_ACTIVITY_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

/* The remote transaction in progress, or the last one. */
typedef struct BdrActivityXact
{
	bool		open;
	uint32		xid;
	uint32		origin_node;
	XLogRecPtr	commit_lsn;
	XLogRecPtr	end_lsn;
	XLogRecPtr	origin_lsn;
	TimestampTz commit_time;
} BdrActivityXact;

typedef struct BdrActivity
{
	/* set when the writer starts, under the lock of bdr_shmem */
	pid_t		pid;			/* 0: free */
	Oid			dboid;
	uint32		subscription_id;

	uint32		changes;		/* of what follows; odd: in the middle of one */
	BdrActivityXact xact;
	uint64		ncommits;
	uint64		naborts;
	uint32		nchanges;		/* rows of the transaction, the current included */
} BdrActivity;

/* The writer's own slot; never NULL in a writer. */
extern BdrActivity *bdr_activity;

extern void bdr_activity_init(void);
extern void bdr_activity_attach(uint32 subscription_id);
extern void bdr_activity_begin(void);
extern void bdr_activity_end(void);
extern void bdr_activity_aborted(void);

#endif							/* BDR_APPLY_ACTIVITY_H */
