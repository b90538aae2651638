/*-------------------------------------------------------------------------
 * apply/statement_value.h
 *		What new columns have in the rows that are there.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_STATEMENT_VALUE_H
#define BDR_APPLY_STATEMENT_VALUE_H

#include "postgres.h"

#include "nodes/nodes.h"

#include "ddl/statement.h"

extern void bdr_statement_use_values(Node *node, const BdrStatement *statement);

#endif							/* BDR_APPLY_STATEMENT_VALUE_H */
