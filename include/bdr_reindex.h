/*-------------------------------------------------------------------------
 * bdr_reindex.h
 *		Indexes that are made CONCURRENTLY know no dead rows.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_REINDEX_H
#define BDR_REINDEX_H

extern void bdr_reindex_init(void);

#endif							/* BDR_REINDEX_H */
