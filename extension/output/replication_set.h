/*-------------------------------------------------------------------------
 * output/replication_set.h
 *		Which changes of a relation are in sets that the subscriber gets.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_REPLICATION_SET_H
#define BDR_OUTPUT_REPLICATION_SET_H

#include "postgres.h"

#include "utils/array.h"

#include "output/output.h"

/* The subscriber's sets: a list of names, as SQL has it. */
extern void bdr_sets_subscribe(BdrOutput *output, const char *list);

/*
 * Fill what sent says about sets.  The name, the ancestors and the memory of sent
 * are set; relation is as it was at the change at hand.
 */
extern void bdr_sets_build(BdrOutput *output, BdrSentRelation *sent, Relation relation);

/* Is that one of the tables which say what is sent? */
extern bool bdr_sets_are_in(BdrOutput *output, Oid relid);

/* Is one of these sets, by name, what this node publishes and the subscriber has chosen? */
extern bool bdr_sets_have_one_of(BdrOutput *output, ArrayType *names);

/*
 * As what a change of a row is sent: an insertion, an update, a deletion, or 0 when it
 * is not.  *old is the row that an update or a deletion sends as the old one.
 */
extern int	bdr_sets_send_as(BdrOutput *output, BdrSentRelation *sent, TupleDesc desc,
							 ReorderBufferChange *change, HeapTuple *old);

#endif							/* BDR_OUTPUT_REPLICATION_SET_H */
