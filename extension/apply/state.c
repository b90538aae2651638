/*-------------------------------------------------------------------------
 * apply/state.c
 *		What this writer applies.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "apply/state.h"

BdrApply	bdr_apply;
