/*-------------------------------------------------------------------------
 * output/statement.h
 *		Statements that run on every node, on their way to the peers.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_STATEMENT_H
#define BDR_OUTPUT_STATEMENT_H

#include "postgres.h"

#include "access/htup.h"

#include "output/output.h"

/* A row came into bdr.queue, which sent describes: is it a statement, for this subscriber? */
extern bool bdr_statement_is_sent(BdrOutput *output, const BdrSentRelation *sent, TupleDesc desc, HeapTuple tuple);
extern void bdr_statement_write(BdrOutput *output, TupleDesc desc, HeapTuple tuple);

#endif							/* BDR_OUTPUT_STATEMENT_H */
