/*-------------------------------------------------------------------------
 * session/replica_identity.h
 *		No UPDATE and DELETE without a replica identity.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_REPLICA_IDENTITY_H
#define BDR_SESSION_REPLICA_IDENTITY_H

#include "postgres.h"

extern void bdr_identity_init(void);

/* Is this database a member of a group, or becoming one, and as which node? */
extern bool bdr_identity_is_member(Oid *node);

#endif							/* BDR_SESSION_REPLICA_IDENTITY_H */
