/*-------------------------------------------------------------------------
 * apply/deferred.h
 *		The end of a transaction, under deferrable constraints.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_DEFERRED_H
#define BDR_APPLY_DEFERRED_H

#include "postgres.h"

extern void bdr_deferred_resolve(void);

#endif							/* BDR_APPLY_DEFERRED_H */
