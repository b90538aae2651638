/*-------------------------------------------------------------------------
 * session/commit_prepared.h
 *		Commits of prepared transactions.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_COMMIT_PREPARED_H
#define BDR_SESSION_COMMIT_PREPARED_H

extern void bdr_commit_prepared_init(void);

#endif							/* BDR_SESSION_COMMIT_PREPARED_H */
