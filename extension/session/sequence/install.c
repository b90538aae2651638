/*-------------------------------------------------------------------------
 * session/sequence/install.c
 *		Redirecting the server's functions, and how sequences take kinds.
 *
 * NOTES
 *		The server's functions get a support function, as ALTER FUNCTION does it,
 *		which leaves a dependency: while they have it the extension cannot be
 *		dropped.  There is no SQL to take it away again.  pg_upgrade does not
 *		carry it over; the manager sees to it whenever it starts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/sequence.h"
#include "base/tables.h"
#include "session/sequence/clock.h"
#include "session/sequence/function.h"
#include "session/sequence/install.h"
#include "session/sequence/kind.h"

PG_FUNCTION_INFO_V1(bdr_internal_install_sequences);
PG_FUNCTION_INFO_V1(bdr_internal_uninstall_sequences);
PG_FUNCTION_INFO_V1(bdr_internal_forget_node_number);

static void require_superuser(void);
static bool redirect_all(Oid support);
static bool set_support(Oid function, Oid support);
static void localize(Oid relid);

static void
require_superuser(void)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to redirect functions of the server")));
}

/*
 * Returns whether they are redirected, all of them.
 */
Datum
bdr_internal_install_sequences(PG_FUNCTION_ARGS)
{
	Oid			support = bdr_catalog_function("seq_support");

	require_superuser();
	bdr_catalog_require();
	PG_RETURN_BOOL(OidIsValid(support) && redirect_all(support));
}

Datum
bdr_internal_uninstall_sequences(PG_FUNCTION_ARGS)
{
	require_superuser();
	bdr_catalog_require();
	bdr_sequence_uninstall();
	PG_RETURN_VOID();
}

Datum
bdr_internal_forget_node_number(PG_FUNCTION_ARGS)
{
	require_superuser();
	bdr_id_clock_forget_number();
	PG_RETURN_VOID();
}

void
bdr_sequence_uninstall(void)
{
	ListCell   *lc;

	if (!OidIsValid(bdr_catalog_relation("sequence_kind")))
		return;					/* objects of an older version */
	foreach(lc, bdr_sequence_kinds())
		localize(((BdrSequenceKind *) lfirst(lc))->relid);
	redirect_all(InvalidOid);
}

/*
 * Plans, and constraints of domains, that are there call what they were made
 * with: all are made again.
 */
static bool
redirect_all(Oid support)
{
	bool		complete = true;

	for (int i = 0; i < bdr_sequence_redirections(); i++)
		complete = set_support(bdr_sequence_redirected(i), support) && complete;
	CacheInvalidateCatalog(NamespaceRelationId);
	CacheInvalidateCatalog(ConstraintRelationId);
	CommandCounterIncrement();
	return complete;
}

static bool
set_support(Oid function, Oid support)
{
	Relation	procs;
	HeapTuple	tuple;
	Form_pg_proc proc;
	Oid			old;
	ObjectAddress from = {ProcedureRelationId, function, 0};
	ObjectAddress to = {ProcedureRelationId, support, 0};

	if (!OidIsValid(function))
		return true;
	procs = table_open(ProcedureRelationId, RowExclusiveLock);
	tuple = SearchSysCacheCopy1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	old = proc->prosupport;
	if (old != support && (!OidIsValid(old) || old == bdr_catalog_function("seq_support")))
	{
		proc->prosupport = support;
		CatalogTupleUpdate(procs, &tuple->t_self, tuple);
		if (OidIsValid(old))
			deleteDependencyRecordsForSpecific(ProcedureRelationId, function, DEPENDENCY_NORMAL, ProcedureRelationId, old);
		else
			recordDependencyOn(&from, &to, DEPENDENCY_NORMAL);
		old = support;
	}
	else if (old != support && OidIsValid(support))
		ereport(WARNING,
				(errmsg("sequences of this database stay local"),
				 errdetail("Function %s has the planner support function %s of another extension.",
						   get_func_name(function), get_func_name(old))));
	table_close(procs, RowExclusiveLock);
	return old == support;
}

/*
 * It goes on behind everything that was made anywhere.
 */
static void
localize(Oid relid)
{
	BdrSequenceState state;

	LockRelationOid(relid, ShareRowExclusiveLock);
	if (get_rel_relkind(relid) != RELKIND_SEQUENCE)
	{
		bdr_kind_delete(relid);
		return;
	}
	state = bdr_sequence_shown(bdr_sequence_look(relid));
	bdr_sequence_become_local(relid, &state);
}

/*
 * A page is not the transaction's, but a new file is: it is gone with it.
 */
void
bdr_sequence_become_local(Oid relid, const BdrSequenceState *state)
{
	Relation	rel;
	BdrSequenceState now = *state;

	now.log_cnt = 0;
	ResetSequence(relid);
	rel = relation_open(relid, NoLock);
	bdr_sequence_set(rel, &now);
	relation_close(rel, NoLock);
	bdr_kind_delete(relid);
}

void
bdr_sequence_take_kind(Oid relid, const BdrSequenceMethod *method, char *key, int64 made)
{
	BdrKindRow	row = {.letter = method->letter,.key = key};

	bdr_kind_write(relid, &row);
	bdr_sequence_begin(relid, made);
}
