/*-------------------------------------------------------------------------
 * session/pg_upgrade.h
 *		A node that is being upgraded in place.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_PG_UPGRADE_H
#define BDR_SESSION_PG_UPGRADE_H

extern void bdr_pg_upgrade_init(void);

#endif							/* BDR_SESSION_PG_UPGRADE_H */
