/*-------------------------------------------------------------------------
 * row/match.h
 *		May changes of a peer's table go to the local table of that name?
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_MATCH_H
#define BDR_ROW_MATCH_H

#include "postgres.h"

#include "row/relation.h"

extern void bdr_match_check(BdrRelation *rel, Relation local);
extern void bdr_match_owner(BdrRelation *rel, Oid relid, const BdrOwnerThere *there);
extern bool bdr_match_is_owner(const char *name, bool is_superuser, const BdrOwnerThere *there);

#endif							/* BDR_ROW_MATCH_H */
