/*-------------------------------------------------------------------------
 * session/ddl/text.h
 *		The text of a statement, as other nodes run it.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_TEXT_H
#define BDR_SESSION_DDL_TEXT_H

#include "postgres.h"

#include "catalog/pg_attribute.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "nodes/primnodes.h"
#include "utils/relcache.h"

/* The part of the query that is this statement, as it was typed. */
extern char *bdr_text_as_typed(const PlannedStmt *pstmt, const char *query);

/* The same of one that has run, with its password as it was stored. */
extern char *bdr_text_with_password(const PlannedStmt *pstmt, const char *query);

/* The statement in EXPLAIN of one that begins with CREATE. */
extern char *bdr_text_of_explained(const PlannedStmt *pstmt, const char *query);

/* DROP of some of the relations that it names; lenient: they may not be. */
extern char *bdr_text_of_drop(const DropStmt *drop, const List *names, bool is_lenient);

/* The definition of a table that CREATE TABLE AS is making. */
extern char *bdr_text_of_table(Relation table, const IntoClause *into);

/* Name, type and collation. */
extern void bdr_text_append_column(StringInfo text, Form_pg_attribute att);

#endif							/* BDR_SESSION_DDL_TEXT_H */
