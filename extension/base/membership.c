/*-------------------------------------------------------------------------
 * base/membership.c
 *		Is this database a node of a group?
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/membership.h"
#include "base/tables.h"

/* As in gosrc/membership. */
#define BDR_STATE_PARTED		12

static bool read_oids(Oid relid, const char *key, Oid value, const char *const *columns, Oid *result, int n);
static bool read_node(Oid node, Oid *group, Oid *state);

/* Then *node is its id. */
bool
bdr_is_member(Oid *node)
{
	Oid			group = InvalidOid;
	Oid			state = InvalidOid;

	return bdr_is_node(node) && read_node(*node, &group, &state) &&
		OidIsValid(group) && state != BDR_STATE_PARTED;
}

/*
 * Read columns of type oid from the row whose key column, if it is not NULL,
 * has this value.  Returns false when there is none.
 */
static bool
read_oids(Oid relid, const char *key, Oid value, const char *const *columns, Oid *result, int n)
{
	Relation	rel;
	Snapshot	snapshot;
	TableScanDesc scan;
	TupleTableSlot *slot;
	bool		found = false;
	bool		isnull;

	if (!OidIsValid(relid))
		return false;
	rel = table_open(relid, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);
	slot = table_slot_create(rel, NULL);
	while (!found && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (key != NULL && DatumGetObjectId(slot_getattr(slot, get_attnum(relid, key), &isnull)) != value)
			continue;
		for (int i = 0; i < n; i++)
			result[i] = DatumGetObjectId(slot_getattr(slot, get_attnum(relid, columns[i]), &isnull));
		found = true;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return found;
}

bool
bdr_is_node(Oid *node)
{
	static const char *const columns[] = {"node_id"};

	return read_oids(bdr_catalog_relation("local_node"), NULL, InvalidOid, columns, node, 1);
}

static bool
read_node(Oid node, Oid *group, Oid *state)
{
	static const char *const columns[] = {"node_group_id", "node_state"};
	Oid			values[2];

	if (!read_oids(bdr_catalog_relation("node"), "node_id", node, columns, values, 2))
		return false;
	*group = values[0];
	*state = values[1];
	return true;
}

int
bdr_node_number(Oid node)
{
	static const char *const columns[] = {"seq_id"};
	Oid			number;

	return read_oids(bdr_catalog_relation("node"), "node_id", node, columns, &number, 1) ? (int) number : 0;
}

int
bdr_count_members(void)
{
	Oid			relid = bdr_catalog_relation("node");
	Relation	rel;
	Snapshot	snapshot;
	TableScanDesc scan;
	TupleTableSlot *slot;
	int			count = 0;
	bool		isnull;

	if (!OidIsValid(relid))
		return 0;
	rel = table_open(relid, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);
	slot = table_slot_create(rel, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (DatumGetObjectId(slot_getattr(slot, get_attnum(relid, "node_group_id"), &isnull)) != InvalidOid &&
			DatumGetObjectId(slot_getattr(slot, get_attnum(relid, "node_state"), &isnull)) != BDR_STATE_PARTED)
			count++;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return count;
}
