/*-------------------------------------------------------------------------
 * apply/walwriter.h
 *		Do not wake the WAL writer for every transaction that is applied.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_WALWRITER_H
#define BDR_APPLY_WALWRITER_H

#include "postgres.h"

extern void bdr_walwriter_begin_frame(void);
extern void bdr_walwriter_before_commit(void);	/* of a transaction that wrote */
extern void bdr_walwriter_end_frame(void);

#endif							/* BDR_APPLY_WALWRITER_H */
