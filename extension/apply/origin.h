/*-------------------------------------------------------------------------
 * apply/origin.h
 *		The replication origin that local transactions carry.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_ORIGIN_H
#define BDR_APPLY_ORIGIN_H

#include "postgres.h"

#include "access/xlogdefs.h"

extern void bdr_origin_init(void);
extern void bdr_origin_use(uint32 node);
extern bool bdr_origin_has(XLogRecPtr origin_lsn);
extern void bdr_origin_set(void);
extern void bdr_origin_stamp(void);
extern void bdr_origin_passed(XLogRecPtr origin_lsn);

/* Must come before every abort. */
extern void bdr_origin_reset(void);

#endif							/* BDR_APPLY_ORIGIN_H */
