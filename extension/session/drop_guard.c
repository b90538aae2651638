/*-------------------------------------------------------------------------
 * session/drop_guard.c
 *		DROP EXTENSION bdr is refused while the node is a member of a group;
 *		a database that is not a node any more loses its label and manager.
 *
 * NOTES
 *		The hook sees every way to drop the extension: by name, with its
 *		owner, or with something it depends on.  It looks when the first of
 *		bdr.node and bdr.local_node goes, while both can still be read.
 *
 *		A security label of provider "bdr" on a database says that it is a
 *		node; the supervisor reads it.  It commits and rolls back like
 *		everything else, so the supervisor is told after the commit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/seclabel.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/bdr.h"
#include "base/hooks.h"
#include "base/shmem.h"
#include "base/tables.h"
#include "session/drop_guard.h"

/* What to do when the transaction commits. */
static bool stop_manager = false;
static bool wake_supervisor = false;

static void guard(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg);
static void refuse_if_member(void);
static void unlabel_database(void);
static void make_way(Oid database);
static void check_label(const ObjectAddress *object, const char *label);
static void at_transaction_end(XactEvent event, void *arg);

void
bdr_drop_guard_init(void)
{
	bdr_hooks_on_access(guard);
	register_label_provider(BDR_LABEL_PROVIDER, check_label);
	RegisterXactCallback(at_transaction_end, NULL);
}

static void
guard(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (access != OAT_DROP || subId != 0)
		return;
	if (classId == RelationRelationId)
	{
		Oid			node = bdr_catalog_relation("node");
		Oid			local = bdr_catalog_relation("local_node");

		if (OidIsValid(node) && OidIsValid(local) && (objectId == node || objectId == local))
			refuse_if_member();
	}
	else if (classId == ExtensionRelationId && objectId == bdr_catalog_extension())
		unlabel_database();
	else if (classId == DatabaseRelationId)
		make_way(objectId);
}

static void
refuse_if_member(void)
{
	char	   *node = NULL;
	MemoryContext old = CurrentMemoryContext;

	SPI_connect();
	if (SPI_execute("SELECT n.node_name FROM bdr.local_node l, bdr.node n, bdr.peer_state s"
					" WHERE n.node_id OPERATOR(pg_catalog.=) l.node_id"
					" AND n.node_group_id OPERATOR(pg_catalog.<>) 0"
					" AND s.state OPERATOR(pg_catalog.=) n.node_state"
					" AND s.state_name OPERATOR(pg_catalog.<>) 'PARTED'", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read bdr.local_node");
	if (SPI_processed > 0)
		node = MemoryContextStrdup(old, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	if (node != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot drop extension \"bdr\""),
				 errdetail("Node \"%s\" is a member of a node group.", node),
				 errhint("Part it first, with bdr.part_node(%s) on another node, or if it is the last one, remove it with bdr.drop_node(%s).",
						 quote_literal_cstr(node), quote_literal_cstr(node))));
}

static void
unlabel_database(void)
{
	ObjectAddress database = {DatabaseRelationId, MyDatabaseId, 0};

	if (GetSecurityLabel(&database, BDR_LABEL_PROVIDER) != NULL)
		SetSecurityLabel(&database, BDR_LABEL_PROVIDER, NULL);
	stop_manager = true;
}

/*
 * DROP DATABASE waits some seconds for others to leave: the manager of a
 * database that is not a node leaves.  A node's stays, and the DROP fails.
 */
static void
make_way(Oid database)
{
	ObjectAddress address = {DatabaseRelationId, database, 0};

	if (bdr_is_preloaded() && GetSecurityLabel(&address, BDR_LABEL_PROVIDER) == NULL)
		bdr_shmem_stop_manager(database);
}

/* The text of a label means nothing. */
static void
check_label(const ObjectAddress *object, const char *label)
{
	if (object->classId != DatabaseRelationId)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("bdr labels only databases")));
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to label a database for bdr"),
				 errhint("Only superusers can do that; it makes bdr start a manager in the database.")));
	wake_supervisor = true;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT && bdr_is_preloaded())
	{
		if (stop_manager)
			bdr_shmem_stop_manager(MyDatabaseId);
		else if (wake_supervisor)
			bdr_shmem_wake_supervisor();
	}
	stop_manager = wake_supervisor = false;
}
