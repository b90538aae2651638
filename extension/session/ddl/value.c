/*-------------------------------------------------------------------------
 * session/ddl/value.c
 *		What new columns have in the rows that are there.
 *
 * NOTES
 *		ADD COLUMN ... DEFAULT now() takes the time once, for all rows.  Another
 *		node would take another one, so it is told the value, and takes that; the
 *		default behind it is the same (apply/statement_value.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/heap.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "parser/parse_node.h"
#include "parser/parse_type.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "session/ddl/value.h"

static Node *default_of(const ColumnDef *column);
static void describe(BdrStatement *statement, const ColumnDef *column, Node *expression, Oid type);

bool
bdr_values_describe(BdrStatement *statement, Oid relid, const ColumnDef *column, bool missing_ok, const char *query)
{
	Node	   *raw = default_of(column);
	ParseState *pstate;
	Node	   *expression;
	Oid			type;
	int32		typmod;

	if (raw == NULL || (missing_ok && get_attnum(relid, column->colname) != InvalidAttrNumber))
		return true;
	pstate = make_parsestate(NULL);
	pstate->p_sourcetext = query;
	typenameTypeIdAndMod(pstate, column->typeName, &type, &typmod);
	expression = cookDefault(pstate, copyObject(raw), type, typmod, column->colname, '\0');
	free_parsestate(pstate);
	if (contain_volatile_functions(expression))
		return false;
	if (contain_mutable_functions(expression))
		describe(statement, column, expression, type);
	return true;
}

static Node *
default_of(const ColumnDef *column)
{
	ListCell   *lc;

	foreach(lc, column->constraints)
	{
		Constraint *constraint = lfirst(lc);

		if (constraint->contype == CONSTR_DEFAULT)
			return constraint->raw_expr;
	}
	return NULL;
}

static void
describe(BdrStatement *statement, const ColumnDef *column, Node *expression, Oid type)
{
	EState	   *estate = CreateExecutorState();
	ExprState  *state = ExecPrepareExpr((Expr *) expression, estate);
	bool		isnull;
	Datum		value = ExecEvalExprSwitchContext(state, GetPerTupleExprContext(estate), &isnull);
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(type, &output, &is_varlena);
	bdr_statement_add_value(statement, column->colname, isnull ? NULL : OidOutputFunctionCall(output, value));
	FreeExecutorState(estate);
}
