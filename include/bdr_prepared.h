/*-------------------------------------------------------------------------
 * bdr_prepared.h
 *		Commits of prepared transactions.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_PREPARED_H
#define BDR_PREPARED_H

extern void bdr_prepared_init(void);

#endif							/* BDR_PREPARED_H */
