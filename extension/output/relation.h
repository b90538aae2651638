/*-------------------------------------------------------------------------
 * output/relation.h
 *		Relations as they are sent.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_RELATION_H
#define BDR_OUTPUT_RELATION_H

#include "postgres.h"

#include "output/output.h"

extern void bdr_sent_start(BdrOutput *output);
extern void bdr_sent_end(BdrOutput *output);
extern BdrSentRelation *bdr_sent_find(BdrOutput *output, Relation relation);
extern void bdr_sent_announce(BdrOutput *output, BdrSentRelation *sent);
extern void bdr_sent_trim(BdrOutput *output);

#endif							/* BDR_OUTPUT_RELATION_H */
