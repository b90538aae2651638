/*-------------------------------------------------------------------------
 * base/row_filter.c
 *		Row filters of replication sets: which expressions are taken.
 *
 * NOTES
 *		A filter is evaluated in a walsender and in the session of a join,
 *		which are superusers' and have no snapshot to read tables with.  So it
 *		consists of columns of the row and of what the server itself has, and
 *		that is immutable: there is no code of users in it, and nothing that
 *		could tell other than the row.  That is looked at each time when a
 *		filter is read, as the types of columns may have changed since it was
 *		set.
 *
 *		Columns are found by a hook, not in a range table: who decodes WAL must
 *		not lock users' tables.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/row_filter.h"
#include "bdr_compat.h"

/* The row is the only relation. */
#define FILTER_ROWS_VARNO	1

static Node *parse_expression(const char *text);
static Node *find_column(ParseState *pstate, ColumnRef *ref);
static bool collect(Node *node, void *columns);
static bool refuse(Node *node, void *context);
static bool is_foreign_function(Oid function, void *context);
pg_noreturn static void not_taken(const char *what);

Node *
bdr_row_filter_parse(Relation rel, const char *text, Bitmapset **columns)
{
	ParseState *pstate = make_parsestate(NULL);
	Node	   *filter;

	pstate->p_sourcetext = text;
	pstate->p_pre_columnref_hook = find_column;
	pstate->p_ref_hook_state = rel;
	filter = transformWhereClause(pstate, parse_expression(text), EXPR_KIND_WHERE, "row filter");
	assign_expr_collations(pstate, filter);
	(void) refuse(filter, NULL);
	if (contain_mutable_functions(filter))
		not_taken("It has something that is not immutable.");
	*columns = NULL;
	(void) collect(filter, columns);
	free_parsestate(pstate);
	return filter;
}

/*
 * One expression, and nothing of what else a SELECT may have.
 */
static Node *
parse_expression(const char *text)
{
	List	   *list = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, list)->stmt;
	SelectStmt *only = makeNode(SelectStmt);
	ResTarget  *target;

	only->targetList = select->targetList;
	if (list_length(select->targetList) != 1 || !equal(select, only))
		not_taken("It is not one expression.");
	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL || target->indirection != NIL)
		not_taken("It is not one expression.");
	return target->val;
}

/*
 * The parser asks for each name.
 */
static Node *
find_column(ParseState *pstate, ColumnRef *ref)
{
	Relation	rel = pstate->p_ref_hook_state;
	TupleDesc	desc = RelationGetDescr(rel);

	if (list_length(ref->fields) == 1 && IsA(linitial(ref->fields), String))
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);
			Var		   *var;

			if (att->attisdropped || att->attgenerated != '\0' ||
				strcmp(NameStr(att->attname), strVal(linitial(ref->fields))) != 0)
				continue;
			var = makeVar(FILTER_ROWS_VARNO, att->attnum, att->atttypid, att->atttypmod, att->attcollation, 0);
			var->location = ref->location;
			return (Node *) var;
		}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("\"%s\" in a row filter is not a column of table \"%s\"", NameListToString(ref->fields), RelationGetRelationName(rel)),
			 errhint("A row filter names columns without their table; system columns and generated ones are not among them.")));
}

static bool
collect(Node *node, void *columns)
{
	Bitmapset **set = columns;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
		*set = bms_add_member(*set, ((Var *) node)->varattno);
	return expression_tree_walker(node, collect, columns);
}

static bool
refuse(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
			return expression_tree_walker(node, refuse, context);
		case T_Var:
		case T_Const:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
			break;
		default:
			not_taken("Functions, operators and conditions on columns of the row are all that it may have: no subqueries, aggregates or parameters.");
	}
	if (check_functions_in_node(node, is_foreign_function, NULL))
		not_taken("It calls a function that is not the server's own, or is not immutable.");
	if (exprType(node) >= FirstNormalObjectId)
		not_taken("It has a type that is not the server's own.");
	if (exprCollation(node) >= FirstNormalObjectId || exprInputCollation(node) >= FirstNormalObjectId)
		not_taken("It has a collation that is not the server's own.");
	return expression_tree_walker(node, refuse, context);
}

static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId || func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

static void
not_taken(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("row filter is not supported"),
			 errdetail_internal("%s", what)));
}
