/*-------------------------------------------------------------------------
 * session/restore.c
 *		What a join restores, as whom: rows and checks of a table as the
 *		table's owner.
 *
 * NOTES
 *		A session that starts with bdr.internal_restore = on, which only a
 *		superuser's can, carries out the statements of pg_restore and of the
 *		copy in gosrc/membership.  Whatever evaluates expressions of a table
 *		over its rows does so as its owner in a security-restricted operation,
 *		as where a peer's changes are applied (base/user_context.c).  Names are looked
 *		up as ourselves: privileges of owners are restored later.
 *
 *		COPY FROM			the table is opened, locked and looked at here; no
 *							trigger fires: rows are copied as they are
 *		ADD CHECK			NOT VALID as ourselves, then validated as the owner
 *		ATTACH PARTITION	as the owner of both, who may look up both
 *		SET (pg_attver)		left out: it is the source's own
 *		TRUNCATE			without triggers
 *		CREATE INDEX, REFRESH MATERIALIZED VIEW		PostgreSQL does it itself
 *
 *		All the rest is behind session/restore_code.c.  What a statement changes of
 *		the session's settings, besides SET, goes with it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "commands/typecmds.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/hooks.h"
#include "base/user_context.h"
#include "session/restore.h"
#include "bdr_compat.h"

/* Who we were before we acted as somebody. */
typedef struct Self
{
	BdrRights	rights;
	bool		trusted;
} Self;

/* A table whose triggers are out of sight. */
typedef struct SilentTable
{
	Relation	rel;
	TriggerDesc *triggers;
} SilentTable;

/* ATTRIBUTE_VERSION_ATTOPTION of the servers that have it. */
#define BDR_COLUMN_VERSION_OPTION	"pg_attver"

bool		bdr_internal_restore = false;

static bool is_hooked = false;

static void process(const BdrUtility *s);
static void outermost(const BdrUtility *s);
static bool keeps_settings(Node *stmt);
static void dispatch(const BdrUtility *s);
static Self become(Oid owner);
static Self act_for(Relation rel);
static bool has_trusted_types(TupleDesc desc);
static bool is_trusted_type(Oid typid);
static void act_back(const Self *self);
static void copy_in(const BdrUtility *s, CopyStmt *stmt);
static void check_target(Relation rel);
static uint64 fill(const BdrUtility *s, CopyStmt *stmt, Relation rel);
static SilentTable silence(Relation rel);
static void speak(SilentTable *silent);
static void alter_table(const BdrUtility *s, AlterTableStmt *stmt);
static void forget_column_versions(AlterTableStmt *stmt);
static List *delay_checks(AlterTableStmt *stmt);
static void validate_checks(RangeVar *name, List *checks);
static Oid	owner_of_both(RangeVar *parent, RangeVar *partition);
static bool may_look_up(Oid owner, Oid schema);
static void alter_domain(const BdrUtility *s, AlterDomainStmt *stmt);
static void truncate_silently(const BdrUtility *s, TruncateStmt *stmt);

/* The start of a session; the hooks stay in it. */
void
bdr_restore_assign(bool newval, void *extra)
{
	if (!newval || is_hooked)
		return;
	is_hooked = true;
	bdr_hooks_on_utility(process);
	bdr_restore_code_init();
}

static void
process(const BdrUtility *s)
{
	if (s->context != PROCESS_UTILITY_TOPLEVEL || bdr_restore_code.statements > 0)
	{
		bdr_hooks_run_utility(s);
		return;
	}
	bdr_restore_code_forget();
	bdr_restore_code.statements = 1;
	PG_TRY();
	{
		outermost(s);
	}
	PG_FINALLY();
	{
		bdr_restore_code.statements = 0;
		bdr_restore_code.guc_level = 0;
	}
	PG_END_TRY();
}

static void
outermost(const BdrUtility *s)
{
	if (keeps_settings(s->pstmt->utilityStmt) || !IsTransactionBlock())
	{
		dispatch(s);
		return;
	}
	bdr_restore_code.guc_level = NewGUCNestLevel();
	dispatch(s);
	AtEOXact_GUC(false, bdr_restore_code.guc_level);
}

static bool
keeps_settings(Node *stmt)
{
	return IsA(stmt, VariableSetStmt) || IsA(stmt, TransactionStmt) || IsA(stmt, DiscardStmt);
}

static void
dispatch(const BdrUtility *s)
{
	Node	   *stmt = s->pstmt->utilityStmt;

	switch (nodeTag(stmt))
	{
		case T_CopyStmt:
			copy_in(s, (CopyStmt *) stmt);
			break;
		case T_AlterTableStmt:
			alter_table(s, (AlterTableStmt *) stmt);
			break;
		case T_AlterDomainStmt:
			alter_domain(s, (AlterDomainStmt *) stmt);
			break;
		case T_TruncateStmt:
			truncate_silently(s, (TruncateStmt *) stmt);
			break;
		case T_RefreshMatViewStmt:
			/* as its owner */
			bdr_restore_code.trusted = true;
			bdr_hooks_run_utility(s);
			break;
		default:
			bdr_hooks_run_utility(s);
			break;
	}
}

/*
 * Act as an owner; InvalidOid: a superuser, whose expressions are trusted.  An
 * error takes all of it back.
 */
static Self
become(Oid owner)
{
	Self		self = {.trusted = bdr_restore_code.trusted};

	if (!OidIsValid(owner))
		bdr_restore_code.trusted = true;
	bdr_rights_take(OidIsValid(owner) ? owner : GetUserId(), &self.rights);
	return self;
}

/*
 * As who the code of a table runs.  A superuser's table may have types of
 * others, whose checks are not a superuser's.
 */
static Self
act_for(Relation rel)
{
	Oid			owner = bdr_user_of_table(rel);
	Self		self = become(owner);

	if (!OidIsValid(owner) && !has_trusted_types(RelationGetDescr(rel)))
		bdr_restore_code.trusted = self.trusted;
	return self;
}

static bool
has_trusted_types(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && !is_trusted_type(attribute->atttypid))
			return false;
	}
	return true;
}

/*
 * A superuser's, and so are those that it is made of.
 */
static bool
is_trusted_type(Oid typid)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	FormData_pg_type type;
	TupleDesc	row;
	bool		trusted;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typid);
	type = *(Form_pg_type) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);
	check_stack_depth();
	if (typid < FirstNormalObjectId)
		return true;
	if (!superuser_arg(type.typowner) ||
		(OidIsValid(type.typelem) && !is_trusted_type(type.typelem)))
		return false;
	switch (type.typtype)
	{
		case TYPTYPE_DOMAIN:
			return is_trusted_type(type.typbasetype);
		case TYPTYPE_RANGE:
			return is_trusted_type(get_range_subtype(typid));
		case TYPTYPE_MULTIRANGE:
			return is_trusted_type(get_multirange_range(typid));
		case TYPTYPE_COMPOSITE:
			row = lookup_rowtype_tupdesc(typid, -1);
			trusted = has_trusted_types(row);
			ReleaseTupleDesc(row);
			return trusted;
		default:
			return true;
	}
}

static void
act_back(const Self *self)
{
	bdr_rights_restore(&self->rights);
	bdr_restore_code.trusted = self->trusted;
}

/*
 * COPY of a query reads what an extension says of its own tables.
 */
static void
copy_in(const BdrUtility *s, CopyStmt *stmt)
{
	Relation	rel;
	uint64		processed;

	if (!stmt->is_from || stmt->relation == NULL || stmt->filename != NULL || stmt->whereClause != NULL)
	{
		bdr_restore_code.trusted = stmt->query != NULL;
		bdr_hooks_run_utility(s);
		return;
	}
	if (XactReadOnly)
		PreventCommandIfReadOnly("COPY FROM");
	rel = table_openrv(stmt->relation, RowExclusiveLock);
	check_target(rel);
	processed = fill(s, stmt, rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	if (s->completion)
		SetQueryCompletion(s->completion, CMDTAG_COPY, processed);
}

static void
check_target(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not an ordinary permanent table", RelationGetRelationName(rel)),
				 errhint("Drop it and create the table that the source of the join has.")));
}

static uint64
fill(const BdrUtility *s, CopyStmt *stmt, Relation rel)
{
	ParseState *pstate = make_parsestate(NULL);
	Self		self = act_for(rel);
	CopyFromState copy;
	SilentTable silent;
	uint64		processed = 0;

	pstate->p_sourcetext = s->query;
	addRangeTableEntryForRelation(pstate, rel, RowExclusiveLock, NULL, false, false);
	copy = BeginCopyFrom(pstate, rel, NULL, NULL, false, NULL, stmt->attlist, stmt->options);
	silent = silence(rel);
	PG_TRY();
	{
		processed = CopyFrom(copy);
	}
	PG_FINALLY();
	{
		speak(&silent);
	}
	PG_END_TRY();
	EndCopyFrom(copy);
	free_parsestate(pstate);
	act_back(&self);
	return processed;
}

/*
 * The executor takes a table's triggers from here.  We hold a lock, under which
 * they do not change; should the entry be built again nevertheless, functions of
 * triggers run as their owners.
 */
static SilentTable
silence(Relation rel)
{
	SilentTable silent = {rel, rel->trigdesc};

	rel->trigdesc = NULL;
	return silent;
}

static void
speak(SilentTable *silent)
{
	if (silent->rel->trigdesc == NULL)
		silent->rel->trigdesc = silent->triggers;
	else
		FreeTriggerDesc(silent->triggers);
}

static void
alter_table(const BdrUtility *s, AlterTableStmt *stmt)
{
	List	   *checks = NIL;
	AlterTableCmd *first = linitial_node(AlterTableCmd, stmt->cmds);

	if (stmt->objtype == OBJECT_TABLE && first->subtype == AT_AttachPartition)
	{
		Oid			owner = owner_of_both(stmt->relation, ((PartitionCmd *) first->def)->name);
		Self		self;

		if (OidIsValid(owner))
		{
			self = become(owner);
			bdr_hooks_run_utility(s);
			act_back(&self);
			return;
		}
	}
	if (!s->read_only_tree)
		forget_column_versions(stmt);
	if (stmt->objtype == OBJECT_TABLE && !s->read_only_tree)
		checks = delay_checks(stmt);
	bdr_hooks_run_utility(s);
	if (checks != NIL)
		validate_checks(stmt->relation, checks);
}

/*
 * Since 15.20 and 17.12 servers keep a version of each column among its options,
 * for themselves.  A pg_dump that does not know takes it for a user's, and no
 * server takes it from there.
 */
static void
forget_column_versions(AlterTableStmt *stmt)
{
	ListCell   *cell;

	foreach(cell, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);
		List	   *kept = NIL;
		ListCell   *option;

		if (cmd->subtype != AT_SetOptions)
			continue;
		foreach(option, (List *) cmd->def)
		{
			if (strcmp(lfirst_node(DefElem, option)->defname, BDR_COLUMN_VERSION_OPTION) != 0)
				kept = lappend(kept, lfirst(option));
		}
		cmd->def = (Node *) kept;
	}
}

/* Makes them NOT VALID and returns their names. */
static List *
delay_checks(AlterTableStmt *stmt)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);
		Constraint *constraint = (Constraint *) cmd->def;

		if (cmd->subtype != AT_AddConstraint || constraint->contype != CONSTR_CHECK ||
			constraint->skip_validation || constraint->conname == NULL)
			continue;
		constraint->skip_validation = true;
		constraint->initially_valid = false;
		names = lappend(names, constraint->conname);
	}
	return names;
}

static void
validate_checks(RangeVar *name, List *checks)
{
	Relation	rel = table_openrv(name, ShareUpdateExclusiveLock);
	Self		self;
	ListCell   *cell;

	self = act_for(rel);
	foreach(cell, checks)
	{
		AlterTableCmd *cmd = makeNode(AlterTableCmd);

		cmd->subtype = AT_ValidateConstraint;
		cmd->name = lfirst(cell);
		AlterTableInternal(RelationGetRelid(rel), list_make1(cmd), name->inh);
	}
	act_back(&self);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/*
 * The one owner of both tables, if it is no superuser and may look them up.
 */
static Oid
owner_of_both(RangeVar *parent, RangeVar *partition)
{
	RangeVar   *names[] = {parent, partition};
	Oid			owners[2];

	for (int i = 0; i < 2; i++)
	{
		Relation	rel = relation_openrv(names[i], AccessShareLock);

		owners[i] = rel->rd_rel->relowner;
		if (!may_look_up(owners[i], RelationGetNamespace(rel)))
			owners[i] = InvalidOid;
		relation_close(rel, NoLock);
	}
	return owners[0] == owners[1] && !superuser_arg(owners[0]) ? owners[0] : InvalidOid;
}

static bool
may_look_up(Oid owner, Oid schema)
{
	return bdr_schema_aclcheck(schema, owner, ACL_USAGE) == ACLCHECK_OK;
}

/*
 * A domain's CHECK is validated over the columns of its type, whoever owns them.
 */
static void
alter_domain(const BdrUtility *s, AlterDomainStmt *stmt)
{
	Constraint *constraint = (Constraint *) stmt->def;
	Form_pg_type type;
	HeapTuple	tuple;
	Oid			owner;
	Oid			schema;
	Self		self;

	if (stmt->subtype != 'C' || s->read_only_tree || constraint->contype != CONSTR_CHECK ||
		constraint->skip_validation || constraint->conname == NULL)
	{
		bdr_hooks_run_utility(s);
		return;
	}
	constraint->skip_validation = true;
	constraint->initially_valid = false;
	bdr_hooks_run_utility(s);
	tuple = typenameType(NULL, makeTypeNameFromNameList(stmt->typeName), NULL);
	type = (Form_pg_type) GETSTRUCT(tuple);
	owner = type->typowner;
	schema = type->typnamespace;
	ReleaseSysCache(tuple);
	if (superuser_arg(owner))
		owner = InvalidOid;
	else if (!may_look_up(owner, schema))
		owner = GetUserId();	/* behind session/restore_code.c */
	self = become(owner);
	AlterDomainValidateConstraint(stmt->typeName, constraint->conname);
	act_back(&self);
}

/*
 * TRUNCATE wants tables that nobody has open.  Their entries of the cache lose
 * the triggers here, and are built again when the transaction ends, whichever way.
 */
static void
truncate_silently(const BdrUtility *s, TruncateStmt *stmt)
{
	ListCell   *cell;

	foreach(cell, stmt->relations)
	{
		Relation	rel = table_openrv(lfirst_node(RangeVar, cell), AccessExclusiveLock);

		check_target(rel);
		CacheInvalidateRelcache(rel);
		table_close(rel, NoLock);
	}
	CommandCounterIncrement();
	foreach(cell, stmt->relations)
	{
		Relation	rel = table_openrv(lfirst_node(RangeVar, cell), NoLock);

		FreeTriggerDesc(rel->trigdesc);
		rel->trigdesc = NULL;
		table_close(rel, NoLock);
	}
	bdr_hooks_run_utility(s);
}
