/*-------------------------------------------------------------------------
 * apply/truncate.h
 *		TRUNCATE.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_TRUNCATE_H
#define BDR_APPLY_TRUNCATE_H

#include "postgres.h"

#include "base/reader.h"

extern void bdr_truncate_apply(BdrReader *reader);

#endif							/* BDR_APPLY_TRUNCATE_H */
