/*-------------------------------------------------------------------------
 * conflict/ask.h
 *		Questions about conflicts to Go, and its answers.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_ASK_H
#define BDR_CONFLICT_ASK_H

#include "postgres.h"

#include "bdr_compat.h"
#include "conflict/case.h"

extern void bdr_conflict_ask(BdrConflict *conflict);
pg_noreturn extern void bdr_conflict_bad_action(BdrConflict *conflict);
extern void bdr_conflict_plan(BdrCase *c);

#endif							/* BDR_CONFLICT_ASK_H */
