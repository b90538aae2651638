/*-------------------------------------------------------------------------
 * session/key_removal.h
 *		Which statements of sessions make versions of rows invisible.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_KEY_REMOVAL_H
#define BDR_SESSION_KEY_REMOVAL_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "nodes/plannodes.h"

extern void bdr_key_removal_statement(EState *estate, ModifyTable *plan, int i);
extern void bdr_key_removal_routed(EState *estate, ResultRelInfo *result);

#endif							/* BDR_SESSION_KEY_REMOVAL_H */
