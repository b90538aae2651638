/*-------------------------------------------------------------------------
 * session/ddl/text.c
 *		The text of a statement, as other nodes run it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "nodes/parsenodes.h"
#include "parser/scanner.h"
#include "parser/scansup.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "session/ddl/text.h"

/* A part of a query. */
typedef struct Span
{
	int			start;
	int			end;
} Span;

static Span span_of(const PlannedStmt *pstmt, const char *query);
static DefElem *password_of(Node *statement);
static char *stored_password(Node *statement);
static Span literal_after(const char *query, int location);
static void append_options(StringInfo text, List *options);

static Span
span_of(const PlannedStmt *pstmt, const char *query)
{
	Span		span = {Max(pstmt->stmt_location, 0), strlen(query)};

	if (pstmt->stmt_len > 0)
		span.end = Min(span.end, span.start + pstmt->stmt_len);
	while (span.start < span.end && scanner_isspace(query[span.start]))
		span.start++;
	return span;
}

char *
bdr_text_as_typed(const PlannedStmt *pstmt, const char *query)
{
	Span		span = span_of(pstmt, query);

	return pnstrdup(query + span.start, span.end - span.start);
}

/* ---------------------------------------------------------------------
 * Passwords
 * ---------------------------------------------------------------------
 */

/*
 * WAL must not have what was typed, and each node would store it with another
 * salt.
 */
char *
bdr_text_with_password(const PlannedStmt *pstmt, const char *query)
{
	DefElem    *password = password_of(pstmt->utilityStmt);
	char	   *stored = password != NULL ? stored_password(pstmt->utilityStmt) : NULL;
	Span		span = span_of(pstmt, query);
	Span		literal;

	if (stored == NULL)
		return bdr_text_as_typed(pstmt, query);
	literal = literal_after(query, password->location);
	return psprintf("%.*s%s%.*s", literal.start - span.start, query + span.start, quote_literal_cstr(stored),
					span.end - literal.end, query + literal.end);
}

/* NULL: there is none, or it is PASSWORD NULL. */
static DefElem *
password_of(Node *statement)
{
	List	   *options = NIL;
	ListCell   *lc;

	if (IsA(statement, CreateRoleStmt))
		options = ((CreateRoleStmt *) statement)->options;
	else if (IsA(statement, AlterRoleStmt))
		options = ((AlterRoleStmt *) statement)->options;
	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, "password") == 0 && option->arg != NULL)
			return option;
	}
	return NULL;
}

/* NULL: what was typed counts as none. */
static char *
stored_password(Node *statement)
{
	Oid			role = IsA(statement, CreateRoleStmt) ? get_role_oid(((CreateRoleStmt *) statement)->role, false) :
		get_rolespec_oid(((AlterRoleStmt *) statement)->role, false);
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	char	   *stored = NULL;
	Datum		value;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for role %u", role);
	value = SysCacheGetAttr(AUTHOID, tuple, Anum_pg_authid_rolpassword, &isnull);
	if (!isnull)
		stored = TextDatumGetCString(value);
	ReleaseSysCache(tuple);
	return stored;
}

/*
 * The token behind [ENCRYPTED] PASSWORD, which stands at location.  The scanner
 * ends its buffer behind the token that it has read.
 */
static Span
literal_after(const char *query, int location)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner = scanner_init(query, &extra, &ScanKeywords, ScanKeywordTokens);
	core_YYSTYPE value;
	YYLTYPE		at;
	Span		literal = {0, 0};
	bool		is_next = false;

	while (literal.end == 0 && core_yylex(&value, &at, scanner) != 0)
	{
		if (is_next)
		{
			literal.start = at;
			literal.end = at + strlen(extra.scanbuf + at);
		}
		else if (at >= location)
			is_next = pg_strcasecmp(extra.scanbuf + at, "password") == 0;
	}
	scanner_finish(scanner);
	if (literal.end == 0)
		elog(ERROR, "could not find the password in a statement");
	return literal;
}

char *
bdr_text_of_drop(const DropStmt *drop, const List *names, bool is_lenient)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	appendStringInfo(&text, "%s %s", GetCommandTagName(CreateCommandTag((Node *) drop)),
					 drop->missing_ok || is_lenient ? "IF EXISTS " : "");
	foreach(lc, names)
	{
		RangeVar   *name = makeRangeVarFromNameList(lfirst(lc));

		appendStringInfo(&text, "%s%s", foreach_current_index(lc) == 0 ? "" : ", ",
						 quote_qualified_identifier(name->schemaname, name->relname));
	}
	appendStringInfoString(&text, drop->behavior == DROP_CASCADE ? " CASCADE" : "");
	return text.data;
}

/*
 * What stands behind EXPLAIN and its options.
 */
char *
bdr_text_of_explained(const PlannedStmt *pstmt, const char *query)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner = scanner_init(query, &extra, &ScanKeywords, ScanKeywordTokens);
	Span		span = span_of(pstmt, query);
	core_YYSTYPE value;
	YYLTYPE		at;
	int			depth = 0;
	int			start = -1;

	while (start < 0 && core_yylex(&value, &at, scanner) != 0)
	{
		const char *token = extra.scanbuf + at;

		if (at < span.start)
			continue;
		if (*token == '(' || *token == ')')
			depth += *token == '(' ? 1 : -1;
		else if (depth == 0 && pg_strcasecmp(token, "create") == 0)
			start = at;
	}
	scanner_finish(scanner);
	if (start < 0)
		elog(ERROR, "could not find the statement that is explained");
	return pnstrdup(query + start, span.end - start);
}

/* ---------------------------------------------------------------------
 * CREATE TABLE AS
 * ---------------------------------------------------------------------
 */

/*
 * The table's catalog rows cannot be seen yet, and it has no more than this.
 */
char *
bdr_text_of_table(Relation table, const IntoClause *into)
{
	TupleDesc	desc = RelationGetDescr(table);
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "CREATE %sTABLE %s (",
					 table->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED ? "UNLOGGED " : "",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(table)),
												RelationGetRelationName(table)));
	for (int i = 0; i < desc->natts; i++)
	{
		appendStringInfoString(&text, i > 0 ? ", " : "");
		bdr_text_append_column(&text, TupleDescAttr(desc, i));
	}
	appendStringInfoString(&text, ")");
	if (into->accessMethod != NULL)
		appendStringInfo(&text, " USING %s", quote_identifier(into->accessMethod));
	append_options(&text, into->options);
	if (into->tableSpaceName != NULL)
		appendStringInfo(&text, " TABLESPACE %s", quote_identifier(into->tableSpaceName));
	return text.data;
}

void
bdr_text_append_column(StringInfo text, Form_pg_attribute att)
{
	appendStringInfo(text, "%s %s", quote_identifier(NameStr(att->attname)),
					 format_type_extended(att->atttypid, att->atttypmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(att->attcollation) && att->attcollation != get_typcollation(att->atttypid))
	{
		HeapTuple	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(att->attcollation));
		Form_pg_collation form;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for collation %u", att->attcollation);
		form = (Form_pg_collation) GETSTRUCT(tuple);
		appendStringInfo(text, " COLLATE %s",
						 quote_qualified_identifier(get_namespace_name(form->collnamespace), NameStr(form->collname)));
		ReleaseSysCache(tuple);
	}
}

static void
append_options(StringInfo text, List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);

		appendStringInfoString(text, foreach_current_index(lc) == 0 ? " WITH (" : ", ");
		if (option->defnamespace != NULL)
			appendStringInfo(text, "%s.", quote_identifier(option->defnamespace));
		appendStringInfoString(text, quote_identifier(option->defname));
		if (option->arg != NULL)
			appendStringInfo(text, " = %s", quote_literal_cstr(defGetString(option)));
	}
	if (options != NIL)
		appendStringInfoString(text, ")");
}
