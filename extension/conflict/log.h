/*-------------------------------------------------------------------------
 * conflict/log.h
 *		What is told about a conflict.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_LOG_H
#define BDR_CONFLICT_LOG_H

#include "postgres.h"

#include "conflict/case.h"

extern void bdr_conflict_log(BdrConflict *conflict, TupleTableSlot *applied);
extern char *bdr_conflict_key_text(BdrConflict *conflict);

#endif							/* BDR_CONFLICT_LOG_H */
