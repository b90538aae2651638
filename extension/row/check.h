/*-------------------------------------------------------------------------
 * row/check.h
 *		Checks of what came as bytes.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_CHECK_H
#define BDR_ROW_CHECK_H

#include "postgres.h"

/* How the inside of a value is checked. */
typedef struct BdrCheck BdrCheck;

extern const BdrCheck *bdr_check_make(Oid type);
extern bool bdr_check_value(const BdrCheck *check, const struct varlena *value);
extern bool bdr_check_fixed(const BdrCheck *check, const char *bytes, Size size);
extern bool bdr_check_fits(Oid type, int32 typmod, Datum value);

#endif							/* BDR_ROW_CHECK_H */
