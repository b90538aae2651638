/*-------------------------------------------------------------------------
 * row/statistics.h
 *		What writers did to each table.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_STATISTICS_H
#define BDR_ROW_STATISTICS_H

#include "postgres.h"

#include "row/relation.h"

typedef enum BdrCountKind
{
	BDR_COUNT_INSERTS,
	BDR_COUNT_UPDATES,
	BDR_COUNT_DELETES,
	BDR_COUNT_TRUNCATES,
	BDR_COUNT_CONFLICTS
} BdrCountKind;

#define BDR_COUNT_KINDS		(BDR_COUNT_CONFLICTS + 1)

extern uint64 bdr_stats_epoch;	/* one per transaction that changed a table */

extern void bdr_stats_init(void);
extern void bdr_stats_touch(BdrRelation *rel);
extern void bdr_stats_count_table(Oid relid, BdrCountKind kind);
extern void bdr_stats_undo(void);
extern void bdr_stats_keep(void);
extern void bdr_stats_commit(void);
extern void bdr_stats_report(void);

static inline void
bdr_stats_count(BdrRelation *rel, BdrCountKind kind)
{
	if (unlikely(rel == NULL))
		return;
	if (unlikely(rel->counts_epoch != bdr_stats_epoch))
		bdr_stats_touch(rel);
	rel->counts[kind]++;
}

#endif							/* BDR_ROW_STATISTICS_H */
