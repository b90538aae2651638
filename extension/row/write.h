/*-------------------------------------------------------------------------
 * row/write.h
 *		Writing one row, and what belongs to it.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_WRITE_H
#define BDR_ROW_WRITE_H

#include "postgres.h"

#include "row/relation.h"

typedef enum BdrWritten
{
	BDR_WRITTEN,
	BDR_WRITTEN_VETOED,			/* a trigger kept the row as it was */
	BDR_WRITTEN_CHANGED,		/* nothing: the row has changed meanwhile */
	BDR_WRITTEN_MOVES			/* nothing: the new row belongs to another partition */
} BdrWritten;

/* *recheck: the deferrable indexes where the row collides. */
extern BdrWritten bdr_write_insert(BdrRelation *rel, TupleTableSlot *slot, List **recheck);
extern BdrWritten bdr_write_update(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot, List **recheck);
extern BdrWritten bdr_write_delete(BdrRelation *rel, TupleTableSlot *found);
extern void bdr_write_run(BdrRelation *rel, TupleTableSlot **slots, int count, uint32 first_change,
						  void (*stored) (BdrRelation *rel, TupleTableSlot *slot, List *recheck));
extern void bdr_write_generated(BdrRelation *rel, TupleTableSlot *slot, CmdType command);

#endif							/* BDR_ROW_WRITE_H */
