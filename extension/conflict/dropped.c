/*-------------------------------------------------------------------------
 * conflict/dropped.c
 *		Was a table dropped here a short while ago?
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/tables.h"
#include "conflict/dropped.h"
#include "row/match.h"

/*
 * Was a table of that name, and of the owner that the peer's table has, dropped
 * here?
 */
bool
bdr_dropped_recently(const char *schema, const char *name, const BdrOwnerThere *there)
{
	Relation	catalog = bdr_catalog_open("dropped_table", AccessShareLock);
	TimestampTz limit = GetCurrentTimestamp() - USECS_PER_DAY;
	NameData	searched;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	namestrcpy(&searched, name);
	ScanKeyInit(&key, DROPPED_RELNAME, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&searched));
	scan = systable_beginscan(catalog, bdr_catalog_relation("dropped_table_relname_idx"), true, GetActiveSnapshot(), 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		nspname = heap_getattr(tuple, DROPPED_NSPNAME, RelationGetDescr(catalog), &isnull);
		Datum		time = heap_getattr(tuple, DROPPED_TIME, RelationGetDescr(catalog), &isnull);
		Datum		owner = heap_getattr(tuple, DROPPED_OWNER, RelationGetDescr(catalog), &isnull);
		Datum		is_superuser = heap_getattr(tuple, DROPPED_OWNER_SUPERUSER, RelationGetDescr(catalog), &isnull);

		found = strcmp(NameStr(*DatumGetName(nspname)), schema) == 0 && DatumGetTimestampTz(time) > limit &&
			bdr_match_is_owner(NameStr(*DatumGetName(owner)), DatumGetBool(is_superuser), there);
	}
	systable_endscan(scan);
	table_close(catalog, NoLock);
	return found;
}
