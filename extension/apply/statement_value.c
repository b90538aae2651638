/*-------------------------------------------------------------------------
 * apply/statement_value.c
 *		What new columns have in the rows that are there.
 *
 * NOTES
 *		What the origin has found stands in for the default, which is set behind
 *		it, in the same ALTER TABLE.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/parsenodes.h"

#include "apply/statement_value.h"

static AlterTableCmd *use_value(ColumnDef *column, const BdrStatement *statement);
static Node *literal(const char *value);

void
bdr_statement_use_values(Node *node, const BdrStatement *statement)
{
	AlterTableStmt *alter = (AlterTableStmt *) node;
	List	   *defaults = NIL;
	ListCell   *lc;

	if (!IsA(node, AlterTableStmt))
		return;
	foreach(lc, alter->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);
		AlterTableCmd *next = cmd->subtype == AT_AddColumn ? use_value(castNode(ColumnDef, cmd->def), statement) : NULL;

		if (next != NULL)
			defaults = lappend(defaults, next);
	}
	alter->cmds = list_concat(alter->cmds, defaults);
}

/* NULL: the origin has told of none. */
static AlterTableCmd *
use_value(ColumnDef *column, const BdrStatement *statement)
{
	AlterTableCmd *set;
	const char *value;
	ListCell   *lc;

	if (!bdr_statement_value_of(statement, column->colname, &value))
		return NULL;
	foreach(lc, column->constraints)
	{
		Constraint *constraint = lfirst(lc);

		if (constraint->contype != CONSTR_DEFAULT)
			continue;
		set = makeNode(AlterTableCmd);
		set->subtype = AT_ColumnDefault;
		set->name = column->colname;
		set->def = constraint->raw_expr;
		set->behavior = DROP_RESTRICT;
		constraint->raw_expr = literal(value);
		return set;
	}
	return NULL;
}

static Node *
literal(const char *value)
{
	A_Const    *constant = makeNode(A_Const);

	constant->location = -1;
	constant->isnull = value == NULL;
	if (value != NULL)
	{
		constant->val.sval.type = T_String;
		constant->val.sval.sval = pstrdup(value);
	}
	return (Node *) constant;
}
