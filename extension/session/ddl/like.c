/*-------------------------------------------------------------------------
 * session/ddl/like.c
 *		CREATE TABLE (LIKE ...) of a table that other nodes do not have.
 *
 * NOTES
 *		LIKE alone takes names, types, collations and NOT NULL; what INCLUDING
 *		adds is refused.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "parser/scanner.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "session/ddl/like.h"
#include "session/ddl/text.h"
#include "session/ddl/touched.h"
#include "bdr_compat.h"

/* A part of a query. */
typedef struct Clause
{
	int			start;			/* of LIKE */
	int			end;
	bool		has_options;
} Clause;

static Clause clause_at(const char *query, const RangeVar *name);
static bool append_columns(StringInfo text, const RangeVar *name);
static void append_not_null(StringInfo text, const char *constraint);

char *
bdr_like_text(const PlannedStmt *pstmt, const char *query)
{
	CreateStmt *create = castNode(CreateStmt, pstmt->utilityStmt);
	int			start = Max(pstmt->stmt_location, 0);
	int			end = pstmt->stmt_len > 0 ? start + pstmt->stmt_len : strlen(query);
	StringInfoData text;
	ListCell   *lc;

	if (bdr_touched_makes_temporary(create->relation))
		return NULL;
	initStringInfo(&text);
	foreach(lc, create->tableElts)
	{
		TableLikeClause *like = lfirst(lc);
		Clause		clause;

		if (!IsA(like, TableLikeClause) || !bdr_touched_is_temporary(like->relation))
			continue;
		clause = clause_at(query, like->relation);
		appendBinaryStringInfo(&text, query + start, clause.start - start);
		if (clause.has_options || !append_columns(&text, like->relation))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot replicate CREATE TABLE with LIKE of temporary table \"%s\" and options", like->relation->relname),
					 errhint("Use LIKE without INCLUDING or EXCLUDING, of a table with columns.")));
		start = clause.end;
	}
	if (text.len == 0)
		return NULL;
	appendBinaryStringInfo(&text, query + start, end - start);
	return text.data;
}

/*
 * From LIKE to the last part of the name, which stands behind it.  The scanner ends
 * its buffer behind the token that it has read.
 */
static Clause
clause_at(const char *query, const RangeVar *name)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner = scanner_init(query, &extra, &ScanKeywords, ScanKeywordTokens);
	int			tokens = 1 + (name->schemaname != NULL ? 2 : 0) + (name->catalogname != NULL ? 2 : 0);
	Clause		clause = {0, 0, false};
	core_YYSTYPE value;
	YYLTYPE		at;
	int			before = 0;

	while (core_yylex(&value, &at, scanner) != 0)
	{
		if (at < name->location)
			before = at;
		else if (tokens > 0)
		{
			clause.start = before;
			clause.end = at + strlen(extra.scanbuf + at);
			tokens--;
		}
		else
		{
			clause.has_options = pg_strcasecmp(extra.scanbuf + at, "including") == 0 ||
				pg_strcasecmp(extra.scanbuf + at, "excluding") == 0;
			break;
		}
	}
	scanner_finish(scanner);
	return clause;
}

/* Returns whether there are any. */
static bool
append_columns(StringInfo text, const RangeVar *name)
{
	Relation	rel = table_openrv(name, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	bool		any = false;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		appendStringInfoString(text, any ? ", " : "");
		bdr_text_append_column(text, att);
		if (att->attnotnull)
			append_not_null(text, bdr_not_null_name(RelationGetRelid(rel), att->attnum));
		any = true;
	}
	table_close(rel, NoLock);
	return any;
}

/* The copy has the name of the constraint, too. */
static void
append_not_null(StringInfo text, const char *constraint)
{
	if (constraint != NULL)
		appendStringInfo(text, " CONSTRAINT %s", quote_identifier(constraint));
	appendStringInfoString(text, " NOT NULL");
}
