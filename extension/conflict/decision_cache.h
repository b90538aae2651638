/*-------------------------------------------------------------------------
 * conflict/decision_cache.h
 *		Plans that Go made before.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_DECISION_CACHE_H
#define BDR_CONFLICT_DECISION_CACHE_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "conflict/case.h"

/* generation is bdr_resolvers_generation's. */
extern bool bdr_decision_find(BdrCase *c, uint32 generation, StringInfo answer);
extern void bdr_decision_keep(BdrCase *c, uint32 generation, const StringInfoData *answer);

#endif							/* BDR_CONFLICT_DECISION_CACHE_H */
