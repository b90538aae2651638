/*-------------------------------------------------------------------------
 * session/ddl/table_lock.c
 *		The global locks of tables: of statements, and bdr.global_lock_table().
 *
 * NOTES
 *		The lock is that of a whole tree, so that locks of a partitioned table
 *		and of its partitions meet.  Who asks for several asks in the order of
 *		their names.
 *
 *		Tables that other nodes get no rows of need none, nor does one that the
 *		transaction has made.  Who may not do what the statement does gets no
 *		lock for it: it fails by itself.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/hooks.h"
#include "base/membership.h"
#include "base/settings.h"
#include "base/worker.h"
#include "ddl/queue.h"
#include "session/ddl/table_lock.h"
#include "session/lock/global_lock.h"
#include "session/lock/table_gate.h"
#include "bdr_compat.h"

PG_FUNCTION_INFO_V1(bdr_global_lock_table);
PG_FUNCTION_INFO_V1(bdr_internal_queue_await);

static void process(const BdrUtility *statement);
static List *named_tables(Node *statement);
static List *altered_tables(const AlterTableStmt *alter);
static List *referenced_tables(Node *definition);
static List *dropped_tables(const DropStmt *drop);
static List *truncated_tables(const TruncateStmt *truncate);
static List *add_owned(List *tables, const RangeVar *name);
static Oid	look_up(const RangeVar *name);
static bool may_write(Oid relid, AclMode rights);
static bool take(List *tables);
static bool is_wanted(Oid relid);
static Oid	root_of(Oid relid);
static Oid	parent_of(Oid relid);
static int	compare_names(const ListCell *a, const ListCell *b);
static void tell_peers(void);
static void queue_await(const char *earlier);

void
bdr_table_lock_init(void)
{
	bdr_hooks_on_utility(process);
}

/* TRUNCATE replicates as rows do. */
static void
process(const BdrUtility *statement)
{
	Node	   *node = statement->pstmt->utilityStmt;
	Oid			self;

	if (bdr_truncate_locking && bdr_ddl_locking != BDR_DDL_LOCKING_OFF && IsA(node, TruncateStmt) && !bdr_is_own_worker() &&
		bdr_is_member(&self) && take(truncated_tables((TruncateStmt *) node)))
		tell_peers();
	bdr_hooks_run_utility(statement);
}

void
bdr_table_lock_take_named(Node *statement)
{
	(void) take(named_tables(statement));
}

Datum
bdr_global_lock_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			self;

	if (!bdr_is_member(&self))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is not a member of a node group")));
	if (!bdr_table_gate_is_for(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation with OID %u is not a table of users", relid)));
	if (!may_write(relid, ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(relid));
	if (take(list_make1_oid(relid)))
		tell_peers();
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------------
 * Which tables
 * ---------------------------------------------------------------------
 */
static List *
named_tables(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_AlterTableStmt:
			return altered_tables((AlterTableStmt *) statement);
		case T_RenameStmt:
			return add_owned(NIL, ((RenameStmt *) statement)->relation);
		case T_AlterObjectSchemaStmt:
			return add_owned(NIL, ((AlterObjectSchemaStmt *) statement)->relation);
		case T_IndexStmt:
			return ((IndexStmt *) statement)->concurrent ? NIL : add_owned(NIL, ((IndexStmt *) statement)->relation);
		case T_CreatePolicyStmt:
			return add_owned(NIL, ((CreatePolicyStmt *) statement)->table);
		case T_DropStmt:
			return dropped_tables((DropStmt *) statement);
		default:
			return NIL;
	}
}

static List *
altered_tables(const AlterTableStmt *alter)
{
	List	   *tables = add_owned(NIL, alter->relation);
	ListCell   *lc;

	if (tables == NIL)
		return NIL;
	foreach(lc, alter->cmds)
	{
		const AlterTableCmd *command = lfirst_node(AlterTableCmd, lc);

		if (command->def != NULL)
			tables = list_concat(tables, referenced_tables(command->def));
	}
	return tables;
}

/* By a constraint, or by those of a column. */
static List *
referenced_tables(Node *definition)
{
	List	   *tables = NIL;
	Oid			relid;
	ListCell   *lc;

	if (IsA(definition, ColumnDef))
	{
		foreach(lc, ((ColumnDef *) definition)->constraints)
			tables = list_concat(tables, referenced_tables(lfirst(lc)));
		return tables;
	}
	if (!IsA(definition, Constraint) || ((Constraint *) definition)->contype != CONSTR_FOREIGN)
		return NIL;
	relid = look_up(((Constraint *) definition)->pktable);
	if (!OidIsValid(relid) ||
		(pg_class_aclcheck(relid, GetUserId(), ACL_REFERENCES) != ACLCHECK_OK &&
		 pg_attribute_aclcheck_all(relid, GetUserId(), ACL_REFERENCES, ACLMASK_ANY) != ACLCHECK_OK))
		return NIL;
	return list_make1_oid(relid);
}

static List *
dropped_tables(const DropStmt *drop)
{
	List	   *tables = NIL;
	ListCell   *lc;

	if (drop->removeType != OBJECT_TABLE)
		return NIL;
	foreach(lc, drop->objects)
	{
		Oid			relid = look_up(makeRangeVarFromNameList(lfirst(lc)));

		if (OidIsValid(relid) && (bdr_owns_relation(relid) || bdr_owns_schema(get_rel_namespace(relid))))
			tables = lappend_oid(tables, relid);
	}
	return tables;
}

/* With those that the server finds by foreign keys. */
static List *
truncated_tables(const TruncateStmt *truncate)
{
	List	   *tables = NIL;
	List	   *found;
	ListCell   *lc;

	foreach(lc, truncate->relations)
	{
		Oid			relid = look_up(lfirst(lc));

		if (OidIsValid(relid) && may_write(relid, ACL_TRUNCATE))
			tables = list_append_unique_oid(tables, relid);
	}
	if (truncate->behavior != DROP_CASCADE)
		return tables;
	while ((found = heap_truncate_find_FKs(tables)) != NIL)
		tables = list_concat_unique_oid(tables, found);
	return tables;
}

static List *
add_owned(List *tables, const RangeVar *name)
{
	Oid			relid = name != NULL ? look_up(name) : InvalidOid;

	return OidIsValid(relid) && bdr_owns_relation(relid) ? lappend_oid(tables, relid) : tables;
}

static Oid
look_up(const RangeVar *name)
{
	return RangeVarGetRelid(name, NoLock, true);
}

/* Any of these rights. */
static bool
may_write(Oid relid, AclMode rights)
{
	return pg_class_aclmask(relid, GetUserId(), rights, ACLMASK_ANY) != 0;
}

/* ---------------------------------------------------------------------
 * Taking
 * ---------------------------------------------------------------------
 */

/* Returns whether there was one to take. */
static bool
take(List *tables)
{
	List	   *roots = NIL;
	ListCell   *lc;

	foreach(lc, tables)
	{
		if (is_wanted(lfirst_oid(lc)))
			roots = list_append_unique_oid(roots, root_of(lfirst_oid(lc)));
	}
	list_sort(roots, compare_names);
	foreach(lc, roots)
		bdr_global_lock_take_table(lfirst_oid(lc));
	return roots != NIL;
}

/*
 * A lock that stayed would be in the way of the one that the statement takes.
 */
static bool
is_wanted(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		is_wanted;

	if (rel == NULL)
		return false;
	is_wanted = bdr_table_gate_is_for(relid) && rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT &&
		rel->rd_createSubid == InvalidSubTransactionId;
	relation_close(rel, AccessShareLock);
	return is_wanted;
}

static Oid
root_of(Oid relid)
{
	for (Oid above = parent_of(relid); OidIsValid(above); above = parent_of(relid))
		relid = above;
	return relid;
}

/* The first one, as all nodes have them in the same order. */
static Oid
parent_of(Oid relid)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			parent;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	parent = HeapTupleIsValid(tuple) ? ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent : InvalidOid;
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return parent;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	Oid			one = lfirst_oid(a);
	Oid			other = lfirst_oid(b);
	int			order = strcmp(get_namespace_name(get_rel_namespace(one)), get_namespace_name(get_rel_namespace(other)));

	return order != 0 ? order : strcmp(get_rel_name(one), get_rel_name(other));
}

/*
 * What follows must come behind what others wrote to the table, on each node.
 */
static void
tell_peers(void)
{
	if (bdr_global_lock_earlier() != NULL)
		queue_await(bdr_global_lock_earlier());
}

/* The manager's: users write to the table from now on. */
Datum
bdr_internal_queue_await(PG_FUNCTION_ARGS)
{
	queue_await(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

static void
queue_await(const char *earlier)
{
	BdrStatement nothing;

	bdr_statement_describe(&nothing, "");
	bdr_statement_set_earlier(&nothing, earlier);
	bdr_queue_add(&nothing);
}
