/*-------------------------------------------------------------------------
 * rebuild/table.h
 *		ALTER TABLE rewrites a table: who wrote its rows, and what no row of it
 *		shows any more, is kept.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_REBUILD_TABLE_H
#define BDR_REBUILD_TABLE_H

#include "postgres.h"


extern void bdr_rebuild_table_init(void);

#endif							/* BDR_REBUILD_TABLE_H */
