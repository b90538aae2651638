/*-------------------------------------------------------------------------
 * conflict/fetch.h
 *		Values that an update left out, read from the node that made it.
 *
 * NOTES
 *		A large value that an update leaves alone is not sent.  It may be taken
 *		from the local row only if that is the very row that the origin updated.
 *		Where it is not, or where there is no row, the writer fetches.
 *
 *		What is fetched is of the incoming version, but perhaps of a later
 *		statement of the same transaction, which is applied next.  So a row that
 *		was completed here may not complete a later change of that transaction:
 *		the caller keeps a note of the rows that were stored without a fetch
 *		("whole" in gosrc/conflict/model/state.go), and fetches again otherwise.
 *
 *		In catch-up mode nothing is fetched.  The sender's stream has what was
 *		written there, in its order, over rows that were copied from there, so
 *		the local row is the one that the sender updated, whoever wrote it.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_FETCH_H
#define BDR_CONFLICT_FETCH_H

#include "row/relation.h"

typedef enum BdrFetchResult
{
	BDR_FETCH_COMPLETE,
	BDR_FETCH_GONE
} BdrFetchResult;

/*
 * Fill the columns of row that are marked in rel->unchanged, and take their
 * marks away.  rel and row are those of bdr_tuple_read_update: row is the new
 * row, its key is known.  The values live in the change context.
 *
 * BDR_FETCH_GONE: the origin has no such row any more, or has a newer version
 * of it, which comes later in its stream.  Nothing is changed then.
 *
 * Waits for the origin, interruptibly and without holding more locks than the
 * caller does.  If it cannot be asked, that is an error, and the transaction is
 * tried again.
 */
extern BdrFetchResult bdr_fetch_row(BdrRelation *rel, TupleTableSlot *row);

#endif							/* BDR_CONFLICT_FETCH_H */
