/*-------------------------------------------------------------------------
 * session/ddl/form.c
 *		Forms of commands that are not what the table of commands says.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/bdr.h"
#include "base/settings.h"
#include "session/ddl/column_type.h"
#include "session/ddl/form.h"
#include "session/ddl/value.h"
#include "session/rows.h"
#include "bdr_compat.h"

static bool is_kept_here(ObjectType type);
static bool is_of_this_database(const GrantStmt *grant);
static bool is_about_roles(Node *statement);
static bool is_about_bdr(Node *statement);
static bool is_leftover(const char *name);
static bool is_invalid(const RangeVar *name);
static void check_indexes(Node *statement);
static void check_index(const RangeVar *name);
static void check_column(Oid relid, AlterTableCmd *cmd, const char *query, BdrStatement *described);
static bool differs(Oid relid, Node *raw, const char *query);
static bool tells_time(Node *node, void *context);

bool
bdr_form_is_local(Node *statement)
{
	if (is_about_roles(statement) && !bdr_role_replication)
		return true;
	switch (nodeTag(statement))
	{
		case T_CommentStmt:
			return is_kept_here(((CommentStmt *) statement)->objtype);
		case T_SecLabelStmt:
			return is_kept_here(((SecLabelStmt *) statement)->objtype);
		case T_GrantStmt:
			return is_kept_here(((GrantStmt *) statement)->objtype) && !is_of_this_database((GrantStmt *) statement);
		case T_AlterRoleSetStmt:
			/* the database has another name on another node */
			return ((AlterRoleSetStmt *) statement)->database != NULL;
		default:
			return is_about_bdr(statement);
	}
}

static bool
is_kept_here(ObjectType type)
{
	return type == OBJECT_DATABASE || type == OBJECT_TABLESPACE || type == OBJECT_LARGEOBJECT || type == OBJECT_SUBSCRIPTION;
}

/* Other nodes have it under another name, perhaps. */
static bool
is_of_this_database(const GrantStmt *grant)
{
	return grant->objtype == OBJECT_DATABASE && list_length(grant->objects) == 1 &&
		get_database_oid(strVal(linitial(grant->objects)), true) == MyDatabaseId;
}

static bool
is_about_roles(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreateRoleStmt:
		case T_AlterRoleStmt:
		case T_AlterRoleSetStmt:
		case T_DropRoleStmt:
		case T_GrantRoleStmt:
			return true;
		case T_RenameStmt:
			return ((RenameStmt *) statement)->renameType == OBJECT_ROLE;
		case T_CommentStmt:
			return ((CommentStmt *) statement)->objtype == OBJECT_ROLE;
		case T_SecLabelStmt:
			return ((SecLabelStmt *) statement)->objtype == OBJECT_ROLE;
		default:
			return false;
	}
}

static bool
is_about_bdr(Node *statement)
{
	const char *name = NULL;

	if (IsA(statement, CreateExtensionStmt))
		name = ((CreateExtensionStmt *) statement)->extname;
	else if (IsA(statement, AlterExtensionStmt))
		name = ((AlterExtensionStmt *) statement)->extname;
	else if (IsA(statement, AlterExtensionContentsStmt))
		name = ((AlterExtensionContentsStmt *) statement)->extname;
	return name != NULL && strcmp(name, BDR_EXTENSION) == 0;
}

/* ---------------------------------------------------------------------
 * Indexes that other nodes may not have
 * ---------------------------------------------------------------------
 */

/*
 * REINDEX CONCURRENTLY that fails leaves one on this node only, and what rewrites
 * the table makes it valid.  DROP INDEX CONCURRENTLY that fails leaves one on all;
 * so does CREATE INDEX CONCURRENTLY, but for nodes that joined since.
 */
bool
bdr_form_drops_odd_index(DropStmt *drop)
{
	ListCell   *lc;

	if (drop->removeType != OBJECT_INDEX)
		return false;
	foreach(lc, drop->objects)
	{
		RangeVar   *name = makeRangeVarFromNameList(lfirst(lc));

		if (is_leftover(name->relname) || is_invalid(name))
			return true;
	}
	return false;
}

/* The suffixes are those of ReindexRelationConcurrently(); a number makes them unique. */
static bool
is_leftover(const char *name)
{
	int			len = strlen(name);

	while (len > 0 && isdigit((unsigned char) name[len - 1]))
		len--;
	return len > 6 && (strncmp(name + len - 6, "_ccnew", 6) == 0 || strncmp(name + len - 6, "_ccold", 6) == 0);
}

static bool
is_invalid(const RangeVar *name)
{
	Oid			relid = RangeVarGetRelid(name, NoLock, true);
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(relid));
	bool		is_invalid = HeapTupleIsValid(tuple) && !((Form_pg_index) GETSTRUCT(tuple))->indisvalid;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return is_invalid;
}

static void
check_indexes(Node *statement)
{
	ListCell   *lc;

	switch (nodeTag(statement))
	{
		case T_RenameStmt:
			check_index(((RenameStmt *) statement)->relation);
			break;
		case T_AlterTableStmt:
			check_index(((AlterTableStmt *) statement)->relation);
			foreach(lc, ((AlterTableStmt *) statement)->cmds)
			{
				AlterTableCmd *cmd = lfirst(lc);

				if (cmd->subtype == AT_AttachPartition)
					check_index(((PartitionCmd *) cmd->def)->name);
			}
			break;
		case T_CommentStmt:
			if (((CommentStmt *) statement)->objtype == OBJECT_INDEX)
				check_index(makeRangeVarFromNameList(castNode(List, ((CommentStmt *) statement)->object)));
			break;
		default:
			break;
	}
}

static void
check_index(const RangeVar *name)
{
	if (name == NULL || !is_leftover(name->relname) || !is_invalid(name))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("index \"%s\" is not valid, and on this node only", name->relname),
			 errdetail("A REINDEX CONCURRENTLY that failed has left it."),
			 errhint("Drop it with DROP INDEX.")));
}

/* ---------------------------------------------------------------------
 * Values that each node would make for itself
 * ---------------------------------------------------------------------
 */
void
bdr_form_check(Node *statement, const char *query, BdrStatement *described)
{
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	Oid			relid;
	ListCell   *lc;

	check_indexes(statement);
	if (!IsA(statement, AlterTableStmt))
		return;
	relid = RangeVarGetRelid(alter->relation, NoLock, true);
	if (!OidIsValid(relid) || !bdr_owns_relation(relid) || get_rel_persistence(relid) == RELPERSISTENCE_TEMP)
		return;					/* the server says what is wrong */
	foreach(lc, alter->cmds)
		check_column(relid, lfirst(lc), query, described);
}

static void
check_column(Oid relid, AlterTableCmd *cmd, const char *query, BdrStatement *described)
{
	ColumnDef  *column = (ColumnDef *) cmd->def;
	bool		refused = false;

	if (cmd->subtype == AT_AlterColumnType)
		refused = differs(relid, column->raw_default, query);
	else if (cmd->subtype == AT_SetLogged)
		bdr_column_type_check_table(relid);
	else if (cmd->subtype == AT_AddColumn)
		refused = !bdr_values_describe(described, relid, column, cmd->missing_ok, query);
	if (refused && bdr_table_has_rows(relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot give the rows of table \"%s\" values that differ from node to node", get_rel_name(relid)),
				 errdetail("The statement runs on every node, and an expression in it is volatile, or tells the time in USING."),
				 errhint("Add the column without a default, set the default with ALTER COLUMN, and UPDATE the rows.")));
}

static bool
differs(Oid relid, Node *raw, const char *query)
{
	ParseState *pstate;
	Relation	rel;
	Node	   *expression;

	if (raw == NULL)
		return false;
	rel = table_open(relid, AccessShareLock);
	pstate = make_parsestate(NULL);
	pstate->p_sourcetext = query;
	addNSItemToQuery(pstate, addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true),
					 false, true, true);
	expression = transformExpr(pstate, copyObject(raw), EXPR_KIND_ALTER_COL_TRANSFORM);
	free_parsestate(pstate);
	table_close(rel, AccessShareLock);
	return contain_volatile_functions(expression) || tells_time(expression, NULL);
}

static bool
tells_time(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SQLValueFunction) && ((SQLValueFunction *) node)->op <= SVFOP_LOCALTIMESTAMP_N)
		return true;
	if (IsA(node, FuncExpr) && (((FuncExpr *) node)->funcid == F_NOW || ((FuncExpr *) node)->funcid == F_TRANSACTION_TIMESTAMP ||
								((FuncExpr *) node)->funcid == F_STATEMENT_TIMESTAMP))
		return true;
	return expression_tree_walker(node, tells_time, context);
}
