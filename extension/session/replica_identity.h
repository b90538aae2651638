/*-------------------------------------------------------------------------
 * session/replica_identity.h
 *		No UPDATE and DELETE without a replica identity.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_REPLICA_IDENTITY_H
#define BDR_SESSION_REPLICA_IDENTITY_H

#include "postgres.h"

extern void bdr_replica_identity_init(void);

#endif							/* BDR_SESSION_REPLICA_IDENTITY_H */
