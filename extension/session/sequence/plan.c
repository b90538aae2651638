/*-------------------------------------------------------------------------
 * session/sequence/plan.c
 *		Values of identity columns in queries, and SELECT from a sequence.
 *
 * NOTES
 *		An identity column has a node of its own in a query, for which there is no
 *		support function: before a statement is planned each becomes a call of
 *		our function.  A sequence in FROM whose page is ours becomes a subquery
 *		that shows where it stands.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"

#include "base/sequence.h"
#include "base/tables.h"
#include "session/sequence/function.h"
#include "session/sequence/kind.h"
#include "session/sequence/plan.h"
#include "bdr_compat.h"

/* A relation of a query whose system columns are looked for. */
typedef struct SystemColumn
{
	int			rtindex;
	int			level;			/* of the query that is searched, below that one */
} SystemColumn;

static planner_hook_type previous_planner_hook = NULL;

static PlannedStmt *plan(Query *query, const char *text, int options, ParamListInfo params);
static bool has_identity(Node *node, void *context);
static Node *replace_identity(Node *node, void *context);
static bool show_sequences(Node *node, void *context);
static bool is_shown(const Query *query, int index);
static bool has_system_column(Node *node, void *context);
static void show_sequence(RangeTblEntry *rte, Oid function, Oid reader);
static Query *select_from(Oid function, Oid relid, Oid reader);

void
bdr_sequence_plan_init(void)
{
	previous_planner_hook = planner_hook;
	planner_hook = plan;
}

static PlannedStmt *
plan(Query *query, const char *text, int options, ParamListInfo params)
{
	if ((query->commandType != CMD_SELECT || query->hasModifyingCTE) &&
		query_tree_walker(query, has_identity, NULL, 0) && bdr_sequence_is_installed())
		query = query_tree_mutator(query, replace_identity, NULL, 0);
	(void) show_sequences((Node *) query, NULL);
	if (previous_planner_hook)
		return previous_planner_hook(query, text, options, params);
	return standard_planner(query, text, options, params);
}

static bool
has_identity(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, NextValueExpr))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, has_identity, context, 0);
	return expression_tree_walker(node, has_identity, context);
}

static Node *
replace_identity(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, NextValueExpr))
	{
		Expr	   *call = bdr_sequence_identity_call((NextValueExpr *) node);

		return call != NULL ? (Node *) call : (Node *) copyObject(node);
	}
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, replace_identity, context, 0);
	return expression_tree_mutator(node, replace_identity, context);
}

/*
 * All of them, wherever they are in the query.
 */
static bool
show_sequences(Node *node, void *context)
{
	Query	   *query = (Query *) node;
	bool		deeper;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, show_sequences, context);
	deeper = query->hasSubLinks || query->cteList != NIL;
	for (int i = 1; i <= list_length(query->rtable); i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);

		deeper = deeper || rte->rtekind == RTE_SUBQUERY;
		if (is_shown(query, i))
			show_sequence(rte, bdr_catalog_function("seq_row"), bdr_check_as_user(query, rte));
	}
	return deeper && query_tree_walker(query, show_sequences, context, 0);
}

/* A row of ours has no place in the sequence, and no system columns. */
static bool
is_shown(const Query *query, int index)
{
	RangeTblEntry *rte = rt_fetch(index, query->rtable);
	SystemColumn search = {index, 0};
	BdrKindRow	row;

	return rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_SEQUENCE && index != query->resultRelation &&
		bdr_kind_read(rte->relid, &row) && !query_tree_walker((Query *) query, has_system_column, &search, 0);
}

static bool
has_system_column(Node *node, void *context)
{
	SystemColumn *search = context;
	bool		found;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == search->rtindex && ((Var *) node)->varlevelsup == search->level &&
			((Var *) node)->varattno < 0;
	if (!IsA(node, Query))
		return expression_tree_walker(node, has_system_column, context);
	search->level++;
	found = query_tree_walker((Query *) node, has_system_column, context, 0);
	search->level--;
	return found;
}

/*
 * The entry stays where it is for the server's check of rights, as that of a
 * view does.
 */
static void
show_sequence(RangeTblEntry *rte, Oid function, Oid reader)
{
	if (!OidIsValid(function))
		return;
	rte->rtekind = RTE_SUBQUERY;
	rte->relkind = RELKIND_VIEW;
	rte->subquery = select_from(function, rte->relid, reader);
	rte->inh = false;
	rte->tablesample = NULL;
}

/*
 * SELECT last_value, log_cnt, is_called FROM bdr.seq_row(relid, reader), which is
 * marked as a call of ours.
 */
static Query *
select_from(Oid function, Oid relid, Oid reader)
{
	static const char *const names[] = {"last_value", "log_cnt", "is_called"};
	static const Oid types[] = {INT8OID, INT8OID, BOOLOID};
	Query	   *query = makeNode(Query);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	RangeTblFunction *call = makeNode(RangeTblFunction);
	RangeTblRef *ref = makeNode(RangeTblRef);
	Const	   *sequence = makeConst(REGCLASSOID, -1, InvalidOid, sizeof(Oid), ObjectIdGetDatum(relid), false, true);
	Const	   *user = makeConst(OIDOID, -1, InvalidOid, sizeof(Oid), ObjectIdGetDatum(reader), false, true);
	List	   *columns = NIL;

	for (int i = 0; i < lengthof(names); i++)
	{
		columns = lappend(columns, makeString(pstrdup(names[i])));
		query->targetList = lappend(query->targetList,
									makeTargetEntry((Expr *) makeVar(1, i + 1, types[i], -1, InvalidOid, 0),
													i + 1, pstrdup(names[i]), false));
	}
	call->funcexpr = (Node *) makeFuncExpr(function, RECORDOID, list_make2(sequence, user), InvalidOid, InvalidOid,
										   BDR_CALL_IS_OURS);
	call->funccolcount = lengthof(names);
	rte->rtekind = RTE_FUNCTION;
	rte->functions = list_make1(call);
	rte->eref = makeAlias("seq_row", columns);
	rte->inFromCl = true;
	ref->rtindex = 1;
	query->commandType = CMD_SELECT;
	query->querySource = QSRC_ORIGINAL;
	query->canSetTag = true;
	query->rtable = list_make1(rte);
	query->jointree = makeFromExpr(list_make1(ref), NULL);
	return query;
}
