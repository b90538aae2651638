/*-------------------------------------------------------------------------
 * session/ddl/identity.h
 *		The replica identity of new tables.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_IDENTITY_H
#define BDR_SESSION_DDL_IDENTITY_H

#include "postgres.h"

/* Before bdr_capture_init: what is set here is a part of the statement. */
extern void bdr_identity_init(void);

#endif							/* BDR_SESSION_DDL_IDENTITY_H */
