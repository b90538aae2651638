/*-------------------------------------------------------------------------
 * conflict/resolve.h
 *		Changes that may meet another version.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_RESOLVE_H
#define BDR_CONFLICT_RESOLVE_H

#include "postgres.h"

#include "row/decode.h"

extern void bdr_resolve_insert(BdrRelation *rel, TupleTableSlot *row);
extern void bdr_resolve_update(BdrUpdate *update);
extern bool bdr_resolve_is_plain(BdrUpdate *update);
extern bool bdr_resolve_may_fill(BdrRelation *rel);
extern void bdr_resolve_at_end(BdrRelation *rel, TupleTableSlot *row, bool is_stored);
extern void bdr_resolve_delete(BdrUpdate *update);
extern BdrLookup *bdr_resolve_key_lookup(BdrRelation *rel);

#endif							/* BDR_CONFLICT_RESOLVE_H */
