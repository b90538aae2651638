/*-------------------------------------------------------------------------
 * apply/state.h
 *		What this writer applies.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_STATE_H
#define BDR_APPLY_STATE_H

#include "postgres.h"

#include "row/apply.h"

/*
 * A process applies for one peer.  This folder changes it; others find it by
 * the relations that they are given.
 */
extern BdrApply bdr_apply;

#endif							/* BDR_APPLY_STATE_H */
