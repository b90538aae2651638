/*-------------------------------------------------------------------------
 * row/relation.c
 *		Remote tables mapped to local ones, and kept ready for writing.
 *
 * NOTES
 *		Three layers of different age:
 *
 *		definition	from RELATION, until the peer sends another one
 *		mapping		local table, column map, conversion functions, slots and
 *					search keys: until the local table changes
 *		execution	open table and indexes, ResultRelInfo, index scan: one
 *					transaction
 *
 *		Opening must be cheap for a transaction of one row.  When nothing in
 *		the table needs an expression, the executor nodes are kept with the
 *		mapping and a transaction only locks and looks up the relations.
 *
 *		Invalidation only marks an entry.  It can arrive anywhere, so what is
 *		in use stays valid until it is opened again.
 *
 *		A mapping takes tens of kilobytes.  Between transactions those go that
 *		are marked, and those not used for long if there are too many; they
 *		are made again from the definition.  Definitions go when the peer says
 *		so, or begins a new stream.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "base/form.h"
#include "base/sequence.h"
#include "base/user_context.h"
#include "row/lookup.h"
#include "row/match.h"
#include "row/partition.h"
#include "row/relation.h"
#include "row/row_version.h"
#include "row/trigger.h"
#include "row/write_lock.h"
#include "bdr_compat.h"
#include "bdr_wire.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* Mappings that are kept from one transaction to the next. */
#define BDR_MAPPED_MAX			1024

static HTAB *relations;			/* BdrRelation by remote relid */
static int	nmapped;			/* leaves included */
static uint64 nopened;			/* in all; numbers the openings */
static bool any_stale;			/* marked since the last look */
static dlist_head open_relations = DLIST_STATIC_INIT(open_relations);
static BdrRelation *last_found;

static void relation_changed(Datum arg, Oid relid);
static void name_changed(Datum arg, int cacheid, uint32 hashvalue);
static void namespace_or_role_changed(Datum arg, int cacheid, uint32 hashvalue);
static void read_definition(BdrReader *reader, BdrRelation *rel);
static void read_owners(BdrReader *reader, BdrRelation *rel);
static void read_column(BdrReader *reader, BdrColumn *column);
static void forget_definition(BdrRelation *rel);
static void drop_mapping(BdrRelation *rel);
static Relation open_mapped(BdrRelation *rel, LOCKMODE lockmode);
static Relation open_local(BdrRelation *rel, LOCKMODE lockmode);
static void map_relation(BdrRelation *rel, Relation local);
static void map_column(BdrRelation *rel, BdrColumn *column);
static void map_conversion(BdrRelation *rel, BdrColumn *column);
static void check_form(BdrRelation *rel, BdrColumn *column);
static void describe_table(BdrRelation *rel, Relation local);
static void describe_differences(BdrRelation *rel);
static void make_slots(BdrRelation *rel, Relation local);
static void map_constrained(BdrRelation *rel, Relation local);
static void build_execution(BdrRelation *rel);
static bool can_be_kept(BdrRelation *rel);
static void build_defaults(BdrRelation *rel);
static void build_domains(BdrRelation *rel);
static void reopen_indexes(BdrRelation *rel);
static void close_relation(BdrRelation *rel);

void
bdr_relation_init(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(uint32);
	ctl.entrysize = sizeof(BdrRelation);
	relations = hash_create("bdr relations", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(RELNAMENSP, name_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_or_role_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, namespace_or_role_changed, (Datum) 0);
}

static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	BdrRelation *rel;

	any_stale = true;
	hash_seq_init(&scan, relations);
	while ((rel = hash_seq_search(&scan)) != NULL)
		bdr_partition_mark_stale(rel, relid);
}

/*
 * A table that a partition's rows should have gone to may have come up.
 */
static void
name_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS scan;
	BdrRelation *rel;

	hash_seq_init(&scan, relations);
	while ((rel = hash_seq_search(&scan)) != NULL)
	{
		if (rel->absent_root_hash != 0 && (hashvalue == 0 || hashvalue == rel->absent_root_hash))
			rel->stale = true;
	}
	any_stale = true;
}

static void
namespace_or_role_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed(arg, InvalidOid);
}

/* A setting has changed that mappings depend on; in any process. */
void
bdr_relation_mark_all_stale(void)
{
	if (relations != NULL)
		relation_changed((Datum) 0, InvalidOid);
}

/* ---------------------------------------------------------------------
 * Definitions
 * ---------------------------------------------------------------------
 */

/*
 * RELATION.  It may replace one that is in use; nothing of it waits to be
 * written or judged.
 */
void
bdr_relation_define(BdrApply *apply, BdrReader *reader)
{
	uint32		relid = bdr_read_uint32(reader);
	BdrRelation *rel;
	bool		found;

	rel = hash_search(relations, &relid, HASH_ENTER, &found);
	if (found)
	{
		bdr_partition_drop_all(rel);
		bdr_relation_drop(rel);
		MemoryContextReset(rel->context);
		rel->name = NULL;
	}
	else
	{
		memset((char *) rel + sizeof(relid), 0, sizeof(BdrRelation) - sizeof(relid));
		rel->context = AllocSetContextCreate(TopMemoryContext, "bdr relation",
											 ALLOCSET_SMALL_SIZES);
		rel->apply = apply;
	}
	read_definition(reader, rel);
}

/*
 * rel->name is set last: an entry without one is not defined.
 */
static void
read_definition(BdrReader *reader, BdrRelation *rel)
{
	MemoryContext old = MemoryContextSwitchTo(rel->context);
	char	   *name;

	rel->identity = bdr_read_uint8(reader);
	rel->flags = bdr_read_uint8(reader);
	rel->schema = bdr_read_name(reader);
	name = bdr_read_name(reader);
	rel->root_schema = bdr_read_name(reader);
	rel->root_name = bdr_read_name(reader);
	if (rel->root_name[0] == '\0')
		rel->root_name = NULL;
	read_owners(reader, rel);
	rel->ncolumns = bdr_read_uint16(reader);
	if (rel->ncolumns > MaxTupleAttributeNumber)
		bdr_frame_error("Relation \"%s.%s\" has %d columns.", rel->schema, name, rel->ncolumns);
	rel->columns = palloc0(Max(rel->ncolumns, 1) * sizeof(BdrColumn));
	for (int i = 0; i < rel->ncolumns; i++)
		read_column(reader, &rel->columns[i]);
	rel->name = name;
	MemoryContextSwitchTo(old);
}

static void
read_owners(BdrReader *reader, BdrRelation *rel)
{
	if (rel->flags & ~BDR_RELATION_FLAGS)
		bdr_frame_error("A relation has the unknown flags %u.", rel->flags);
	rel->owner_there.name = bdr_read_name(reader);
	rel->owner_there.is_superuser = (rel->flags & BDR_RELATION_OWNER_SUPERUSER) != 0;
	rel->root_owner.name = bdr_read_name(reader);
	rel->root_owner.is_superuser = (rel->flags & BDR_RELATION_ROOT_OWNER_SUPERUSER) != 0;
	rel->owner_there.name_then = rel->flags & BDR_RELATION_OWNER_OF_THEN ? bdr_read_name(reader) : NULL;
	rel->root_owner.name_then = rel->flags & BDR_RELATION_ROOT_OWNER_OF_THEN ? bdr_read_name(reader) : NULL;
	if (rel->owner_there.name[0] == '\0' || (rel->root_name != NULL) != (rel->root_owner.name[0] != '\0'))
		bdr_frame_error("A relation has no owner, or one too many.");
}

static void
read_column(BdrReader *reader, BdrColumn *column)
{
	column->flags = bdr_read_uint8(reader);
	column->format = bdr_read_uint8(reader);
	column->type = bdr_read_uint32(reader);
	column->typmod = (int32) bdr_read_uint32(reader);
	column->attlen = (int16) bdr_read_uint16(reader);
	column->name = bdr_read_name(reader);
	pfree(bdr_read_name(reader));	/* schema and name of the type: for Go */
	pfree(bdr_read_name(reader));
	if (column->format != BDR_FORMAT_INTERNAL && column->format != BDR_FORMAT_BINARY &&
		column->format != BDR_FORMAT_TEXT)
		bdr_frame_error("Column \"%s\" has the unknown format %u.",
						column->name, (uint8) column->format);
	if (column->attlen < -2 || column->attlen == 0)
		bdr_frame_error("Column \"%s\" has length %d.", column->name, column->attlen);
}

BdrRelation *
bdr_relation_find(uint32 remote_relid)
{
	BdrRelation *rel = last_found;

	if (likely(rel != NULL && rel->remote_relid == remote_relid && rel->name != NULL))
		return rel;
	rel = hash_search(relations, &remote_relid, HASH_FIND, NULL);
	if (rel == NULL || rel->name == NULL)
		bdr_frame_error("A change belongs to relation %u, which was not described.", remote_relid);
	return last_found = rel;
}

/*
 * FORGET.
 */
void
bdr_relation_forget(BdrReader *reader)
{
	do
		forget_definition(bdr_relation_find(bdr_read_uint32(reader)));
	while (bdr_reader_left(reader) > 0);
}

/*
 * A stream begins, in which nothing is described yet.
 */
void
bdr_relation_forget_definitions(void)
{
	HASH_SEQ_STATUS scan;
	BdrRelation *rel;

	hash_seq_init(&scan, relations);
	while ((rel = hash_seq_search(&scan)) != NULL)
		forget_definition(rel);
}

static void
forget_definition(BdrRelation *rel)
{
	bdr_partition_drop_all(rel);
	bdr_relation_drop(rel);
	MemoryContextDelete(rel->context);
	if (last_found == rel)
		last_found = NULL;
	hash_search(relations, &rel->remote_relid, HASH_REMOVE, NULL);
}

/*
 * To be called between transactions, when no table of ours is open.  Openings
 * are numbered, so mappings above the limit are those below a number.
 */
void
bdr_relation_trim(void)
{
	HASH_SEQ_STATUS scan;
	BdrRelation *rel;
	uint64		oldest = 0;

	if (likely(!any_stale && nmapped <= BDR_MAPPED_MAX))
		return;
	any_stale = false;
	if (nmapped > BDR_MAPPED_MAX)
		oldest = nopened - BDR_MAPPED_MAX * 3 / 4;
	hash_seq_init(&scan, relations);
	while ((rel = hash_seq_search(&scan)) != NULL)
		bdr_partition_trim(rel, oldest);
}

/* ---------------------------------------------------------------------
 * Opening and closing
 * ---------------------------------------------------------------------
 */

/*
 * Open rel, or open it again after its table has changed, until the transaction
 * ends.  Returns false when the table does not exist here.
 *
 * Nothing of rel waits to be written.
 */
bool
bdr_relation_open(BdrRelation *rel)
{
	bdr_user_switch(InvalidOid);
	rel->apply->relation = rel;
	if (rel->open)
		close_relation(rel);
	rel->rel = open_mapped(rel, RowExclusiveLock);
	if (rel->rel == NULL)
		return false;
	rel->owner = bdr_user_of_table_below(rel->rel, rel->above);
	bdr_user_switch(rel->owner);
	if (rel->estate == NULL)
		build_execution(rel);
	else
		reopen_indexes(rel);
	rel->open = true;
	rel->used = ++nopened;
	dlist_push_tail(&open_relations, &rel->open_node);
	return true;
}

/*
 * The local table for TRUNCATE; the caller closes it.  The relation must not
 * be open.  NULL: as above.
 */
Relation
bdr_relation_open_exclusive(BdrRelation *rel)
{
	Assert(!rel->open);
	rel->apply->relation = rel;
	return open_mapped(rel, AccessExclusiveLock);
}

static Relation
open_mapped(BdrRelation *rel, LOCKMODE lockmode)
{
	Relation	local;

	if (rel->mapped && !rel->stale)
	{
		bdr_partition_lock_ancestors(rel->ancestors);
		/* taking the lock reads invalidations */
		local = bdr_write_lock_open(rel->local_relid, lockmode);
		if (local != NULL && !rel->stale)
			return local;
		if (local != NULL)
			table_close(local, NoLock);
	}
	drop_mapping(rel);
	local = open_local(rel, lockmode);
	if (local == NULL)
		return NULL;
	bdr_match_check(rel, local);
	/* expressions of indexes are simplified when they are read, which may run them */
	bdr_user_switch(bdr_user_of_table(local));
	map_relation(rel, local);
	return local;
}

static Relation
open_local(BdrRelation *rel, LOCKMODE lockmode)
{
	RangeVar   *range;
	Oid			relid;

	if (unlikely(rel->root_name != NULL || OidIsValid(rel->leaf_relid)))
	{
		Relation	local = bdr_partition_open_local(rel, lockmode);

		if (local != NULL)
			return local;
	}
	range = makeRangeVar(rel->schema, rel->name, -1);
	relid = RangeVarGetRelid(range, NoLock, true);
	if (OidIsValid(relid))
		bdr_partition_lock_ancestors(get_partition_ancestors(relid));
	relid = bdr_write_lock_name(range, lockmode);
	pfree(range);
	return OidIsValid(relid) ? relation_open(relid, NoLock) : NULL;
}

/*
 * Close everything before the transaction ends, or before a statement that
 * must find no table of ours open.  Locks stay.
 */
void
bdr_relation_close_all(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &open_relations)
		close_relation(dlist_container(BdrRelation, open_node, iter.cur));
}

/*
 * After an abort, which has closed the relations itself.  Slots may hold
 * buffers that are no longer pinned, so the mappings go with them.
 */
void
bdr_relation_forget_all(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &open_relations)
	{
		BdrRelation *rel = dlist_container(BdrRelation, open_node, iter.cur);

		dlist_delete(&rel->open_node);
		rel->open = false;
		drop_mapping(rel);
	}
}

/*
 * Close rel, if it is open, and forget how it maps.
 */
void
bdr_relation_drop(BdrRelation *rel)
{
	if (rel->open)
		close_relation(rel);
	drop_mapping(rel);
}

static void
close_relation(BdrRelation *rel)
{
	ResultRelInfo *result = rel->result;

	if (rel->by_key.scan != NULL)
		index_endscan(rel->by_key.scan);
	if (rel->by_row.scan != NULL)
		index_endscan(rel->by_row.scan);
	rel->by_key.scan = NULL;
	rel->by_row.scan = NULL;
	ExecClearTuple(rel->new_slot);
	ExecClearTuple(rel->key_slot);
	ExecClearTuple(rel->found_slot);
	ExecClearTuple(rel->other_slot);

	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		bdr_index_insert_cleanup(result->ri_IndexRelationDescs[i], result->ri_IndexRelationInfo[i]);
		index_close(result->ri_IndexRelationDescs[i], NoLock);
	}
	bdr_partition_stop(rel);
	if (!rel->kept)
	{
		ExecResetTupleTable(rel->estate->es_tupleTable, false);
		FreeExecutorState(rel->estate);
		MemoryContextDelete(rel->exec_context);
		rel->estate = NULL;
		rel->exec_context = NULL;
	}
	table_close(rel->rel, NoLock);
	rel->rel = NULL;
	rel->open = false;
	dlist_delete(&rel->open_node);
}

/*
 * A transaction may pause between two frames.  A pinned index page would
 * then stop VACUUM.
 */
void
bdr_relation_release_pins(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &open_relations)
	{
		BdrRelation *rel = dlist_container(BdrRelation, open_node, iter.cur);

		if (rel->by_key.scan != NULL)
			index_rescan(rel->by_key.scan, NULL, rel->by_key.nkeys, NULL, 0);
		if (rel->by_row.scan != NULL)
			index_rescan(rel->by_row.scan, NULL, rel->by_row.nkeys, NULL, 0);
	}
}

/* ---------------------------------------------------------------------
 * Mapping
 * ---------------------------------------------------------------------
 */
static void
drop_mapping(BdrRelation *rel)
{
	bdr_partition_drop_leaves(rel, PG_UINT64_MAX);
	rel->levels = NIL;
	if (rel->mapped)
	{
		rel->decided = 0;
		nmapped--;
	}
	rel->mapped = false;
	rel->local_relid = InvalidOid;
	rel->ancestors = NIL;
	rel->above = NIL;
	rel->estate = NULL;
	rel->result = NULL;
	rel->by_key.scan = NULL;
	rel->by_row.scan = NULL;
	rel->run_slots = NULL;
	rel->nrun_slots = 0;
	if (rel->exec_context != NULL)
		MemoryContextDelete(rel->exec_context);
	rel->exec_context = NULL;
	if (rel->map_context != NULL)
		MemoryContextDelete(rel->map_context);
	rel->map_context = NULL;
}

/*
 * The mark is taken away first: a change that arrives while we look sets it
 * again.
 */
static void
map_relation(BdrRelation *rel, Relation local)
{
	MemoryContext old;

	rel->map_context = AllocSetContextCreate(TopMemoryContext, "bdr mapping",
											 ALLOCSET_SMALL_SIZES);
	rel->local_relid = RelationGetRelid(local);
	rel->stale = false;
	old = MemoryContextSwitchTo(rel->map_context);
	/* with the values that rows lack which are older than a column */
	rel->desc = CreateTupleDescCopyConstr(RelationGetDescr(local));
	rel->supplied = palloc0(rel->desc->natts * sizeof(bool) + 1);
	rel->unchanged = palloc0(rel->desc->natts * sizeof(bool) + 1);
	rel->nunchanged = 0;
	rel->has_domains = false;
	for (int i = 0; i < rel->ncolumns; i++)
		map_column(rel, &rel->columns[i]);
	rel->above = bdr_owner_above(rel->local_relid);
	describe_table(rel, local);
	bdr_partition_map(rel, local);
	describe_differences(rel);
	bdr_row_version_describe(rel, local);
	make_slots(rel, local);
	bdr_lookup_map(rel, local, &rel->by_key, false);
	bdr_lookup_map(rel, local, &rel->by_row, true);
	map_constrained(rel, local);
	MemoryContextSwitchTo(old);
	rel->mapped = true;
	nmapped++;
}

static void
map_column(BdrRelation *rel, BdrColumn *column)
{
	column->attnum = InvalidAttrNumber;
	column->conversion = BDR_CONVERT_MISSING;
	for (int i = 0; i < rel->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), column->name) != 0)
			continue;
		if (rel->supplied[i])
			bdr_frame_error("Relation \"%s.%s\" has column \"%s\" twice.",
							rel->schema, rel->name, column->name);
		/* computed here; a value that comes is only to find the row by, if it is stored */
		if (bdr_is_virtual(att) ||
			(att->attgenerated && !((column->flags & BDR_COLUMN_KEY) && rel->identity != REPLICA_IDENTITY_FULL)))
		{
			column->conversion = BDR_CONVERT_IGNORE;
			return;
		}
		rel->supplied[i] = true;
		column->attnum = i + 1;
		map_conversion(rel, column);
		return;
	}
}

/*
 * How the bytes of this column become a local value.
 *
 * A domain's values are those of its base type; bdr_check_domains looks at
 * them afterwards.
 */
static void
map_conversion(BdrRelation *rel, BdrColumn *column)
{
	Form_pg_attribute att = TupleDescAttr(rel->desc, column->attnum - 1);
	int32		typmod = att->atttypmod;
	Oid			base = getBaseTypeAndTypmod(att->atttypid, &typmod);
	bool		same = base == column->type && (typmod == -1 || typmod == column->typmod);
	Oid			function;
	bool		varlena;

	column->domain = base != att->atttypid ? att->atttypid : InvalidOid;
	rel->has_domains |= OidIsValid(column->domain);
	column->local_typmod = typmod;
	column->typeid = column->type;
	column->check = NULL;
	check_form(rel, column);
	if (column->format == BDR_FORMAT_TEXT)
		column->conversion = BDR_CONVERT_INPUT;
	else if (column->format == BDR_FORMAT_INTERNAL)
		column->conversion = same ? BDR_CONVERT_NONE : BDR_CONVERT_INTERNAL_TEXT;
	else
		column->conversion = same ? BDR_CONVERT_RECEIVE : BDR_CONVERT_RECEIVE_TEXT;

	if (column->conversion == BDR_CONVERT_RECEIVE || column->conversion == BDR_CONVERT_RECEIVE_TEXT)
	{
		getTypeBinaryInputInfo(column->type, &function, &column->receive_param);
		fmgr_info(function, &column->receive);
	}
	if (column->conversion == BDR_CONVERT_INTERNAL_TEXT || column->conversion == BDR_CONVERT_RECEIVE_TEXT)
	{
		getTypeOutputInfo(column->type, &function, &varlena);
		fmgr_info(function, &column->output);
	}
	getTypeInputInfo(base, &function, &column->input_param);
	fmgr_info(function, &column->input);

	column->fit.fn_oid = InvalidOid;
	if (column->conversion == BDR_CONVERT_NONE && typmod >= 0 &&
		find_typmod_coercion_function(base, &function) == COERCION_PATH_FUNC)
		fmgr_info(function, &column->fit);
	if (column->format == BDR_FORMAT_INTERNAL)
	{
		get_typlenbyvalalign(column->type, &column->typlen, &column->typbyval, &column->typalign);
		if (column->typlen != column->attlen)
			bdr_frame_error("Column \"%s\" of relation \"%s.%s\" has length %d instead of %d.",
							column->name, rel->schema, rel->name, column->attlen, column->typlen);
		column->check = bdr_check_make(column->type);
	}
}

/*
 * A type comes in the form that it has here, or in a plainer one.  What a peer
 * says about the length and the name of a type is not used.
 */
static void
check_form(BdrRelation *rel, BdrColumn *column)
{
	char		best = column->format == BDR_FORMAT_TEXT ? BDR_FORMAT_TEXT :
		bdr_form_best(column->type, column->typmod);

	if (best != column->format && best != BDR_FORMAT_INTERNAL)
		bdr_frame_error("Column \"%s\" of relation \"%s.%s\" comes in form \"%c\", in which type %s (%u) is not taken.",
						column->name, rel->schema, rel->name, column->format,
						format_type_extended(column->type, -1, FORMAT_TYPE_ALLOW_INVALID), column->type);
}

/*
 * What the table has that an insert or update must take care of.
 */
static void
describe_table(BdrRelation *rel, Relation local)
{
	TupleConstr *constr = RelationGetDescr(local)->constr;
	TriggerDesc *triggers = local->trigdesc;

	rel->fires_triggers = false;
	rel->fires_before = false;
	rel->fires_by_column = false;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (!bdr_trigger_fires(trigger))
			continue;
		rel->fires_triggers = true;
		rel->fires_before |= TRIGGER_FOR_BEFORE(trigger->tgtype);
		rel->fires_by_column |= trigger->tgnattr > 0;
	}
	rel->has_generated = constr != NULL && constr->has_generated_stored;
	rel->has_constraints = constr != NULL && (constr->has_not_null || constr->num_check > 0);
	rel->is_partition = local->rd_rel->relispartition;

	rel->all_supplied = true;
	rel->has_virtual = false;
	rel->has_defaults = false;
	for (int i = 0; i < rel->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(local), i);

		rel->all_supplied &= rel->supplied[i];
		rel->has_virtual |= !att->attisdropped && bdr_is_virtual(att);
		if (!rel->supplied[i] && !att->attisdropped && !att->attgenerated &&
			(att->atthasdef || att->attidentity || get_typtype(att->atttypid) == TYPTYPE_DOMAIN))
			rel->has_defaults = true;
	}
	rel->batchable = !rel->fires_triggers && !rel->has_generated && !rel->has_defaults;
}

/*
 * Find out what rel and its local table do not have in common.  Called when
 * the columns have been mapped.
 */
static void
describe_differences(BdrRelation *rel)
{
	rel->missing_here = NULL;
	rel->missing_there = InvalidAttrNumber;
	for (int i = 0; i < rel->ncolumns && rel->missing_here == NULL; i++)
	{
		if (rel->columns[i].conversion == BDR_CONVERT_MISSING)
			rel->missing_here = &rel->columns[i];
	}
	for (int i = 0; i < rel->desc->natts && rel->missing_there == InvalidAttrNumber; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);

		if (!rel->supplied[i] && !att->attisdropped && !att->attgenerated)
			rel->missing_there = i + 1;
	}
	rel->differs = rel->missing_here != NULL || rel->missing_there != InvalidAttrNumber;
}

/*
 * Slots have our own copy of the descriptor, which needs no resource owner,
 * so they outlive the transaction.
 */
static void
make_slots(BdrRelation *rel, Relation local)
{
	const TupleTableSlotOps *ops = table_slot_callbacks(local);

	rel->new_slot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsVirtual);
	rel->key_slot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsVirtual);
	rel->found_slot = MakeSingleTupleTableSlot(rel->desc, ops);
	rel->other_slot = MakeSingleTupleTableSlot(rel->desc, ops);
	rel->new_slot->tts_tableOid = RelationGetRelid(local);
	rel->key_slot->tts_tableOid = RelationGetRelid(local);
}

/*
 * The columns that an update must not change if nothing else is to be looked
 * at.  Those of the key are compared where the old one was sent.
 */
static void
map_constrained(BdrRelation *rel, Relation local)
{
	Oid			key = rel->identity == REPLICA_IDENTITY_FULL ? rel->by_row.index : rel->by_key.index;
	Bitmapset  *columns = NULL;
	int			i = -1;
	ListCell   *lc;

	rel->has_deferrable = false;

	foreach(lc, RelationGetIndexList(local))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		IndexInfo  *info = BuildIndexInfo(index);

		if (lfirst_oid(lc) != key && (info->ii_Unique || info->ii_ExclusionOps != NULL))
		{
			rel->has_deferrable |= !index->rd_index->indimmediate;
			for (int k = 0; k < info->ii_NumIndexKeyAttrs; k++)
			{
				if (info->ii_IndexAttrNumbers[k] != InvalidAttrNumber)
					columns = bms_add_member(columns, info->ii_IndexAttrNumbers[k] - FirstLowInvalidHeapAttributeNumber);
			}
			pull_varattnos((Node *) info->ii_Expressions, 1, &columns);
			pull_varattnos((Node *) info->ii_Predicate, 1, &columns);
		}
		index_close(index, NoLock);
	}
	rel->constrained = palloc(rel->desc->natts * sizeof(AttrNumber) + 1);
	rel->nconstrained = 0;
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;

		if (attnum > 0)
			rel->constrained[rel->nconstrained++] = attnum;
	}
}

/*
 * Describe a table as conflict/detect.c wants it, in a session: which peers there
 * are is not asked, they have the replica identity that it has here.
 *
 * The estate and the indexes are the caller's to close.
 */
void
bdr_relation_describe_local(BdrRelation *rel, Relation local)
{
	static BdrApply nobody;
	Bitmapset  *identity = RelationGetIndexAttrBitmap(local, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	bool		whole = local->rd_rel->relreplident == REPLICA_IDENTITY_FULL || bms_is_empty(identity);
	BdrLookup  *lookup = whole ? &rel->by_row : &rel->by_key;

	memset(rel, 0, sizeof(*rel));
	rel->apply = &nobody;
	rel->local_relid = RelationGetRelid(local);
	rel->rel = local;
	rel->desc = RelationGetDescr(local);
	rel->identity = local->rd_rel->relreplident;
	lookup->usable = true;
	lookup->compare = palloc0(rel->desc->natts * sizeof(bool) + 1);
	for (int i = 0; i < rel->desc->natts; i++)
		lookup->compare[i] = !TupleDescAttr(rel->desc, i)->attisdropped &&
			(whole || bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, identity));
	lookup->index = bdr_lookup_choose_index(local, lookup->compare);
	rel->other_slot = table_slot_create(local, NULL);
	rel->estate = CreateExecutorState();
	bdr_init_range_table(rel->estate, local, NULL);
	rel->result = makeNode(ResultRelInfo);
	InitResultRelInfo(rel->result, local, 1, NULL, 0);
	ExecOpenIndices(rel->result, false);
	rel->index_oids = palloc(rel->result->ri_NumIndices * sizeof(Oid) + 1);
	for (int i = 0; i < rel->result->ri_NumIndices; i++)
	{
		Relation	index = rel->result->ri_IndexRelationDescs[i];

		rel->index_oids[i] = RelationGetRelid(index);
		if (rel->index_oids[i] == lookup->index)
			bdr_lookup_make_keys(lookup, index);
	}
}

/* ---------------------------------------------------------------------
 * Execution
 * ---------------------------------------------------------------------
 */

/*
 * Executor nodes for rel->rel, which was just opened.  They are made where
 * they can stay; when that turns out not to be possible, they are freed when
 * the relation is closed.
 */
static void
build_execution(BdrRelation *rel)
{
	MemoryContext old;

	rel->exec_context = AllocSetContextCreate(TopMemoryContext, "bdr execution",
											  ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(rel->exec_context);
	rel->estate = CreateExecutorState();
	rel->all_columns = NULL;
	/* for triggers and generated columns; NULL would mean that none change */
	for (int i = 0; (rel->fires_triggers || rel->has_generated) && i < rel->desc->natts; i++)
		rel->all_columns = bms_add_member(rel->all_columns, i + 1 - FirstLowInvalidHeapAttributeNumber);
	bdr_init_range_table(rel->estate, rel->rel, rel->all_columns);
	rel->result = makeNode(ResultRelInfo);
	InitResultRelInfo(rel->result, rel->rel, 1, NULL, 0);
	if (!rel->fires_triggers)
		rel->result->ri_TrigDesc = NULL;
	bdr_trigger_prepare(rel);
	rel->estate->es_opened_result_relations =
		lappend(rel->estate->es_opened_result_relations, rel->result);
	if (rel->routes)
		bdr_partition_start(rel);
	else
		ExecOpenIndices(rel->result, false);
	rel->index_oids = palloc(rel->result->ri_NumIndices * sizeof(Oid) + 1);
	for (int i = 0; i < rel->result->ri_NumIndices; i++)
		rel->index_oids[i] = RelationGetRelid(rel->result->ri_IndexRelationDescs[i]);
	if (rel->has_defaults)
		build_defaults(rel);
	if (rel->has_domains)
		build_domains(rel);
	rel->kept = can_be_kept(rel);
	MemoryContextSwitchTo(old);
}

/*
 * Expression trees, and whatever index access methods other than these hang
 * on their IndexInfo, belong to one transaction.
 */
static bool
can_be_kept(BdrRelation *rel)
{
	TupleConstr *constr = RelationGetDescr(rel->rel)->constr;

	if (!rel->batchable || rel->is_partition || rel->routes || rel->has_domains || rel->has_virtual ||
		(constr != NULL && constr->num_check > 0))
		return false;
	for (int i = 0; i < rel->result->ri_NumIndices; i++)
	{
		Oid			am = rel->result->ri_IndexRelationDescs[i]->rd_rel->relam;
		IndexInfo  *info = rel->result->ri_IndexRelationInfo[i];

		if (am != BTREE_AM_OID && am != HASH_AM_OID)
			return false;
		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL)
			return false;
	}
	return true;
}

static void
build_defaults(BdrRelation *rel)
{
	rel->defaults = palloc0(rel->desc->natts * sizeof(ExprState *));
	rel->default_roles = palloc0(rel->desc->natts * sizeof(Oid));
	for (int i = 0; i < rel->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel->rel), i);
		Expr	   *expr;

		if (rel->supplied[i] || att->attisdropped || att->attgenerated)
			continue;
		/* the default may be that of the column's type */
		rel->default_roles[i] = att->atthasdef ? rel->owner : bdr_user_of_domain(att->atttypid, rel->owner);
		bdr_user_switch(rel->default_roles[i]);
		expr = (Expr *) build_column_default(rel->rel, i + 1);
		if (expr != NULL)
			rel->defaults[i] = ExecInitExpr(expression_planner(bdr_sequence_default(expr)), NULL);
	}
	bdr_user_switch(rel->owner);
}

static void
build_domains(BdrRelation *rel)
{
	rel->domain_caches = palloc0(rel->ncolumns * sizeof(void *));
	rel->domain_roles = palloc0(rel->ncolumns * sizeof(Oid));
	for (int i = 0; i < rel->ncolumns; i++)
	{
		if (OidIsValid(rel->columns[i].domain))
			rel->domain_roles[i] = bdr_user_of_domain(rel->columns[i].domain, rel->owner);
	}
}

static void
reopen_indexes(BdrRelation *rel)
{
	ResultRelInfo *result = rel->result;

	result->ri_RelationDesc = rel->rel;
	for (int i = 0; i < result->ri_NumIndices; i++)
		result->ri_IndexRelationDescs[i] = index_open(rel->index_oids[i], RowExclusiveLock);
}

/*
 * One of the indexes of an open relation.
 */
Relation
bdr_relation_index(BdrRelation *rel, Oid index)
{
	for (int i = 0; i < rel->result->ri_NumIndices; i++)
	{
		if (rel->index_oids[i] == index)
			return rel->result->ri_IndexRelationDescs[i];
	}
	elog(ERROR, "index %u of relation %u is not open", index, rel->local_relid);
}

/*
 * The scan that a lookup uses again and again, with its dirty snapshot.
 */
IndexScanDesc
bdr_relation_scan(BdrRelation *rel, BdrLookup *lookup)
{
	if (lookup->scan == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(rel->exec_context);

		lookup->scan = bdr_index_beginscan(rel->rel, bdr_relation_index(rel, lookup->index),
										   &lookup->dirty, lookup->nkeys);
		MemoryContextSwitchTo(old);
	}
	return lookup->scan;
}
