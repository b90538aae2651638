/*-------------------------------------------------------------------------
 * session/default_identity.h
 *		The replica identity of new tables.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DEFAULT_IDENTITY_H
#define BDR_SESSION_DEFAULT_IDENTITY_H

extern void bdr_default_identity_init(void);

#endif							/* BDR_SESSION_DEFAULT_IDENTITY_H */
