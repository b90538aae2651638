/*-------------------------------------------------------------------------
 * row/decode.h
 *		Bytes of a change to rows.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_DECODE_H
#define BDR_ROW_DECODE_H

#include "postgres.h"

#include "base/reader.h"
#include "row/relation.h"

/* An update or delete being applied, for those who may have to start over. */
typedef struct BdrUpdate
{
	BdrRelation *rel;
	BdrReader	body;			/* from the old row on */
	BdrLookup  *lookup;
	TupleTableSlot *key;		/* to look up by */
	TupleTableSlot *row;		/* the new row; NULL: delete */
	bool		wants_all;		/* also the values that it left out */
} BdrUpdate;

extern void bdr_tuple_read(BdrReader *reader, BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_tuple_read_update(BdrUpdate *update, BdrReader *reader);
extern void bdr_tuple_read_delete(BdrUpdate *update, BdrReader *reader);
extern void bdr_check_domains(BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_tuple_fill_defaults(BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_tuple_fill_from(BdrRelation *rel, TupleTableSlot *slot, TupleTableSlot *local);
extern void bdr_tuple_keep_large_values(TupleTableSlot *slot);

#endif							/* BDR_ROW_DECODE_H */
