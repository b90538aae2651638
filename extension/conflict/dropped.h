/*-------------------------------------------------------------------------
 * conflict/dropped.h
 *		Was a table dropped here a short while ago?
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_DROPPED_H
#define BDR_CONFLICT_DROPPED_H

#include "postgres.h"

#include "row/relation.h"

/* Within the last day?  Needs a transaction and a snapshot. */
extern bool bdr_dropped_recently(const char *schema, const char *name, const BdrOwnerThere *there);

#endif							/* BDR_CONFLICT_DROPPED_H */
