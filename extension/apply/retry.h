/*-------------------------------------------------------------------------
 * apply/retry.h
 *		What is rolled back and applied again when a conflict shows up.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_RETRY_H
#define BDR_APPLY_RETRY_H

#include "postgres.h"

#include "base/reader.h"

extern void bdr_unit_init(void);

/* Where bdr_unit_retry starts over from. */
extern void bdr_unit_start(const char *at);
extern void bdr_unit_start_at(const char *at);
extern void bdr_unit_keep(const char *data, Size len, Size header);
extern void bdr_unit_close(void);
extern void bdr_unit_reset(void);
extern void bdr_unit_finish(void);

extern bool bdr_unit_may_retry(void);
extern const char *bdr_unit_retry(void (*apply) (BdrReader *reader));

#endif							/* BDR_APPLY_RETRY_H */
