/*-------------------------------------------------------------------------
 * row/trigger.h
 *		Triggers of a table, around a change of it.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_TRIGGER_H
#define BDR_ROW_TRIGGER_H

#include "postgres.h"

#include "row/relation.h"

extern bool bdr_trigger_fires(const Trigger *trigger);
extern void bdr_trigger_prepare(BdrRelation *rel);
extern void bdr_change_begin(BdrRelation *rel);
extern void bdr_change_fire(BdrRelation *rel);

#endif							/* BDR_ROW_TRIGGER_H */
