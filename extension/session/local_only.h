/*-------------------------------------------------------------------------
 * session/local_only.h
 *		Changes that stay on this node: bdr.xact_replication and repairs.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_LOCAL_ONLY_H
#define BDR_SESSION_LOCAL_ONLY_H

#include "postgres.h"

#include "utils/guc.h"

extern bool bdr_xact_replication;	/* bdr.xact_replication */
extern bool bdr_local_only_check_setting(bool *newval, void **extra, GucSource source);
extern void bdr_local_only_assign_setting(bool newval, void *extra);
extern void bdr_local_only_init(void);

#endif							/* BDR_SESSION_LOCAL_ONLY_H */
