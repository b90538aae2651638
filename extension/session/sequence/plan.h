/*-------------------------------------------------------------------------
 * session/sequence/plan.h
 *		Values of identity columns in queries, and SELECT from a sequence.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_PLAN_H
#define BDR_SESSION_SEQUENCE_PLAN_H

#include "postgres.h"

extern void bdr_sequence_plan_init(void);

#endif							/* BDR_SESSION_SEQUENCE_PLAN_H */
