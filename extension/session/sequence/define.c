/*-------------------------------------------------------------------------
 * session/sequence/define.c
 *		What DDL does to sequences: a new one gets its kind, one that is not local
 *		keeps its page.
 *
 * NOTES
 *		A sequence that ALTER TABLE makes gets its kind when the statement has
 *		ended: the values that it gives the rows that are there are the server's.
 *		Each node would give others to its rows, so that is refused when there
 *		are other nodes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_sequence.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/bdr.h"
#include "base/hooks.h"
#include "base/membership.h"
#include "base/sequence.h"
#include "base/tables.h"
#include "session/restore.h"
#include "session/rows.h"
#include "session/sequence/copy.h"
#include "session/sequence/define.h"
#include "session/sequence/function.h"
#include "session/sequence/install.h"
#include "session/sequence/kind.h"
#include "bdr_compat.h"

static void process(const BdrUtility *statement);
static bool gives_new_pages(Node *node);
static void process_with_pages(const BdrUtility *statement);
static void give_kinds(const List *relations);
static void give_kind(Oid relid);
static bool may_have_kind(Oid relid);
static void check_alter_sequence(AlterSeqStmt *stmt);
static bool is_alterable(const BdrSequenceMethod *method, const char *option);
static void check_alter_table(AlterTableStmt *stmt);
static bool adds_sequence(Oid relid, AlterTableCmd *cmd);
static bool is_serial(const TypeName *type);
static bool calls_nextval(Node *node, void *context);
static bool is_dropping_bdr(DropStmt *stmt);
static void make_way(void);
static void accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);

void
bdr_sequence_define_init(void)
{
	bdr_hooks_on_utility(process);
	bdr_hooks_on_access(accessed);
	bdr_hooks_on_created(give_kinds);
}

static void
process(const BdrUtility *statement)
{
	Node	   *node = statement->pstmt->utilityStmt;

	switch (nodeTag(node))
	{
		case T_CopyStmt:
			if (bdr_sequence_copy(statement))
				return;
			break;
		case T_AlterSeqStmt:
			check_alter_sequence((AlterSeqStmt *) node);
			break;
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) node);
			break;
		case T_DropStmt:
			if (is_dropping_bdr((DropStmt *) node))
				make_way();
			break;
		default:
			break;
	}
	if (gives_new_pages(node))
		process_with_pages(statement);
	else
		bdr_hooks_run_utility(statement);
	if (IsA(node, DiscardStmt) && (((DiscardStmt *) node)->target == DISCARD_ALL ||
								   ((DiscardStmt *) node)->target == DISCARD_SEQUENCES))
		bdr_sequence_discard();
}

static bool
gives_new_pages(Node *node)
{
	return IsA(node, AlterTableStmt) || IsA(node, AlterSeqStmt) ||
		(IsA(node, TruncateStmt) && ((TruncateStmt *) node)->restart_seqs);
}

static void
process_with_pages(const BdrUtility *statement)
{
	List	   *pages = bdr_sequence_note_pages();

	bdr_hooks_run_utility(statement);
	bdr_sequence_carry_over(pages);
}

/* ---------------------------------------------------------------------
 * New sequences, and those that go
 * ---------------------------------------------------------------------
 */

static void
accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (access == OAT_DROP && class == RelationRelationId && sub == 0 && get_rel_relkind(object) == RELKIND_SEQUENCE &&
		OidIsValid(bdr_catalog_relation("sequence_kind")) && !bdr_catalog_has(object))
		bdr_kind_delete(object);
}

static void
give_kinds(const List *relations)
{
	List	   *sequences = NIL;
	Oid			node;
	ListCell   *lc;

	if (bdr_internal_restore)
		return;
	foreach(lc, relations)
	{
		if (may_have_kind(lfirst_oid(lc)))
			sequences = lappend_oid(sequences, lfirst_oid(lc));
	}
	if (sequences == NIL || !bdr_is_member(&node) || !bdr_sequence_is_installed())
		return;
	foreach(lc, sequences)
		give_kind(lfirst_oid(lc));
}

static bool
may_have_kind(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;
	bool		may;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_class) GETSTRUCT(tuple);
	may = form->relkind == RELKIND_SEQUENCE && form->relpersistence == RELPERSISTENCE_PERMANENT;
	ReleaseSysCache(tuple);
	return may && !bdr_catalog_has(relid);
}

static void
give_kind(Oid relid)
{
	FormData_pg_sequence form = bdr_sequence_look(relid)->form;
	const BdrSequenceMethod *method = bdr_sequence_method_default(&form);
	BdrKindRow	row;

	if (!bdr_sequence_is_local(method) && !bdr_kind_read(relid, &row))
		bdr_sequence_take_kind(relid, method, bdr_sequence_new_key_of(relid), 0);
}

/* ---------------------------------------------------------------------
 * Statements about sequences that are not local
 * ---------------------------------------------------------------------
 */

/*
 * What it says would change this node's values only, or nothing.
 */
static void
check_alter_sequence(AlterSeqStmt *stmt)
{
	Oid			relid = RangeVarGetRelid(stmt->sequence, NoLock, true);
	const BdrSequenceMethod *method;
	BdrKindRow	row;
	ListCell   *lc;

	if (!OidIsValid(relid) || !bdr_kind_read(relid, &row))
		return;
	method = bdr_sequence_method(row.letter);
	if (bdr_sequence_is_local(method) && bdr_owns_relation(relid))
		bdr_sequence_settle_local(relid);
	foreach(lc, stmt->options)
	{
		const char *option = ((DefElem *) lfirst(lc))->defname;

		if (!bdr_sequence_is_local(method) && !is_alterable(method, option))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot alter %s of sequence \"%s\" of kind %s", option, get_rel_name(relid), method->name),
					 errhint("Make it local with bdr.alter_sequence_set_kind(), alter it on every node, and change its kind back.")));
	}
}

static bool
is_alterable(const BdrSequenceMethod *method, const char *option)
{
	if (strcmp(option, "owned_by") == 0)
		return true;
	for (const char *const *name = method->alterable; name != NULL && *name != NULL; name++)
	{
		if (strcmp(*name, option) == 0)
			return true;
	}
	return false;
}

static void
check_alter_table(AlterTableStmt *stmt)
{
	Oid			relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	Oid			node;
	bool		adds = false;
	ListCell   *lc;

	if (!OidIsValid(relid))
		return;
	foreach(lc, stmt->cmds)
		adds = adds || adds_sequence(relid, lfirst(lc));
	if (!adds || get_rel_persistence(relid) != RELPERSISTENCE_PERMANENT || !bdr_owns_relation(relid) || bdr_internal_restore ||
		!bdr_is_member(&node) || bdr_count_members() < 2 || !bdr_table_has_rows(relid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot add a column with values of a sequence to table \"%s\", which has rows", get_rel_name(relid)),
			 errdetail("Every node would give other values to the same rows."),
			 errhint("On every node add the column without a default and set the default with ALTER COLUMN; then UPDATE the rows on one node.")));
}

static bool
adds_sequence(Oid relid, AlterTableCmd *cmd)
{
	ColumnDef  *column = (ColumnDef *) cmd->def;
	ListCell   *lc;

	if (cmd->subtype != AT_AddColumn || (cmd->missing_ok && get_attnum(relid, column->colname) != InvalidAttrNumber))
		return false;
	if (column->identity || (column->typeName != NULL && is_serial(column->typeName)) ||
		calls_nextval(column->raw_default, NULL))
		return true;
	foreach(lc, column->constraints)
	{
		Constraint *constraint = lfirst(lc);

		if (constraint->contype == CONSTR_IDENTITY ||
			(constraint->contype == CONSTR_DEFAULT && calls_nextval(constraint->raw_expr, NULL)))
			return true;
	}
	return false;
}

/* As the server's parser looks for them. */
static bool
is_serial(const TypeName *type)
{
	static const char *const names[] = {"smallserial", "serial2", "serial", "serial4", "bigserial", "serial8"};

	if (list_length(type->names) != 1 || type->pct_type)
		return false;
	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(strVal(linitial(type->names)), names[i]) == 0)
			return true;
	}
	return false;
}

static bool
calls_nextval(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncCall) && strcmp(strVal(llast(((FuncCall *) node)->funcname)), "nextval") == 0)
		return true;
	return raw_expression_tree_walker(node, calls_nextval, context);
}

static bool
is_dropping_bdr(DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_EXTENSION || !superuser() || !OidIsValid(bdr_catalog_extension()))
		return false;			/* the server says why not */
	foreach(lc, stmt->objects)
	{
		if (strcmp(strVal(lfirst(lc)), BDR_EXTENSION) == 0)
			return true;
	}
	return false;
}

/*
 * The server's functions depend on ours until they are not redirected any more.
 * The manager, which redirects them, comes before or after us.
 */
static void
make_way(void)
{
	LockDatabaseObject(ExtensionRelationId, bdr_catalog_extension(), 0, AccessExclusiveLock);
	if (OidIsValid(bdr_catalog_extension()))
		bdr_sequence_uninstall();
}
