/*-------------------------------------------------------------------------
 * session/ddl/sets.h
 *		Which replication sets a statement goes with.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_SETS_H
#define BDR_SESSION_DDL_SETS_H

#include "postgres.h"

#include "nodes/nodes.h"
#include "utils/array.h"

#include "ddl/statement.h"

/*
 * Those that DDL filters say, by the node, the role and the text of a statement as it
 * was typed; an error if two of them want it for themselves.
 */
extern void bdr_ddl_sets_choose(BdrStatement *statement, Node *node, const char *text);

/* Those of a list of names, each of which must be one; NULL: the default one. */
extern void bdr_ddl_sets_name(BdrStatement *statement, ArrayType *names);

#endif							/* BDR_SESSION_DDL_SETS_H */
