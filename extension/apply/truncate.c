/*-------------------------------------------------------------------------
 * apply/truncate.c
 *		TRUNCATE: which local tables, and emptying them together.
 *
 * NOTES
 *		A partitioned table comes with its partitions, those above before
 *		those below.  Where it is here, it stands for what is below it,
 *		whatever its partitions are here.
 *
 *		With CASCADE, what references the tables goes along.  Where TRUNCATE ran
 *		its user had the right for each such table, but which those are may
 *		differ here.  So a table that was not named goes along only if somebody
 *		whose table was named may truncate it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/sequence.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "apply/change.h"
#include "apply/state.h"
#include "apply/truncate.h"
#include "base/sequence.h"
#include "base/user_context.h"
#include "conflict/schema_mismatch.h"
#include "row/match.h"
#include "row/statistics.h"
#include "row/trigger.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

/* One table of the message. */
typedef struct Truncated
{
	uint32		remote_relid;
	uint32		above;			/* 0: none of the message */
	bool		done;
} Truncated;

/* The local tables, open and locked. */
typedef struct Targets
{
	List	   *rels;
	List	   *relids;
	List	   *logged;
} Targets;

static Oid	acting_owner(const Targets *targets);
static bool fires_triggers(Relation table);
static void restart_sequences(const Targets *targets);
static void add_referencing(Targets *targets);
static void check_may_empty(const List *named, Relation table);
static bool may_truncate(Oid role, Relation table);
static bool is_empty(Relation table);
static Truncated *read_tables(BdrReader *reader, uint32 n);
static bool is_done_above(const Truncated *tables, uint32 i);
static bool add_target(Targets *targets, BdrRelation *rel);
static Relation open_partitioned(BdrRelation *rel);
static void add_table(Targets *targets, Relation table);
static void add_leaves(Targets *targets, Relation partitioned);

/*
 * The tables are locked and emptied together, with no table of ours open.
 */
void
bdr_truncate_apply(BdrReader *reader)
{
	uint8		flags = bdr_read_uint8(reader);
	uint32		n = bdr_read_uint32(reader);
	DropBehavior behavior = (flags & BDR_TRUNCATE_CASCADE) ? DROP_CASCADE : DROP_RESTRICT;
	bool		restarts = (flags & BDR_TRUNCATE_RESTART) != 0;
	Truncated  *tables;
	Targets		targets = {NIL, NIL, NIL};
	List	   *pages = NIL;
	Oid			owner;
	ListCell   *lc;

	Assert(bdr_change_is_flushed());
	bdr_user_switch(InvalidOid);
	bdr_relation_close_all();
	if (flags & ~(BDR_TRUNCATE_CASCADE | BDR_TRUNCATE_RESTART))
		bdr_frame_error("A truncate has the unknown flags %u.", flags);
	if (n == 0 || n > bdr_reader_left(reader) / (2 * sizeof(uint32)))
		bdr_frame_error("A truncate claims to have %u tables.", n);
	tables = read_tables(reader, n);
	for (uint32 i = 0; i < n; i++)
		tables[i].done = is_done_above(tables, i) ||
			add_target(&targets, bdr_relation_find(tables[i].remote_relid));
	if (targets.rels == NIL)
		return;
	if (behavior == DROP_CASCADE)
		add_referencing(&targets);
	owner = acting_owner(&targets);
	if (restarts)
		pages = bdr_sequence_note_pages();
	/* who fires triggers may not own the sequences; restarting runs no code */
	if (restarts && OidIsValid(owner))
	{
		restart_sequences(&targets);
		restarts = false;
	}
	bdr_user_switch(owner);
	bdr_truncate_guts(targets.rels, targets.relids, targets.logged, behavior, restarts);
	bdr_user_switch(InvalidOid);
	bdr_sequence_carry_over(pages);
	foreach(lc, targets.rels)
	{
		bdr_stats_count_table(RelationGetRelid((Relation) lfirst(lc)), BDR_COUNT_TRUNCATES);
		table_close((Relation) lfirst(lc), NoLock);
	}
	CommandCounterIncrement();
	bdr_apply.xact.counters.truncates++;
}

/*
 * As whom the tables are truncated, which fires their triggers together.  Of
 * several owners none may get the rights of another, nor ours.
 */
static Oid
acting_owner(const Targets *targets)
{
	Relation	firing = NULL;
	ListCell   *lc;

	foreach(lc, targets->rels)
	{
		if (firing == NULL && fires_triggers(lfirst(lc)))
			firing = lfirst(lc);
	}
	if (firing == NULL)
		return InvalidOid;
	foreach(lc, targets->rels)
	{
		if (bdr_user_of_table(lfirst(lc)) != bdr_user_of_table(firing) && fires_triggers(lfirst(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot fire the TRUNCATE triggers of tables of several owners together"),
					 errdetail("\"%s\" has such a trigger and is truncated together with \"%s\".",
							   RelationGetRelationName(firing), RelationGetRelationName((Relation) lfirst(lc))),
					 errhint("Disable the trigger here, or give the tables one owner on all nodes; replication then continues by itself.")));
	}
	return bdr_user_of_table(firing);
}

static bool
fires_triggers(Relation table)
{
	TriggerDesc *triggers = table->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (TRIGGER_FOR_TRUNCATE(triggers->triggers[i].tgtype) &&
			bdr_trigger_fires(&triggers->triggers[i]))
			return true;
	}
	return false;
}

static void
restart_sequences(const Targets *targets)
{
	ListCell   *lc;
	ListCell   *sequence;

	foreach(lc, targets->relids)
	{
		foreach(sequence, getOwnedSequences(lfirst_oid(lc)))
		{
			LockRelationOid(lfirst_oid(sequence), AccessExclusiveLock);
			ResetSequence(lfirst_oid(sequence));
		}
	}
}

/*
 * CASCADE takes what references the tables here, too.
 */
static void
add_referencing(Targets *targets)
{
	List	   *named = list_copy(targets->rels);
	List	   *relids;

	while ((relids = heap_truncate_find_FKs(targets->relids)) != NIL)
	{
		ListCell   *lc;

		foreach(lc, relids)
		{
			Relation	table = table_open(lfirst_oid(lc), AccessExclusiveLock);

			CheckTableNotInUse(table, "TRUNCATE");
			check_may_empty(named, table);
			add_table(targets, table);
		}
	}
}

static void
check_may_empty(const List *named, Relation table)
{
	ListCell   *lc;

	foreach(lc, named)
	{
		if (may_truncate(bdr_user_of_table(lfirst(lc)), table))
			return;
	}
	if (!is_empty(table))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot truncate table \"%s.%s\" of role \"%s\"",
						get_namespace_name(RelationGetNamespace(table)), RelationGetRelationName(table),
						GetUserNameFromId(table->rd_rel->relowner, false)),
				 errdetail("It references what was truncated with CASCADE on node \"%s\", was not truncated there, and the owners of what was have no right to truncate it.",
						   bdr_apply.peer.name),
				 errhint("Delete its rows here, or drop its foreign key, or grant TRUNCATE on it to the owner of a table that it references; replication then continues by itself.")));
}

/*
 * That a superuser may do everything does not make others, who were granted
 * TRUNCATE on his table, the same.
 */
static bool
may_truncate(Oid role, Relation table)
{
	if (!OidIsValid(role))
		return superuser_arg(table->rd_rel->relowner);
	return pg_class_aclcheck(RelationGetRelid(table), role, ACL_TRUNCATE) == ACLCHECK_OK;
}

/*
 * Partitions reference by themselves what their parent does.
 */
static bool
is_empty(Relation table)
{
	Snapshot	snapshot;
	TableScanDesc scan;
	TupleTableSlot *slot;
	bool		found;

	if (table->rd_rel->relkind != RELKIND_RELATION)
		return true;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(table, NULL);
	scan = table_beginscan(table, snapshot, 0, NULL);
	found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	return !found;
}

static Truncated *
read_tables(BdrReader *reader, uint32 n)
{
	Truncated  *tables = palloc0(n * sizeof(Truncated));

	for (uint32 i = 0; i < n; i++)
	{
		tables[i].remote_relid = bdr_read_uint32(reader);
		tables[i].above = bdr_read_uint32(reader);
	}
	return tables;
}

static bool
is_done_above(const Truncated *tables, uint32 i)
{
	if (tables[i].above == 0)
		return false;
	for (uint32 j = 0; j < i; j++)
	{
		if (tables[j].remote_relid == tables[i].above)
			return tables[j].done;
	}
	bdr_frame_error("A truncate names relation %u below %u, which does not come before it.",
					tables[i].remote_relid, tables[i].above);
}

/*
 * Returns false for a partitioned table that is not here: its partitions
 * follow.
 */
static bool
add_target(Targets *targets, BdrRelation *rel)
{
	Relation	local;

	if (rel->flags & BDR_RELATION_PARTITIONED)
	{
		local = open_partitioned(rel);
		if (local == NULL)
			return false;
	}
	else
	{
		local = bdr_relation_open_exclusive(rel);
		if (local == NULL)
		{
			bdr_mismatch_table(rel);
			return true;
		}
	}

	if (!(rel->flags & BDR_RELATION_PARTITIONED) && rel->via_root)
	{
		bdr_mismatch_table(rel);
		table_close(local, NoLock);
		return true;
	}
	if (local->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		add_leaves(targets, local);
	else
		add_table(targets, local);
	return true;
}

/*
 * What the peer has as a partitioned table; here it may be an ordinary one.
 */
static Relation
open_partitioned(BdrRelation *rel)
{
	Oid			relid = RangeVarGetRelid(makeRangeVar(rel->schema, rel->name, -1),
										 AccessExclusiveLock, true);
	Relation	local;

	bdr_apply.relation = rel;
	if (!OidIsValid(relid))
		return NULL;
	local = relation_open(relid, NoLock);
	bdr_match_check(rel, local);
	return local;
}

static void
add_table(Targets *targets, Relation table)
{
	if (list_member_oid(targets->relids, RelationGetRelid(table)))
	{
		table_close(table, NoLock);
		return;
	}
	targets->rels = lappend(targets->rels, table);
	targets->relids = lappend_oid(targets->relids, RelationGetRelid(table));
	if (RelationIsLogicallyLogged(table))
		targets->logged = lappend_oid(targets->logged, RelationGetRelid(table));
}

/*
 * The partitioned tables go with their leaves: the WAL then says what was
 * truncated as it does for a user's TRUNCATE.
 */
static void
add_leaves(Targets *targets, Relation partitioned)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(RelationGetRelid(partitioned), AccessExclusiveLock, NULL))
		add_table(targets, table_open(lfirst_oid(lc), NoLock));
	table_close(partitioned, NoLock);
}
