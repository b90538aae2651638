/*-------------------------------------------------------------------------
 * conflict/case.c
 *		Conflict types by their names.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "conflict/case.h"

static const char *const type_names[] = {
	[BDR_INSERT_EXISTS] = "insert_exists",
	[BDR_UPDATE_ORIGIN_CHANGE] = "update_origin_change",
	[BDR_UPDATE_MISSING] = "update_missing",
	[BDR_DELETE_RECENTLY_UPDATED] = "delete_recently_updated",
	[BDR_DELETE_MISSING] = "delete_missing",
	[BDR_TARGET_COLUMN_MISSING] = "target_column_missing",
	[BDR_SOURCE_COLUMN_MISSING] = "source_column_missing",
	[BDR_TARGET_TABLE_MISSING] = "target_table_missing",
	[BDR_UPDATE_RECENTLY_DELETED] = "update_recently_deleted",
	[BDR_UPDATE_PKEY_EXISTS] = "update_pkey_exists",
	[BDR_MULTIPLE_UNIQUE_CONFLICTS] = "multiple_unique_conflicts",
	[BDR_UPDATE_DIFFERING] = "update_differing",
};

const char *
bdr_conflict_type_name(int type)
{
	return type >= 0 && type < lengthof(type_names) ? type_names[type] : NULL;
}
