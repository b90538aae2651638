/*-------------------------------------------------------------------------
 * session/ddl/locking.c
 *		The global locks of a statement that runs on every node.
 *
 * NOTES
 *		Which command needs which is in ddl/command.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "nodes/parsenodes.h"

#include "base/settings.h"
#include "ddl/command.h"
#include "session/ddl/locking.h"
#include "session/ddl/table_lock.h"
#include "session/ddl/touched.h"
#include "session/lock/global_lock.h"

static bool makes_temporary(Node *statement);
static bool stands_alone(Node *statement);
static bool element_stands_alone(Node *element);

void
bdr_locking_take(Node *statement, int setting, bool about_temporary)
{
	int			locks;

	if (setting == BDR_DDL_LOCKING_OFF || about_temporary || makes_temporary(statement))
		return;
	locks = bdr_command_locks(statement);
	if (setting == BDR_DDL_LOCKING_ALL && (locks & BDR_COMMAND_LOCK_DDL))
		bdr_global_lock_take_ddl(stands_alone(statement));
	if (locks & BDR_COMMAND_LOCK_DML)
		bdr_table_lock_take_named(statement);
}

int
bdr_locking_setting(const char *name)
{
	for (const struct config_enum_entry *entry = bdr_ddl_locking_names; entry->name != NULL; entry++)
	{
		if (pg_strcasecmp(entry->name, name) == 0)
			return entry->val;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown value \"%s\" of ddl_locking", name),
			 errhint("Use off, dml or all.")));
}

/* What is not there yet, and so not to be found. */
static bool
makes_temporary(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreateStmt:
			return bdr_touched_makes_temporary(((CreateStmt *) statement)->relation);
		case T_CreateTableAsStmt:
			return bdr_touched_makes_temporary(((CreateTableAsStmt *) statement)->into->rel);
		case T_CreateSeqStmt:
			return bdr_touched_makes_temporary(((CreateSeqStmt *) statement)->sequence);
		case T_ViewStmt:
			return bdr_touched_makes_temporary(((ViewStmt *) statement)->view);
		default:
			return false;
	}
}

/*
 * A table that has to do with nothing that another node may be changing: all
 * that can go wrong is that another one makes the same name, which stops both
 * streams until one of the tables is renamed.
 */
static bool
stands_alone(Node *statement)
{
	CreateStmt *create = (CreateStmt *) statement;
	ListCell   *lc;

	if (!IsA(statement, CreateStmt) || create->inhRelations != NIL || create->ofTypename != NULL)
		return false;
	foreach(lc, create->tableElts)
	{
		if (!element_stands_alone(lfirst(lc)))
			return false;
	}
	return true;
}

/* No LIKE, and no foreign key. */
static bool
element_stands_alone(Node *element)
{
	ListCell   *lc;

	if (IsA(element, Constraint))
		return ((Constraint *) element)->contype != CONSTR_FOREIGN;
	if (!IsA(element, ColumnDef))
		return false;
	foreach(lc, ((ColumnDef *) element)->constraints)
	{
		if (!element_stands_alone(lfirst(lc)))
			return false;
	}
	return true;
}
