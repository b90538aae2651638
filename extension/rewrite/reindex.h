/*-------------------------------------------------------------------------
 * rewrite/reindex.h
 *		Indexes that are made CONCURRENTLY know no dead rows.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_REWRITE_REINDEX_H
#define BDR_REWRITE_REINDEX_H

extern void bdr_reindex_init(void);

#endif							/* BDR_REWRITE_REINDEX_H */
