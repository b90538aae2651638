/*-------------------------------------------------------------------------
 * session/attribute_version.c
 *		Options of columns that belong to the server that was dumped.
 *
 * NOTES
 *		Minor releases of November 2026 (15.20, 17.12) keep the WAL position of a
 *		column's definition among its options, as pg_attver.  Their pg_dump leaves
 *		it out.  That of an older minor of a newer major dumps it as an option of
 *		the user's, and no server takes it from a statement: neither a join nor
 *		pg_upgrade would get from a 15.20 to an 18.6.  It means nothing elsewhere,
 *		so it is dropped where a dump is restored.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "nodes/parsenodes.h"

#include "base/hooks.h"
#include "session/attribute_version.h"

#define ATTRIBUTE_VERSION		"pg_attver"

static void process(const BdrUtility *s);
static bool sets_version(AlterTableStmt *stmt);
static bool is_version(Node *option);
static void drop_version(AlterTableStmt *stmt);

/* For sessions that restore a dump, and servers that pg_upgrade has started. */
void
bdr_attribute_version_init(void)
{
	bdr_hooks_on_utility(process);
}

static void
process(const BdrUtility *s)
{
	BdrUtility	changed = *s;

	if (IsA(s->pstmt->utilityStmt, AlterTableStmt) && sets_version((AlterTableStmt *) s->pstmt->utilityStmt))
	{
		if (s->read_only_tree)
			changed.pstmt = copyObject(s->pstmt);
		changed.read_only_tree = false;
		drop_version((AlterTableStmt *) changed.pstmt->utilityStmt);
	}
	bdr_hooks_run_utility(&changed);
}

static bool
sets_version(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = (AlterTableCmd *) lfirst(lc);
		ListCell   *option;

		if (cmd->subtype != AT_SetOptions)
			continue;
		foreach(option, (List *) cmd->def)
			if (is_version(lfirst(option)))
				return true;
	}
	return false;
}

static bool
is_version(Node *option)
{
	return IsA(option, DefElem) && ((DefElem *) option)->defnamespace == NULL &&
		strcmp(((DefElem *) option)->defname, ATTRIBUTE_VERSION) == 0;
}

/* Setting no option is no error. */
static void
drop_version(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = (AlterTableCmd *) lfirst(lc);
		List	   *kept = NIL;
		ListCell   *option;

		if (cmd->subtype != AT_SetOptions)
			continue;
		foreach(option, (List *) cmd->def)
			if (!is_version(lfirst(option)))
				kept = lappend(kept, lfirst(option));
		cmd->def = (Node *) kept;
	}
}
