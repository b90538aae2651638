/*-------------------------------------------------------------------------
 * session/sequence/copy.c
 *		COPY FROM into tables with columns that sequences fill.
 *
 * NOTES
 *		The server has no hook between the start of a COPY and its rows, which is
 *		where the expressions for the columns that are left out stand.  So what
 *		it does around the two is done here: rights, row security, WHERE.
 *
 *		The server writes many rows at once if no default is volatile but for
 *		its own nextval, for which our function counts as well.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/cmdtag.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "base/sequence.h"
#include "session/sequence/copy.h"
#include "session/sequence/function.h"
#include "bdr_compat.h"

static bool is_ours(const CopyStmt *stmt);
static bool has_sequence_default(Relation rel);
static bool makes_values(Node *node, void *context);
static void check_source(const CopyStmt *stmt);
static void check_rights(ParseState *pstate, ParseNamespaceItem *nsitem, Relation rel, const CopyStmt *stmt);
static Node *transform_where(ParseState *pstate, ParseNamespaceItem *nsitem, Relation rel, Node *where);
static void refuse_generated(Relation rel, Node *where);
static void take_defaults(CopyFromState cstate, Relation rel);

bool
bdr_sequence_copy(const BdrUtility *statement)
{
	const CopyStmt *stmt = (const CopyStmt *) statement->pstmt->utilityStmt;
	ParseState *pstate;
	ParseNamespaceItem *nsitem;
	CopyFromState cstate;
	Relation	rel;
	Node	   *where = NULL;
	uint64		rows;

	if (!is_ours(stmt))
		return false;
	check_source(stmt);
	pstate = make_parsestate(NULL);
	pstate->p_sourcetext = statement->query;
	pstate->p_queryEnv = statement->environment;
	rel = table_openrv(stmt->relation, RowExclusiveLock);
	nsitem = addRangeTableEntryForRelation(pstate, rel, RowExclusiveLock, NULL, false, false);
	if (stmt->whereClause != NULL)
		where = transform_where(pstate, nsitem, rel, stmt->whereClause);
	check_rights(pstate, nsitem, rel, stmt);
	if (!rel->rd_islocaltemp)
		PreventCommandIfReadOnly("COPY FROM");
	cstate = BeginCopyFrom(pstate, rel, where, stmt->filename, stmt->is_program, NULL, stmt->attlist, stmt->options);
	take_defaults(cstate, rel);
	rows = CopyFrom(cstate);
	EndCopyFrom(cstate);
	table_close(rel, NoLock);
	free_parsestate(pstate);
	if (statement->completion != NULL)
		SetQueryCompletion(statement->completion, CMDTAG_COPY, rows);
	return true;
}

/*
 * What is looked at here may change before the table is locked; then the server
 * or we do what either can do.
 */
static bool
is_ours(const CopyStmt *stmt)
{
	Relation	rel;
	bool		ours;

	if (!stmt->is_from || stmt->relation == NULL || !bdr_sequence_is_installed())
		return false;
	rel = table_openrv_extended(stmt->relation, AccessShareLock, true);
	if (rel == NULL)
		return false;
	ours = has_sequence_default(rel);
	table_close(rel, AccessShareLock);
	return ours;
}

static bool
has_sequence_default(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attgenerated)
			continue;
		if (att->attidentity || (att->atthasdef && makes_values(build_column_default(rel, i + 1), NULL)))
			return true;
	}
	return false;
}

static bool
makes_values(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, NextValueExpr) || (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_NEXTVAL))
		return true;
	return expression_tree_walker(node, makes_values, context);
}

/*
 * Files and programs are for those who were granted them.
 */
static void
check_source(const CopyStmt *stmt)
{
	Oid			role = stmt->is_program ? ROLE_PG_EXECUTE_SERVER_PROGRAM : ROLE_PG_READ_SERVER_FILES;

	if (stmt->filename == NULL || has_privs_of_role(GetUserId(), role))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to COPY from %s", stmt->is_program ? "an external program" : "a file"),
			 errdetail("Only roles with privileges of the \"%s\" role may do that.", GetUserNameFromId(role, false)),
			 errhint("Anyone can COPY from stdin; psql's \\copy command also works for anyone.")));
}

static void
check_rights(ParseState *pstate, ParseNamespaceItem *nsitem, Relation rel, const CopyStmt *stmt)
{
	ListCell   *lc;

	bdr_copy_required(nsitem) = ACL_INSERT;
	foreach(lc, CopyGetAttnums(RelationGetDescr(rel), rel, stmt->attlist))
		bdr_copy_inserted(nsitem) = bms_add_member(bdr_copy_inserted(nsitem),
												   lfirst_int(lc) - FirstLowInvalidHeapAttributeNumber);
	bdr_copy_check(pstate, nsitem);
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("COPY FROM not supported with row-level security"),
				 errhint("Use INSERT statements instead.")));
}

static Node *
transform_where(ParseState *pstate, ParseNamespaceItem *nsitem, Relation rel, Node *where)
{
	addNSItemToQuery(pstate, nsitem, false, true, true);
	where = coerce_to_boolean(pstate, transformExpr(pstate, where, EXPR_KIND_COPY_WHERE), "WHERE");
	assign_expr_collations(pstate, where);
	refuse_generated(rel, where);
	where = eval_const_expressions(NULL, where);
	return (Node *) make_ands_implicit(canonicalize_qual((Expr *) where, false));
}

/*
 * They are not computed yet when rows are chosen.
 */
static void
refuse_generated(Relation rel, Node *where)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *columns = NULL;
	bool		all;

	pull_varattnos(where, 1, &columns);
	all = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, columns);
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attgenerated &&
			(all || bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, columns)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
					 errmsg("generated columns are not supported in COPY FROM WHERE conditions"),
					 errdetail("Column \"%s\" is a generated column.", NameStr(TupleDescAttr(desc, i)->attname))));
	}
}

static void
take_defaults(CopyFromState cstate, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		is_any_volatile = false;

	for (int i = 0; i < desc->natts; i++)
	{
		ExprState **state = bdr_copy_default(cstate, i);
		MemoryContext old;
		Node	   *expr;

		if (TupleDescAttr(desc, i)->attisdropped || state == NULL || *state == NULL)
			continue;			/* for a column that is gone there is anything */
		old = MemoryContextSwitchTo(cstate->copycontext);
		expr = build_column_default(rel, i + 1);
		if (IsA(expr, NextValueExpr))
			*state = ExecInitExpr(expression_planner(bdr_sequence_default((Expr *) expr)), NULL);
		MemoryContextSwitchTo(old);
		is_any_volatile = is_any_volatile || contain_volatile_functions_not_nextval(expr);
	}
	cstate->volatile_defexprs = is_any_volatile;
}
