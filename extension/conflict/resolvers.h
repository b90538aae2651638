/*-------------------------------------------------------------------------
 * conflict/resolvers.h
 *		Have users chosen other resolvers?
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_RESOLVERS_H
#define BDR_CONFLICT_RESOLVERS_H

#include "postgres.h"

extern void bdr_resolvers_init(void);

/* Another number means that users may have chosen other resolvers. */
extern uint32 bdr_resolvers_generation(void);

#endif							/* BDR_CONFLICT_RESOLVERS_H */
