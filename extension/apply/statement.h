/*-------------------------------------------------------------------------
 * apply/statement.h
 *		STATEMENT: what a peer has run, run here.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_STATEMENT_H
#define BDR_APPLY_STATEMENT_H

#include "postgres.h"

#include "base/reader.h"

extern void bdr_statement_apply(BdrReader *reader);

#endif							/* BDR_APPLY_STATEMENT_H */
