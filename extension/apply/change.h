/*-------------------------------------------------------------------------
 * apply/change.h
 *		Changes to local tables.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_CHANGE_H
#define BDR_APPLY_CHANGE_H

#include "postgres.h"

#include "row/relation.h"

extern BdrRelation *bdr_change_open(BdrReader *reader);
extern void bdr_change_insert(BdrReader *reader);
extern void bdr_change_update(BdrReader *reader);
extern void bdr_change_delete(BdrReader *reader);
extern void bdr_change_flush(void);
extern bool bdr_change_is_flushed(void);
extern void bdr_change_forget(void);

#endif							/* BDR_APPLY_CHANGE_H */
