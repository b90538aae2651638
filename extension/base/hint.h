/*-------------------------------------------------------------------------
 * base/hint.h
 *		What to do about an error of users' code that a change has run.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_HINT_H
#define BDR_BASE_HINT_H

#include "postgres.h"

extern void bdr_hint_refused_value(void);
extern void bdr_hint_search_path(void);

#endif							/* BDR_BASE_HINT_H */
