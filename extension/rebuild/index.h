/*-------------------------------------------------------------------------
 * rebuild/index.h
 *		Indexes that are made CONCURRENTLY know no dead rows.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_REBUILD_INDEX_H
#define BDR_REBUILD_INDEX_H

extern void bdr_rebuild_index_init(void);

#endif							/* BDR_REBUILD_INDEX_H */
