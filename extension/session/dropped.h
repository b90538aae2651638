/*-------------------------------------------------------------------------
 * session/dropped.h
 *		Tables that were dropped here not long ago.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DROPPED_H
#define BDR_SESSION_DROPPED_H

#include "postgres.h"

struct BdrOwnerThere;

extern void bdr_dropped_init(void);

/* Within the last day?  Needs a transaction and a snapshot. */
extern bool bdr_dropped_recently(const char *schema, const char *name, const struct BdrOwnerThere *there);

#endif							/* BDR_SESSION_DROPPED_H */
