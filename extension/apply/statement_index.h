/*-------------------------------------------------------------------------
 * apply/statement_index.h
 *		CREATE INDEX CONCURRENTLY, in two statements.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_STATEMENT_INDEX_H
#define BDR_APPLY_STATEMENT_INDEX_H

#include "postgres.h"

#include "nodes/nodes.h"

#include "ddl/statement.h"

/* false: it is neither of the two, or to be run as any other is. */
extern bool bdr_statement_run_index(Node *node, const BdrStatement *statement);

#endif							/* BDR_APPLY_STATEMENT_INDEX_H */
