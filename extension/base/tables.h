/*-------------------------------------------------------------------------
 * base/tables.h
 *		Tables, indexes and functions of the extension.
 *
 * NOTES
 *		The name is not enough: where the extension is not installed, whoever
 *		may create a schema has one called "bdr", with whatever he likes in it.
 *		An object counts as ours only as a member of the extension.  Nothing
 *		else in the C code looks for our objects.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_TABLES_H
#define BDR_BASE_TABLES_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* InvalidOid: it is not installed in this database. */
extern Oid	bdr_catalog_extension(void);

/*
 * Our table or index of this name; InvalidOid when the extension is not
 * installed.  Needs a transaction.
 */
extern Oid	bdr_catalog_relation(const char *name);

/* As that, but an error when there is none. */
extern Relation bdr_catalog_open(const char *name, LOCKMODE lockmode);

/* Our function with this name, which no other of ours has. */
extern Oid	bdr_catalog_function(const char *name);

/* Is this relation ours? */
extern bool bdr_catalog_has(Oid relid);

/*
 * An error when the extension is not installed.  If it is, it cannot be
 * dropped before the end of the transaction, so names in our schema are ours.
 */
extern void bdr_catalog_require(void);

/* Columns of bdr.dropped_table. */
#define DROPPED_NSPNAME			1
#define DROPPED_RELNAME			2
#define DROPPED_TIME			3
#define DROPPED_OWNER			4
#define DROPPED_OWNER_SUPERUSER	5
#define DROPPED_COLUMNS			5

/* Columns of bdr.remembered_version, in the order of sql/50_versions.sql. */
enum
{
	BDR_VERSION_RELATION = 1,
	BDR_VERSION_INDEX_NAME,
	BDR_VERSION_VALUE_HASH,
	BDR_VERSION_KEY_VALUES,
	BDR_VERSION_COMMIT_TIME,
	BDR_VERSION_NODE_ID
};
#define BDR_VERSION_COLUMNS BDR_VERSION_NODE_ID

/* As commit_time: that of the transaction that wrote the row. */
#define BDR_VERSION_TIME_OWN	DT_NOEND

/* ... of bdr.evicted_row. */
enum
{
	BDR_EVICTED_RELATION = 1,
	BDR_EVICTED_VALUE_HASH,
	BDR_EVICTED_KEY_VALUES,
	BDR_EVICTED_XID
};
#define BDR_EVICTED_COLUMNS BDR_EVICTED_XID

/* ... of the tables of sequences, sql/52_sequence.sql. */
enum
{
	BDR_KIND_SEQID = 1,
	BDR_KIND_KIND,
	BDR_KIND_KEY,
	BDR_KIND_STOPPED_BY,
	BDR_KIND_LOCAL_LAST,
	BDR_KIND_LOCAL_CALLED
};
#define BDR_KIND_COLUMNS BDR_KIND_LOCAL_CALLED

enum
{
	BDR_SWITCH_ID = 1,
	BDR_SWITCH_NSPNAME,
	BDR_SWITCH_RELNAME,
	BDR_SWITCH_KIND,
	BDR_SWITCH_NODE,
	BDR_SWITCH_STARTED,
	BDR_SWITCH_DONE
};

enum
{
	BDR_CHUNK_KEY = 1,
	BDR_CHUNK_FIRST,
	BDR_CHUNK_LAST,
	BDR_CHUNK_NODE
};

enum
{
	BDR_ALLOCATION_KEY = 1,
	BDR_ALLOCATION_SIZE,
	BDR_ALLOCATION_UP_TO
};

/* ... of bdr.queue, sql/56_queue.sql. */
enum
{
	BDR_QUEUE_QUEUED_AT = 1,
	BDR_QUEUE_ROLE,
	BDR_QUEUE_REPLICATION_SETS,
	BDR_QUEUE_MESSAGE_TYPE,
	BDR_QUEUE_MESSAGE,
	BDR_QUEUE_SETTINGS,
	BDR_QUEUE_ROLE_SUPERUSER
};
#define BDR_QUEUE_COLUMNS BDR_QUEUE_ROLE_SUPERUSER

/* Its message_type. */
#define BDR_QUEUE_DDL			'D'	/* a statement, which has run */
#define BDR_QUEUE_PART			'P'	/* what is written from here to the next row is part of that */

/* ... of bdr.table_gate, sql/57_global_lock.sql. */
enum
{
	BDR_TABLE_GATE_RELID = 1,
	BDR_TABLE_GATE_NODE,
	BDR_TABLE_GATE_LOCK_ID
};
#define BDR_TABLE_GATE_COLUMNS BDR_TABLE_GATE_LOCK_ID

/* ... of what says which tables are sent, sql/43_replication_set.sql. */
enum
{
	BDR_SET_ID = 1,
	BDR_SET_NAME,
	BDR_SET_INSERT,
	BDR_SET_UPDATE,
	BDR_SET_DELETE,
	BDR_SET_TRUNCATE,
	BDR_SET_INTERNAL,
	BDR_SET_ADDS_TABLES,
	BDR_SET_ADDS_SEQUENCES
};
#define BDR_SET_COLUMNS BDR_SET_ADDS_SEQUENCES

enum
{
	BDR_SET_TABLE_SET = 1,
	BDR_SET_TABLE_NSPNAME,
	BDR_SET_TABLE_RELNAME,
	BDR_SET_TABLE_MEMBER,
	BDR_SET_TABLE_ATTS,
	BDR_SET_TABLE_FILTER,
	BDR_SET_TABLE_OUTSIDE
};
#define BDR_SET_TABLE_COLUMNS BDR_SET_TABLE_OUTSIDE

enum
{
	BDR_SET_DDL_SET = 1,
	BDR_SET_DDL_NAME,
	BDR_SET_DDL_TAG,
	BDR_SET_DDL_ROLE,
	BDR_SET_DDL_QUERY,
	BDR_SET_DDL_EXCLUSIVE
};
#define BDR_SET_DDL_COLUMNS BDR_SET_DDL_EXCLUSIVE

/* ... of bdr.node_group and bdr.local_node */
#define BDR_GROUP_ID			1
#define BDR_GROUP_NAME			2
#define BDR_LOCAL_PUBLISHED		4

#endif							/* BDR_BASE_TABLES_H */
