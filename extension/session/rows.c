/*-------------------------------------------------------------------------
 * session/rows.c
 *		Does a table have rows?
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_inherits.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "session/rows.h"

/*
 * Or one below it.  Whatever the size of its file: a table that was emptied may
 * have one.
 */
bool
bdr_table_has_rows(Oid relid)
{
	bool		found = false;
	ListCell   *lc;

	LockRelationOid(relid, AccessShareLock);	/* only those below it are locked next */
	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation	rel = table_open(lfirst_oid(lc), NoLock);
		Snapshot	snapshot;
		TableScanDesc scan;
		TupleTableSlot *slot;

		if (!found && RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
		{
			snapshot = RegisterSnapshot(GetLatestSnapshot());
			slot = table_slot_create(rel, NULL);
			scan = table_beginscan(rel, snapshot, 0, NULL);
			found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
			table_endscan(scan);
			ExecDropSingleTupleTableSlot(slot);
			UnregisterSnapshot(snapshot);
		}
		table_close(rel, AccessShareLock);
	}
	return found;
}
