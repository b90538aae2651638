/*-------------------------------------------------------------------------
 * session/unchanged_toast.c
 *		Large values that an update leaves alone, where a peer wrote the row.
 *
 * NOTES
 *		Such a value is neither in the WAL of the update nor sent.  A node that
 *		applies the update takes it from its own row, which is right only if that
 *		is the row that we updated.  Of a row that we wrote before, it can tell
 *		by the version.  Of one that came from a peer, or of which we do not know,
 *		it cannot: so the values of those are stored anew, and sent.
 *
 *		That is done by a BEFORE UPDATE trigger that exists in the executor state
 *		only, after all others of the table.  It makes PostgreSQL lock each row
 *		before it updates it, so it is left out where it can have nothing to do.
 *
 *		Not everything comes through here: partitions that ON CONFLICT DO UPDATE
 *		is routed to, subscriptions of PostgreSQL's own, values that are too large
 *		to be handled in memory together.  Then the others fetch (conflict/fetch.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/instrument.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/bdr.h"
#include "base/worker_settings.h"
#include "session/unchanged_toast.h"
#include "bdr_compat.h"

/* Of one row; a row must fit into 1 GB while it is in memory. */
#define BDR_ANEW_BYTES_MAX		((Size) 512 * 1024 * 1024)

/* PostgreSQL looks for the function of a trigger only if it has no oid yet. */
#define STAND_IN_FUNCTION		F_SUPPRESS_REDUNDANT_UPDATES_TRIGGER

static bool must_watch(Relation rel);
static bool is_read_by_peers(void);
static bool has_large_values(Relation rel);
static void add_trigger(EState *estate, ResultRelInfo *result);
static void describe_trigger(Trigger *trigger);
static void describe_function(FmgrInfo *function, MemoryContext context);
static Datum store_anew(PG_FUNCTION_ARGS);
static bool is_foreign(TransactionId xmin);
static HeapTuple inline_unchanged(TupleDesc desc, HeapTuple old, HeapTuple new);
static bool is_unchanged(Datum old, Datum new);

void
bdr_unchanged_watch(EState *estate, Index index)
{
	ResultRelInfo *result = estate->es_result_relations[index - 1];

	if (result != NULL && must_watch(result->ri_RelationDesc))
		add_trigger(estate, result);
}

/*
 * The cheap questions come first.
 */
static bool
must_watch(Relation rel)
{
	return OidIsValid(rel->rd_rel->reltoastrelid) &&
		rel->rd_rel->relkind == RELKIND_RELATION &&
		rel->rd_rel->relreplident != REPLICA_IDENTITY_FULL &&
		RelationIsLogicallyLogged(rel) &&
		!bdr_is_writer() &&
		replorigin_session_origin != DoNotReplicateId &&
		is_read_by_peers() &&
		has_large_values(rel) &&
		RelationGetNamespace(rel) != get_namespace_oid(BDR_SCHEMA, true);
}

/*
 * Does somebody read what this database writes?  A node that joins has its
 * slot before it copies anything.
 */
static bool
is_read_by_peers(void)
{
	bool		found = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots && !found; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use || slot->data.database != MyDatabaseId)
			continue;
		SpinLockAcquire(&slot->mutex);
		found = strcmp(NameStr(slot->data.plugin), BDR_OUTPUT_PLUGIN) == 0;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return found;
}

static bool
has_large_values(Relation rel)
{
	Relation	toast = table_open(rel->rd_rel->reltoastrelid, AccessShareLock);
	bool		found = RelationGetNumberOfBlocks(toast) > 0;

	table_close(toast, AccessShareLock);
	return found;
}

/* ---------------------------------------------------------------------
 * The trigger
 * ---------------------------------------------------------------------
 */

/*
 * No trigger of the statement has been called yet.
 */
static void
add_trigger(EState *estate, ResultRelInfo *result)
{
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	TriggerDesc *desc = palloc0(sizeof(TriggerDesc));
	int			n = 0;
	Trigger    *triggers;

	if (result->ri_TrigDesc != NULL)
	{
		*desc = *result->ri_TrigDesc;
		n = desc->numtriggers;
	}
	triggers = palloc0((n + 1) * sizeof(Trigger));
	if (n > 0)
		memcpy(triggers, desc->triggers, n * sizeof(Trigger));
	describe_trigger(&triggers[n]);
	desc->triggers = triggers;
	desc->numtriggers = n + 1;
	desc->trig_update_before_row = true;

	result->ri_TrigDesc = desc;
	result->ri_TrigFunctions = palloc0((n + 1) * sizeof(FmgrInfo));
	describe_function(&result->ri_TrigFunctions[n], estate->es_query_cxt);
	result->ri_TrigWhenExprs = palloc0((n + 1) * sizeof(ExprState *));
	if (estate->es_instrument)
		result->ri_TrigInstrument = InstrAlloc(n + 1, estate->es_instrument, false);
	MemoryContextSwitchTo(old);
}

/*
 * The session's role makes no difference to what is sent.
 */
static void
describe_trigger(Trigger *trigger)
{
	trigger->tgname = "bdr_store_anew";
	trigger->tgfoid = STAND_IN_FUNCTION;
	trigger->tgtype = TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_UPDATE;
	trigger->tgenabled = TRIGGER_FIRES_ALWAYS;
	trigger->tgisinternal = true;
}

static void
describe_function(FmgrInfo *function, MemoryContext context)
{
	function->fn_addr = store_anew;
	function->fn_oid = STAND_IN_FUNCTION;
	function->fn_stats = TRACK_FUNC_ALL;	/* never counted */
	function->fn_mcxt = context;
}

static Datum
store_anew(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	HeapTuple	old = data->tg_trigtuple;
	HeapTuple	new = data->tg_newtuple;

	if (HeapTupleHasExternal(new) && HeapTupleHasExternal(old) &&
		is_foreign(HeapTupleHeaderGetRawXmin(old->t_data)))
		new = inline_unchanged(RelationGetDescr(data->tg_relation), old, new);
	return PointerGetDatum(new);
}

/*
 * Was the row written by somebody else than this node, or is that not known?
 * What the transaction in progress wrote has been through here.
 */
static bool
is_foreign(TransactionId xmin)
{
	static TransactionId last = InvalidTransactionId;
	static bool last_is_foreign;
	TimestampTz time;
	RepOriginId origin;

	if (TransactionIdIsCurrentTransactionId(xmin))
		return false;
	if (!TransactionIdIsNormal(xmin) || !track_commit_timestamp)
		return true;
	if (xmin != last)
	{
		last_is_foreign = !TransactionIdGetCommitTsData(xmin, &time, &origin) || origin != InvalidRepOriginId;
		last = xmin;
	}
	return last_is_foreign;
}

/*
 * A copy of new with the values that it shares with old inside, from where they
 * are stored like any other new value.
 */
static HeapTuple
inline_unchanged(TupleDesc desc, HeapTuple old, HeapTuple new)
{
	Datum	   *old_values = palloc(desc->natts * sizeof(Datum));
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *old_nulls = palloc(desc->natts * sizeof(bool));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	bool	   *anew = palloc0(desc->natts * sizeof(bool));
	Size		bytes = 0;

	heap_deform_tuple(old, desc, old_values, old_nulls);
	heap_deform_tuple(new, desc, values, nulls);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		struct varatt_external pointer;

		if (att->attlen != -1 || att->attgenerated || nulls[i] || old_nulls[i] ||
			!is_unchanged(old_values[i], values[i]))
			continue;
		VARATT_EXTERNAL_GET_POINTER(pointer, (struct varlena *) DatumGetPointer(values[i]));
		if (bytes + VARATT_EXTERNAL_GET_EXTSIZE(pointer) > BDR_ANEW_BYTES_MAX)
			continue;
		bytes += VARATT_EXTERNAL_GET_EXTSIZE(pointer);
		values[i] = PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(values[i])));
		anew[i] = true;
	}
	return bytes > 0 ? heap_modify_tuple(new, desc, values, nulls, anew) : new;
}

/*
 * The same place in the TOAST table, by which PostgreSQL decides too.
 */
static bool
is_unchanged(Datum old, Datum new)
{
	struct varlena *a = (struct varlena *) DatumGetPointer(old);
	struct varlena *b = (struct varlena *) DatumGetPointer(new);

	return VARATT_IS_EXTERNAL_ONDISK(a) && VARATT_IS_EXTERNAL_ONDISK(b) &&
		memcmp(a, b, VARSIZE_EXTERNAL(a)) == 0;
}
