/*-------------------------------------------------------------------------
 * row/apply.h
 *		What comes from one peer, and who applies it.
 *
 *		NOTES
 *		A writer serves one peer and applies one transaction at a time.  It makes
 *		one BdrApply (apply/writer.c); relations lead to it, as PlanState leads to
 *		EState.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_APPLY_H
#define BDR_ROW_APPLY_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

#include "version/version.h"

/* Whom this writer serves; SETUP. */
typedef struct BdrPeer
{
	uint32		subscription_id;
	uint32		node_id;
	uint32		local_node_id;
	bool		catch_up;		/* of a join: the sender's state is copied */
	bool		trusted;		/* incoming changes always win; so in catch-up mode */
	char	   *name;
	XLogRecPtr	first_lsn;
} BdrPeer;

/* Sent in PROGRESS, in this order. */
typedef struct BdrCounters
{
	uint64		commits;
	uint64		inserts;
	uint64		updates;
	uint64		deletes;
	uint64		truncates;
	uint64		conflicts;
	uint64		skipped;		/* transactions that were here already */
	uint64		aborts;			/* local transactions that were rolled back */
	uint64		deadlocks;		/* ... as victims of deadlocks, in part or whole */
	uint64		apply_usec;		/* from first change to commit, of those that wrote */
} BdrCounters;

#define BDR_COUNTERS			((int) (sizeof(BdrCounters) / sizeof(uint64)))

/* The remote transaction in progress. */
typedef struct BdrRemoteXact
{
	bool		open;			/* between BEGIN and COMMIT */
	bool		skip;			/* applied already */
	bool		started;		/* a local transaction stands for it */
	bool		careful;		/* look for conflicts before writing */
	bool		fetched;		/* values were read from the origin */
	TransactionId deleted_by;	/* the local one that deleted a row last */
	uint32		xid;
	uint32		change_nr;		/* of the change being applied, from 1 */
	XLogRecPtr	commit_lsn;
	XLogRecPtr	end_lsn;
	XLogRecPtr	origin_lsn;
	BdrVersion	version;		/* its node is never 0: the sender is resolved */
	BdrCounters counters;		/* added to the totals at commit */
} BdrRemoteXact;

/* One per writer; a session that only looks at tables has one without a peer. */
typedef struct BdrApply
{
	BdrPeer		peer;
	BdrRemoteXact xact;
	BdrCounters counters;		/* of all transactions so far */
	MemoryContext change_context;	/* reset after each change, or run of inserts */
	struct BdrSocket *decider;	/* for questions to Go; NULL: nobody can be asked */
	struct BdrRelation *relation;	/* that an error is about; NULL: none */
	const char *column;			/* of it, whose value is being read; NULL: none */
} BdrApply;

#endif							/* BDR_ROW_APPLY_H */
