/*-------------------------------------------------------------------------
 * apply/transaction.h
 *		One local transaction for each remote one.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_TRANSACTION_H
#define BDR_APPLY_TRANSACTION_H

#include "postgres.h"

#include "base/reader.h"

extern void bdr_xact_init(void);
extern void bdr_xact_begin(BdrReader *reader);
extern void bdr_xact_start_local(void);
extern void bdr_xact_commit(BdrReader *reader);
extern void bdr_xact_abort(void);

#endif							/* BDR_APPLY_TRANSACTION_H */
