/*-------------------------------------------------------------------------
 * session/drop_guard.h
 *		What a DROP EXTENSION may do, and security labels on databases.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DROP_GUARD_H
#define BDR_SESSION_DROP_GUARD_H

extern void bdr_drop_guard_init(void);

#endif							/* BDR_SESSION_DROP_GUARD_H */
