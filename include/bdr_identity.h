/*-------------------------------------------------------------------------
 * bdr_identity.h
 *		No UPDATE and DELETE without a replica identity.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_IDENTITY_H
#define BDR_IDENTITY_H

extern void bdr_identity_init(void);

#endif							/* BDR_IDENTITY_H */
