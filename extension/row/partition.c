/*-------------------------------------------------------------------------
 * row/partition.c
 *		Rows for tables that the nodes have cut into other partitions.
 *
 * NOTES
 *		Changes arrive as changes of ordinary tables and of partitions; of a
 *		partition we know the name of its root too.  What stands for it here:
 *
 *		partition	the table of that name, if it is a partition of the same
 *					root, or of none; otherwise the root
 *		root		partitioned here: its leaf for each row; else itself
 *
 *		A BdrRelation whose table is partitioned has none to write to: it has
 *		another BdrRelation for each of its leaves (leaves), made when a row
 *		goes there, from the same definition.  Bytes are read once to see
 *		which leaf it is and again for that leaf, whose columns may lie in
 *		another order.
 *
 *		A partition that is written to directly may have other bounds than
 *		the peer's.  So rows that it does not accept, and rows that are not
 *		found in it, go through its root.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tupconvert.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/syscache.h"

#include "base/user_context.h"
#include "row/match.h"
#include "row/partition.h"
#include "row/write_lock.h"
#include "bdr_compat.h"

/* One leaf of a table that routes. */
typedef struct BdrLeaf
{
	Oid			relid;			/* hash key */
	BdrRelation *rel;
} BdrLeaf;

/* One partitioned table on the way to a leaf; the first is the root. */
typedef struct BdrLevel
{
	Relation	rel;
	Oid			owner;			/* for bdr_user_switch */
	PartitionKey key;
	List	   *expressions;	/* ExprState, of key->partexprs */
	Bitmapset  *columns;		/* of the root that the key is made of */
	AttrMap    *map;			/* from rows of the root, or NULL */
	TupleTableSlot *slot;
} BdrLevel;

static bool belongs_to_root(BdrRelation *rel);
static Oid	look_up(const char *schema, const char *name);
static bool is_named(Oid relid, const char *schema, const char *name);
static Oid	topmost(Oid relid);
static uint32 name_hash_if_absent(const char *schema, const char *name);
static BdrRelation *make_related(BdrRelation *rel, char *schema, char *name, const BdrOwnerThere *owner);
static BdrRelation *leaf_of(BdrRelation *root, Oid relid);
pg_noreturn static void table_is_gone(BdrRelation *root);
static BdrLevel *make_level(BdrRelation *root, Relation partitioned);
static Bitmapset *key_columns(BdrLevel *level);
static BdrLevel *find_level(BdrRelation *root, Oid relid);
static Oid	find_leaf(BdrRelation *root, TupleTableSlot *row, const bool *known, Oid *unknown_below);
static bool is_known(BdrLevel *level, const bool *known);
static int	choose_partition(BdrRelation *root, BdrLevel *level, PartitionDesc desc, TupleTableSlot *row);
static void compute_key(BdrRelation *root, BdrLevel *level, TupleTableSlot *row, Datum *values, bool *isnull);
static int	look_up_key(BdrLevel *level, PartitionBoundInfo bounds, Datum *values, bool *isnull);
static Oid	leaf_of_new_row(BdrRelation *root, TupleTableSlot *row);
static void convert_row(BdrRelation *from, TupleTableSlot *in, BdrRelation *to, TupleTableSlot *out);

/* ---------------------------------------------------------------------
 * Which local table
 * ---------------------------------------------------------------------
 */

/*
 * The table for a relation that is a leaf of ours or a partition of the
 * peer's.  NULL: neither the partition nor its root is here.
 *
 * The choice looks at more than the table that gets locked, so it is made
 * again under the lock.
 */
Relation
bdr_partition_open_local(BdrRelation *rel, LOCKMODE lockmode)
{
	if (OidIsValid(rel->leaf_relid))
	{
		Relation	leaf = bdr_write_lock_open(rel->leaf_relid, lockmode);

		if (leaf == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("a partition of table \"%s.%s\" was dropped while a row went there",
							rel->schema, rel->name)));
		return leaf;
	}
	for (;;)
	{
		bool		to_root = belongs_to_root(rel);
		Oid			own = look_up(rel->schema, rel->name);
		RangeVar   *range = to_root ? makeRangeVar(rel->root_schema, rel->root_name, -1) :
			makeRangeVar(rel->schema, rel->name, -1);
		Relation	local;
		Oid			relid;

		CHECK_FOR_INTERRUPTS();
		if (!to_root && OidIsValid(own))
			bdr_partition_lock_ancestors(get_partition_ancestors(own));
		relid = bdr_write_lock_name(range, lockmode);
		local = OidIsValid(relid) ? relation_open(relid, NoLock) : NULL;
		if ((local != NULL || !to_root) && belongs_to_root(rel) == to_root)
		{
			rel->via_root = to_root;
			return local;
		}
		if (local != NULL)
			relation_close(local, NoLock);
	}
}

/*
 * Lock what the partition check will look at, from the top: whoever locks all
 * of a partitioned table, as TRUNCATE does, comes that way.
 */
void
bdr_partition_lock_ancestors(List *ancestors)
{
	for (int i = list_length(ancestors) - 1; i >= 0; i--)
		LockRelationOid(list_nth_oid(ancestors, i), AccessShareLock);
}

/*
 * Does the root stand for the peer's partition?
 *
 * A table of the partition's name that is no partition does so itself while
 * the root is partitioned: it is about to be attached, or was just detached.
 */
static bool
belongs_to_root(BdrRelation *rel)
{
	Oid			own = look_up(rel->schema, rel->name);
	Oid			root = look_up(rel->root_schema, rel->root_name);

	if (!OidIsValid(root))
		return false;
	if (!OidIsValid(own) || get_rel_relkind(root) != RELKIND_PARTITIONED_TABLE ||
		get_rel_relkind(own) == RELKIND_PARTITIONED_TABLE)
		return true;
	return get_rel_relispartition(own) && topmost(own) != root;
}

static Oid
look_up(const char *schema, const char *name)
{
	Oid			namespace = get_namespace_oid(schema, true);

	return OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
}

static bool
is_named(Oid relid, const char *schema, const char *name)
{
	return OidIsValid(relid) && look_up(schema, name) == relid;
}

/*
 * InvalidOid: it is no partition.
 */
static Oid
topmost(Oid relid)
{
	List	   *ancestors = get_partition_ancestors(relid);

	return ancestors == NIL ? InvalidOid : llast_oid(ancestors);
}

/* ---------------------------------------------------------------------
 * Mapping
 * ---------------------------------------------------------------------
 */

/*
 * Called while rel is mapped to local.
 */
void
bdr_partition_map(BdrRelation *rel, Relation local)
{
	HASHCTL		ctl = {0};

	rel->routes = local->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	rel->reroutes = OidIsValid(rel->leaf_relid);
	rel->absent_root_hash = 0;
	rel->ancestors = NIL;
	if (local->rd_rel->relispartition && !OidIsValid(rel->leaf_relid))
		rel->ancestors = get_partition_ancestors(RelationGetRelid(local));
	if (rel->routes)
	{
		/* triggers of partitioned tables are cloned to the leaves */
		rel->fires_triggers = false;
		rel->fires_before = false;
		rel->fires_by_column = false;
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(BdrLeaf);
		ctl.hcxt = rel->context;
		if (rel->leaves == NULL)
			rel->leaves = hash_create("bdr leaves", 16, &ctl,
									  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	if (rel->root_name == NULL || rel->via_root)
		return;
	if (!local->rd_rel->relispartition)
		rel->absent_root_hash = name_hash_if_absent(rel->root_schema, rel->root_name);
	else if (rel->ancestors != NIL && is_named(llast_oid(rel->ancestors), rel->root_schema, rel->root_name))
	{
		bdr_match_owner(rel, llast_oid(rel->ancestors), &rel->root_owner);
		rel->reroutes = true;
		if (rel->root == NULL)
			rel->root = make_related(rel, rel->root_schema, rel->root_name, &rel->root_owner);
	}
}

static uint32
name_hash_if_absent(const char *schema, const char *name)
{
	Oid			namespace = get_namespace_oid(schema, true);
	NameData	key;

	if (!OidIsValid(namespace) || OidIsValid(get_relname_relid(name, namespace)))
		return 0;
	namestrcpy(&key, name);
	return GetSysCacheHashValue2(RELNAMENSP, NameGetDatum(&key), ObjectIdGetDatum(namespace));
}

/*
 * Another relation for the same changes, not yet mapped.
 */
static BdrRelation *
make_related(BdrRelation *rel, char *schema, char *name, const BdrOwnerThere *owner)
{
	BdrRelation *related = MemoryContextAllocZero(rel->context, sizeof(BdrRelation));

	related->remote_relid = rel->remote_relid;
	related->apply = rel->apply;
	related->context = rel->context;
	related->schema = schema;
	related->name = name;
	related->owner_there = *owner;
	related->identity = rel->identity;
	related->flags = rel->flags;
	related->ncolumns = rel->ncolumns;
	related->columns = MemoryContextAlloc(rel->context, Max(rel->ncolumns, 1) * sizeof(BdrColumn));
	memcpy(related->columns, rel->columns, rel->ncolumns * sizeof(BdrColumn));
	return related;
}

/*
 * A local table has changed (InvalidOid: any).
 */
void
bdr_partition_mark_stale(BdrRelation *rel, Oid relid)
{
	HASH_SEQ_STATUS scan;
	BdrLeaf    *leaf;

	if (relid == InvalidOid || rel->local_relid == relid || list_member_oid(rel->ancestors, relid))
		rel->stale = true;
	if (rel->leaves != NULL)
	{
		hash_seq_init(&scan, rel->leaves);
		while ((leaf = hash_seq_search(&scan)) != NULL)
		{
			if (leaf->rel != NULL)
				bdr_partition_mark_stale(leaf->rel, relid);
		}
	}
	if (rel->root != NULL && !OidIsValid(rel->leaf_relid))
		bdr_partition_mark_stale(rel->root, relid);
}

/*
 * Drop the mappings of rel, its leaves and its root that are stale, or were
 * used last by that opening or an earlier one.  Nothing is open.
 */
void
bdr_partition_trim(BdrRelation *rel, uint64 oldest)
{
	if (rel->root != NULL && !OidIsValid(rel->leaf_relid))
		bdr_partition_trim(rel->root, oldest);
	if (rel->mapped && (rel->stale || rel->used <= oldest))
		bdr_relation_drop(rel);
	else
		bdr_partition_drop_leaves(rel, oldest);
}

/*
 * The leaves go that are stale, or were used last by that opening or an earlier
 * one.  Those that are open are closed with the others and mapped again when
 * they are used.
 */
void
bdr_partition_drop_leaves(BdrRelation *rel, uint64 oldest)
{
	HASH_SEQ_STATUS scan;
	BdrLeaf    *leaf;

	if (rel->leaves == NULL)
		return;
	hash_seq_init(&scan, rel->leaves);
	while ((leaf = hash_seq_search(&scan)) != NULL)
	{
		BdrRelation *gone = leaf->rel;

		if (!gone->stale && gone->used > oldest)
			continue;
		if (gone->open)
		{
			gone->stale = true;
			continue;
		}
		leaf->rel = NULL;
		bdr_relation_drop(gone);
		pfree(gone->columns);
		pfree(gone);
		hash_search(rel->leaves, &leaf->relid, HASH_REMOVE, NULL);
	}
}

/*
 * The definition of rel goes away, and the context that all of them are in.
 */
void
bdr_partition_drop_all(BdrRelation *rel)
{
	HASH_SEQ_STATUS scan;
	BdrLeaf    *leaf;

	if (rel->leaves != NULL)
	{
		hash_seq_init(&scan, rel->leaves);
		while ((leaf = hash_seq_search(&scan)) != NULL)
			bdr_relation_drop(leaf->rel);
		hash_destroy(rel->leaves);
		rel->leaves = NULL;
	}
	if (rel->root != NULL)
	{
		bdr_partition_drop_all(rel->root);
		bdr_relation_drop(rel->root);
		rel->root = NULL;
	}
}

/* ---------------------------------------------------------------------
 * Opening
 * ---------------------------------------------------------------------
 */

/*
 * rel, which routes, was opened; the caller is in its exec_context.
 */
void
bdr_partition_start(BdrRelation *rel)
{
	rel->levels = list_make1(make_level(rel, rel->rel));
}

/*
 * Close what routing has opened, but for the root itself and the leaves.
 */
void
bdr_partition_stop(BdrRelation *rel)
{
	ListCell   *lc;

	if (rel->levels == NIL)
		return;
	for_each_from(lc, rel->levels, 1)
		table_close(((BdrLevel *) lfirst(lc))->rel, NoLock);
	rel->levels = NIL;
}

/*
 * Which table it is was found out a moment ago.
 */
static void
table_is_gone(BdrRelation *root)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("table \"%s.%s\" was dropped while a row went there", root->schema, root->name)));
}

void
bdr_partition_open_root(BdrRelation *root)
{
	if (!bdr_relation_is_ready(root) && !bdr_relation_open(root))
		table_is_gone(root);
}

/*
 * The relation for a leaf of root; it may not be open.
 */
static BdrRelation *
leaf_of(BdrRelation *root, Oid relid)
{
	bool		found;
	BdrLeaf    *leaf = hash_search(root->leaves, &relid, HASH_ENTER, &found);

	if (!found)
	{
		leaf->rel = NULL;
		leaf->rel = make_related(root, root->schema, root->name, &root->owner_there);
		leaf->rel->leaf_relid = relid;
		leaf->rel->root = root;
	}
	return leaf->rel;
}

BdrRelation *
bdr_partition_open_leaf(BdrRelation *root, Oid relid)
{
	BdrRelation *leaf = leaf_of(root, relid);

	if (!bdr_relation_is_ready(leaf) && !bdr_relation_open(leaf))
		table_is_gone(root);
	return root->apply->relation = leaf;
}

static BdrLevel *
make_level(BdrRelation *root, Relation partitioned)
{
	BdrLevel   *level = palloc0(sizeof(BdrLevel));
	Oid			before;

	level->rel = partitioned;
	level->owner = bdr_user_of_table(partitioned);
	before = bdr_user_switch(level->owner);
	level->key = RelationGetPartitionKey(partitioned);
	level->expressions = ExecPrepareExprList(level->key->partexprs, root->estate);
	level->map = bdr_attribute_map(root->desc, RelationGetDescr(partitioned));
	if (level->map != NULL)
		level->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(partitioned)),
											   &TTSOpsVirtual);
	level->columns = key_columns(level);
	bdr_user_switch(before);
	return level;
}

static Bitmapset *
key_columns(BdrLevel *level)
{
	Bitmapset  *own = NULL;
	Bitmapset  *columns = NULL;
	int			i;

	pull_varattnos((Node *) level->key->partexprs, 1, &own);
	for (i = 0; i < level->key->partnatts; i++)
	{
		if (level->key->partattrs[i] != InvalidAttrNumber)
			own = bms_add_member(own, level->key->partattrs[i] - FirstLowInvalidHeapAttributeNumber);
	}
	i = -1;
	while ((i = bms_next_member(own, i)) >= 0)
	{
		AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;

		if (attnum > 0)
			columns = bms_add_member(columns, level->map != NULL ?
									 level->map->attnums[attnum - 1] : attnum);
	}
	return columns;
}

static BdrLevel *
find_level(BdrRelation *root, Oid relid)
{
	MemoryContext old;
	Relation	partitioned;
	ListCell   *lc;

	foreach(lc, root->levels)
	{
		if (RelationGetRelid(((BdrLevel *) lfirst(lc))->rel) == relid)
			return lfirst(lc);
	}
	bdr_write_lock(relid);
	partitioned = table_open(relid, NoLock);
	old = MemoryContextSwitchTo(root->exec_context);
	root->levels = lappend(root->levels, make_level(root, partitioned));
	MemoryContextSwitchTo(old);
	return llast(root->levels);
}

/* ---------------------------------------------------------------------
 * From a row to its leaf
 * ---------------------------------------------------------------------
 */

/*
 * The leaf for a row of root; InvalidOid when there is none, or when that
 * depends on a column that is not known: then *unknown_below is the
 * partitioned table below which it is.  known NULL: all columns are.
 */
static Oid
find_leaf(BdrRelation *root, TupleTableSlot *row, const bool *known, Oid *unknown_below)
{
	BdrLevel   *level = linitial(root->levels);

	*unknown_below = InvalidOid;
	for (;;)
	{
		PartitionDesc desc = RelationGetPartitionDesc(level->rel, true);
		int			i;

		if (!is_known(level, known))
		{
			*unknown_below = RelationGetRelid(level->rel);
			return InvalidOid;
		}
		i = choose_partition(root, level, desc, row);
		if (i < 0 || desc->is_leaf[i])
			return i < 0 ? InvalidOid : desc->oids[i];
		level = find_level(root, desc->oids[i]);
	}
}

static bool
is_known(BdrLevel *level, const bool *known)
{
	int			attnum = -1;

	while (known != NULL && (attnum = bms_next_member(level->columns, attnum)) >= 0)
	{
		if (!known[attnum - 1])
			return false;
	}
	return true;
}

/*
 * Negative: no partition takes the row.
 */
static int
choose_partition(BdrRelation *root, BdrLevel *level, PartitionDesc desc, TupleTableSlot *row)
{
	Datum		values[PARTITION_MAX_KEYS];
	bool		isnull[PARTITION_MAX_KEYS];
	int			i;

	if (desc->nparts == 0)
		return -1;
	if (level->map != NULL)
		row = execute_attr_map_slot(level->map, row, level->slot);
	compute_key(root, level, row, values, isnull);
	i = look_up_key(level, desc->boundinfo, values, isnull);
	ResetPerTupleExprContext(root->estate);
	return i >= 0 ? i : desc->boundinfo->default_index;
}

static void
compute_key(BdrRelation *root, BdrLevel *level, TupleTableSlot *row, Datum *values, bool *isnull)
{
	ExprContext *econtext = GetPerTupleExprContext(root->estate);
	ListCell   *expression = list_head(level->expressions);
	Oid			before = bdr_user_switch(level->owner);

	econtext->ecxt_scantuple = row;
	for (int i = 0; i < level->key->partnatts; i++)
	{
		if (level->key->partattrs[i] != InvalidAttrNumber)
			values[i] = slot_getattr(row, level->key->partattrs[i], &isnull[i]);
		else
		{
			values[i] = ExecEvalExprSwitchContext(lfirst(expression), econtext, &isnull[i]);
			expression = lnext(level->expressions, expression);
		}
	}
	bdr_user_switch(before);
}

/*
 * The partition whose bounds name the key; the default one is not looked at.
 */
static int
look_up_key(BdrLevel *level, PartitionBoundInfo bounds, Datum *values, bool *isnull)
{
	PartitionKey key = level->key;
	bool		equal = false;
	int			at;

	if (key->strategy == PARTITION_STRATEGY_HASH)
		return bounds->indexes[compute_partition_hash_value(key->partnatts, key->partsupfunc,
															key->partcollation, values, isnull) %
							   bounds->nindexes];
	if (key->strategy == PARTITION_STRATEGY_LIST)
	{
		if (isnull[0])
			return bounds->null_index;
		at = partition_list_bsearch(key->partsupfunc, key->partcollation, bounds, values[0], &equal);
		return at >= 0 && equal ? bounds->indexes[at] : -1;
	}
	for (int i = 0; i < key->partnatts; i++)
	{
		if (isnull[i])
			return -1;
	}
	at = partition_range_datum_bsearch(key->partsupfunc, key->partcollation, bounds,
									   key->partnatts, values, &equal);
	return bounds->indexes[at + 1];
}

static Oid
leaf_of_new_row(BdrRelation *root, TupleTableSlot *row)
{
	Oid			unknown_below;
	Oid			leaf = find_leaf(root, row, NULL, &unknown_below);

	if (!OidIsValid(leaf))
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("no partition of table \"%s\" found for a row of node \"%s\"",
						RelationGetRelationName(root->rel), root->apply->peer.name),
				 errhint("Create the partition here too; replication then continues by itself.")));
	return leaf;
}

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

/*
 * The leaf of root for the new row that comes next; the caller opens it and
 * reads the row into it.
 */
BdrRelation *
bdr_partition_of_new_row(BdrRelation *root, BdrReader reader)
{
	bdr_partition_open_root(root);
	bdr_tuple_read(&reader, root, root->new_slot);
	bdr_tuple_fill_defaults(root, root->new_slot);
	return leaf_of(root, leaf_of_new_row(root, root->new_slot));
}

/*
 * Does the partition take this row?
 */
bool
bdr_partition_accepts(BdrRelation *rel, TupleTableSlot *row)
{
	return ExecPartitionCheck(rel->result, row, rel->estate, false);
}

/*
 * Where to insert a row of rel, which routes or is a partition.  The row is
 * exchanged for one of that table, if it is another.
 */
BdrRelation *
bdr_partition_target(BdrRelation *rel, TupleTableSlot **row)
{
	BdrRelation *root = rel->routes ? rel : rel->root;
	TupleTableSlot *root_row = *row;
	BdrRelation *target;
	Oid			leaf;

	if (rel != root)
	{
		if (bdr_partition_accepts(rel, *row))
			return rel;
		bdr_partition_open_root(root);
		root_row = root->found_slot;
		convert_row(rel, *row, root, root_row);
	}
	leaf = leaf_of_new_row(root, root_row);
	if (leaf == rel->local_relid)
		return rel;
	target = bdr_partition_open_leaf(root, leaf);
	convert_row(root, root_row, target, target->new_slot);
	memset(target->unchanged, false, target->desc->natts);
	target->nunchanged = 0;
	*row = target->new_slot;
	return target;
}

/*
 * Where the row of an update or delete of a table that routes may be: where its
 * key leads, else, if we may look everywhere, in every leaf.  The leaves are
 * locked.
 */
List *
bdr_partition_candidates(BdrUpdate *update, Oid except, bool everywhere)
{
	Oid			unknown_below;
	Oid			leaf = find_leaf(update->rel, update->key, update->lookup->compare, &unknown_below);
	List	   *candidates = NIL;
	ListCell   *lc;

	if (OidIsValid(leaf))
		return leaf != except ? list_make1_oid(leaf) : NIL;
	if (!OidIsValid(unknown_below) || !everywhere)
		return NIL;
	foreach(lc, find_all_inheritors(unknown_below, NoLock, NULL))
	{
		Oid			relid = lfirst_oid(lc);
		char		kind;

		bdr_write_lock(relid);
		kind = get_rel_relkind(relid);
		if (relid != except && kind != '\0' && kind != RELKIND_PARTITIONED_TABLE)
			candidates = lappend_oid(candidates, relid);
	}
	return candidates;
}

/*
 * The open relation that stands for a local table which changes of a relation
 * went to earlier in the transaction.
 */
BdrRelation *
bdr_partition_reopen(uint32 remote_relid, Oid relid)
{
	BdrRelation *rel = bdr_relation_find(remote_relid);
	BdrRelation *root;

	if (!bdr_relation_is_ready(rel) && !bdr_relation_open(rel))
		table_is_gone(rel);
	if (rel->local_relid == relid)
		return rel;
	root = rel->routes ? rel : rel->root;
	if (root == NULL)
		table_is_gone(rel);
	bdr_partition_open_root(root);
	return bdr_partition_open_leaf(root, relid);
}

/*
 * The same row with the columns as the other table has them.  Values stay
 * where they are.
 */
static void
convert_row(BdrRelation *from, TupleTableSlot *in, BdrRelation *to, TupleTableSlot *out)
{
	AttrMap    *map = bdr_attribute_map(from->desc, to->desc);

	if (map != NULL)
	{
		execute_attr_map_slot(map, in, out);
		return;
	}
	slot_getallattrs(in);
	ExecClearTuple(out);
	memcpy(out->tts_values, in->tts_values, from->desc->natts * sizeof(Datum));
	memcpy(out->tts_isnull, in->tts_isnull, from->desc->natts * sizeof(bool));
	ExecStoreVirtualTuple(out);
}
