/*-------------------------------------------------------------------------
 * apply/tombstone.h
 *		TOMBSTONE, in a writer that repeats what another node does.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_TOMBSTONE_H
#define BDR_APPLY_TOMBSTONE_H

#include "postgres.h"

#include "base/reader.h"

extern void bdr_tombstone_apply(BdrReader *body);

#endif							/* BDR_APPLY_TOMBSTONE_H */
