/*-------------------------------------------------------------------------
 * apply/apply.h
 *		What the files of a writer share.
 *
 * NOTES
 *		apply/writer.c reads messages and frames, apply/transaction.c maps remote
 *		transactions to local ones, row/relation.c remote tables to local
 *		ones, row/decode.c bytes to rows, row/scan.c finds a row that no index
 *		finds.  apply/change.c writes the rows and conflict/ask.c asks what to do
 *		where two nodes disagree.
 *
 *		A writer serves one peer and applies one transaction at a time, so
 *		the peer, the transaction and the counters are process-wide.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_APPLY_H
#define BDR_APPLY_APPLY_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "lib/ilist.h"
#include "nodes/execnodes.h"
#include "port/pg_bswap.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "bdr_protocol.h"

/* ---------------------------------------------------------------------
 * The peer, the transaction, the counters
 * ---------------------------------------------------------------------
 */

/* Whom this writer serves; SETUP. */
typedef struct BdrPeer
{
	uint32		subscription_id;
	uint32		node_id;
	uint32		local_node_id;
	bool		mirror;			/* of a join: the sender's state is copied */
	bool		trusted;		/* incoming changes always win; so in mirror mode */
	char	   *name;
	XLogRecPtr	first_lsn;
} BdrPeer;

/* Sent in PROGRESS, in this order. */
typedef struct BdrCounters
{
	uint64		commits;
	uint64		inserts;
	uint64		updates;
	uint64		deletes;
	uint64		truncates;
	uint64		conflicts;
	uint64		skipped;		/* transactions that were here already */
	uint64		aborts;			/* local transactions that were rolled back */
	uint64		deadlocks;		/* ... as victims of deadlocks, in part or whole */
	uint64		apply_usec;		/* from first change to commit, of those that wrote */
} BdrCounters;

#define BDR_COUNTERS			((int) (sizeof(BdrCounters) / sizeof(uint64)))

/* The remote transaction in progress. */
typedef struct BdrRemoteXact
{
	bool		open;			/* between BEGIN and COMMIT */
	bool		skip;			/* applied already */
	bool		started;		/* a local transaction stands for it */
	bool		careful;		/* look for conflicts before writing */
	bool		fetched;		/* values were read from the origin */
	TransactionId deleted_by;	/* the local one that deleted a row last */
	uint32		xid;
	uint32		change_nr;		/* of the change being applied, from 1 */
	uint32		origin_node;	/* never 0: the sender is resolved */
	XLogRecPtr	commit_lsn;
	XLogRecPtr	end_lsn;
	XLogRecPtr	origin_lsn;
	TimestampTz commit_time;
	BdrCounters counters;		/* added to the totals at commit */
} BdrRemoteXact;

extern BdrPeer bdr_peer;
extern BdrRemoteXact bdr_xact;
extern BdrCounters bdr_counters;

/* apply/writer.c: wait, interruptibly and reporting, until left_ms returns 0. */
extern void bdr_writer_wait(long (*left_ms) (void), const char *activity);

/* PROGRESS: the manager knows then what has been applied by now. */
extern void bdr_writer_report(void);

/* Reset after each change, or each run of inserts. */
extern MemoryContext bdr_change_context;

/* ---------------------------------------------------------------------
 * Reading frames: every access is checked
 * ---------------------------------------------------------------------
 */
typedef struct BdrReader
{
	const char *at;
	const char *end;
} BdrReader;

/* 08P01, with what was wrong as the detail. */
extern void bdr_frame_error(const char *fmt,...) pg_attribute_printf(1, 2) pg_attribute_noreturn();
extern char *bdr_read_name(BdrReader *reader);

static inline Size
bdr_reader_left(const BdrReader *reader)
{
	return (Size) (reader->end - reader->at);
}

static inline const char *
bdr_read_bytes(BdrReader *reader, Size n)
{
	const char *p = reader->at;

	if (unlikely(bdr_reader_left(reader) < n))
		bdr_frame_error("A message ends %zu bytes early.",
						n - bdr_reader_left(reader));
	reader->at += n;
	return p;
}

static inline uint8
bdr_read_uint8(BdrReader *reader)
{
	return (uint8) *bdr_read_bytes(reader, 1);
}

static inline uint16
bdr_read_uint16(BdrReader *reader)
{
	uint16		v;

	memcpy(&v, bdr_read_bytes(reader, sizeof(v)), sizeof(v));
	return pg_ntoh16(v);
}

static inline uint32
bdr_read_uint32(BdrReader *reader)
{
	uint32		v;

	memcpy(&v, bdr_read_bytes(reader, sizeof(v)), sizeof(v));
	return pg_ntoh32(v);
}

static inline uint64
bdr_read_uint64(BdrReader *reader)
{
	uint64		v;

	memcpy(&v, bdr_read_bytes(reader, sizeof(v)), sizeof(v));
	return pg_ntoh64(v);
}

/* ---------------------------------------------------------------------
 * Conflict types, and what can be done
 * ---------------------------------------------------------------------
 */

/* Both as in docs/protocol.md. */
typedef enum BdrConflictType
{
	BDR_INSERT_EXISTS = 1,
	BDR_UPDATE_ORIGIN_CHANGE = 2,
	BDR_UPDATE_MISSING = 3,
	BDR_DELETE_RECENTLY_UPDATED = 4,
	BDR_DELETE_MISSING = 5,
	BDR_TARGET_COLUMN_MISSING = 6,
	BDR_SOURCE_COLUMN_MISSING = 7,
	BDR_TARGET_TABLE_MISSING = 8,
	BDR_UPDATE_RECENTLY_DELETED = 16,
	BDR_UPDATE_PKEY_EXISTS = 17,
	BDR_MULTIPLE_UNIQUE_CONFLICTS = 18,
	BDR_UPDATE_DIFFERING = 19
} BdrConflictType;

typedef enum BdrAction
{
	BDR_ACTION_APPLY = 1,
	BDR_ACTION_KEEP = 2,
	BDR_ACTION_ERROR = 3,
	BDR_ACTION_INSERT = 4,
	BDR_ACTION_FETCH = 5,
	BDR_ACTION_IGNORE = 6
} BdrAction;

/* ---------------------------------------------------------------------
 * Relations
 * ---------------------------------------------------------------------
 */
typedef enum BdrConversion
{
	BDR_CONVERT_IGNORE,			/* generated here */
	BDR_CONVERT_MISSING,		/* no such column here */
	BDR_CONVERT_NONE,			/* internal form of the very same type */
	BDR_CONVERT_INTERNAL_TEXT,	/* internal form of another type */
	BDR_CONVERT_RECEIVE,		/* send/recv form of the very same type */
	BDR_CONVERT_RECEIVE_TEXT,	/* send/recv form of another type */
	BDR_CONVERT_INPUT			/* text */
} BdrConversion;

/* How the inside of a value is checked; row/check.c. */
typedef struct BdrCheck BdrCheck;

/* One column as the peer sends it, and what becomes of its values. */
typedef struct BdrColumn
{
	char	   *name;
	uint8		flags;
	char		format;
	Oid			type;
	int32		typmod;
	int16		attlen;

	/* the local side; valid while the relation is mapped */
	BdrConversion conversion;
	AttrNumber	attnum;			/* 0: none */
	int16		typlen;			/* these three of the type that is sent */
	bool		typbyval;
	char		typalign;
	Oid			typeid;
	const BdrCheck *check;		/* NULL: any bytes will do */
	Oid			domain;			/* of the local column; InvalidOid: none */
	int32		local_typmod;	/* of its base type */
	FmgrInfo	fit;			/* applies it to internal form; without fn_oid: nothing does */
	FmgrInfo	input;			/* local input or receive function */
	Oid			input_param;
	FmgrInfo	receive;		/* of the remote type, before going via text */
	Oid			receive_param;
	FmgrInfo	output;
} BdrColumn;

/* How a local row is found: by a unique index, or by comparing columns. */
typedef struct BdrLookup
{
	bool		usable;			/* false: a column is missing here */
	bool	   *compare;		/* per local column: part of the search */
	Oid			index;			/* InvalidOid: see leading */
	int			nkeys;
	AttrNumber *attnums;
	ScanKeyData *keys;

	/* where that finds nothing: any index that leads to candidates */
	Oid			leading;		/* InvalidOid: sequential scan */
	int			nleading;
	AttrNumber *leading_attnums;
	ScanKeyData *leading_keys;

	/* valid while the relation is open */
	IndexScanDesc scan;
	SnapshotData dirty;
} BdrLookup;

/* Who owns a table at the peer. */
typedef struct BdrOwnerThere
{
	char	   *name;
	bool		is_superuser;
} BdrOwnerThere;

typedef struct BdrRelation
{
	uint32		remote_relid;	/* hash key; must be first */
	MemoryContext context;		/* the remote definition */
	char	   *schema;
	char	   *name;
	char		identity;
	uint8		flags;			/* BDR_RELATION_* */
	char	   *root_schema;	/* of the peer's partition; NULL: it is none */
	char	   *root_name;
	BdrOwnerThere owner_there;
	BdrOwnerThere root_owner;
	int			ncolumns;
	BdrColumn  *columns;

	/* partitions of ours, see row/partition.c; they live as long as context */
	Oid			leaf_relid;		/* this stands for one leaf of root */
	struct BdrRelation *root;	/* routes rows that do not belong here */
	HTAB	   *leaves;			/* of BdrLeaf, of what routes */

	/* what to do about what is missing; conflict/schema_mismatch.c */
	uint32		decided;
	BdrAction	decisions[3][2];

	/* the mapping, valid until the local table changes */
	bool		mapped;
	bool		stale;			/* set by invalidation */
	uint64		used;			/* when it was opened last, in openings */
	MemoryContext map_context;
	Oid			local_relid;
	TupleDesc	desc;			/* our copy: slots outlive a transaction */
	bool	   *supplied;		/* per local column: the peer sends it */
	bool		all_supplied;
	bool	   *unchanged;		/* per local column, of the last row read */
	int			nunchanged;
	bool		differs;		/* there are columns of the next two kinds */
	const BdrColumn *missing_here;	/* the first, or NULL */
	AttrNumber	missing_there;	/* the first, or 0 */
	const BdrColumn *homeless;	/* has a value in the last row, and no place here */
	BdrLookup	by_key;
	BdrLookup	by_row;
	AttrNumber *constrained;	/* in unique and exclusion constraints but the key */
	int			nconstrained;
	bool		has_deferrable;
	AttrNumber	row_version;	/* column of row versions; 0: none */
	bool		fires_triggers;
	bool		fires_before;	/* ... before row triggers */
	bool		fires_by_column;	/* ... for updates of some columns */
	bool		has_generated;
	bool		has_constraints;
	bool		is_partition;
	List	   *ancestors;		/* partitioned tables above ours, nearest first */
	List	   *above;			/* all whose code it may have: base/user_context.c */
	bool		routes;			/* partitioned here: rows go to its leaves */
	bool		reroutes;		/* rows that do not belong here go to root */
	bool		via_root;		/* stands for the root of the peer's partition */
	uint32		absent_root_hash;	/* of the name of a root that is not here */
	bool		has_defaults;	/* a column that is not sent has a default */
	bool		has_domains;
	bool		batchable;
	bool		kept;			/* execution state survives a transaction */
	TupleTableSlot *new_slot;
	TupleTableSlot *key_slot;
	TupleTableSlot *found_slot;
	TupleTableSlot *other_slot;
	TupleTableSlot **run_slots;
	int			nrun_slots;

	/* row/statistics.c */
	uint64	   *counts;			/* by BdrCountKind; of the transaction with this epoch */
	uint64		counts_epoch;

	/* execution state; its relations are open only inside a transaction */
	bool		open;
	Oid			owner;			/* for bdr_act_as */
	dlist_node	open_node;
	MemoryContext exec_context;
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result;
	Bitmapset  *all_columns;	/* as in pg_attribute bitmaps; NULL: nobody asks */
	Oid		   *index_oids;
	ExprState **defaults;		/* per local column, or NULL */
	Oid		   *default_roles;	/* ... and for bdr_act_as */
	List	   *levels;			/* of BdrLevel, if it routes */
	void	  **domain_caches;	/* per remote column, with has_domains */
	Oid		   *domain_roles;	/* ... for bdr_act_as */
} BdrRelation;

extern void bdr_relation_init(void);
extern void bdr_relation_define(BdrReader *reader);
extern void bdr_relation_forget(BdrReader *reader);
extern void bdr_relation_forget_definitions(void);
extern void bdr_relation_trim(void);
extern BdrRelation *bdr_relation_open(uint32 remote_relid);
extern bool bdr_relation_open_this(BdrRelation *rel);
extern BdrRelation *bdr_relation_find(uint32 remote_relid);
extern bool bdr_trigger_fires(const Trigger *trigger);
extern Relation bdr_relation_open_exclusive(BdrRelation *rel);
extern void bdr_relation_drop(BdrRelation *rel);
extern void bdr_relation_mark_all_stale(void);
extern IndexScanDesc bdr_relation_scan(BdrRelation *rel, BdrLookup *lookup);
extern Relation bdr_relation_index(BdrRelation *rel, Oid index);
extern void bdr_relation_release_pins(void);
extern void bdr_relation_close_all(void);
extern void bdr_relation_forget_all(void);
extern void bdr_relation_describe_local(BdrRelation *rel, Relation local);
extern Oid	bdr_relation_choose_index(Relation local, const bool *allowed);
extern bool bdr_index_scan_key(ScanKey key, Relation index, int i);

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */
extern void bdr_tuple_read(BdrReader *reader, BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_tuple_fill_defaults(BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_tuple_fill_from(BdrRelation *rel, TupleTableSlot *slot, TupleTableSlot *local);
extern void bdr_tuple_complete_from_old(BdrRelation *rel, TupleTableSlot *slot, TupleTableSlot *old);
extern bool bdr_tuple_find(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found);
extern void bdr_scan_choose_index(Relation local, BdrLookup *lookup);
extern bool bdr_scan_find(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found);

/* ---------------------------------------------------------------------
 * Checks of what came as bytes
 * ---------------------------------------------------------------------
 */
extern const BdrCheck *bdr_check_make(Oid type);
extern bool bdr_check_value(const BdrCheck *check, const struct varlena *value);
extern bool bdr_check_fixed(const BdrCheck *check, const char *bytes, Size size);
extern bool bdr_check_fits(Oid type, int32 typmod, Datum value);
extern void bdr_check_domains(BdrRelation *rel, TupleTableSlot *slot);

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

/* An update or delete being applied, for those who may have to start over. */
typedef struct BdrUpdate
{
	BdrRelation *rel;
	BdrReader	body;			/* from the old row on */
	BdrLookup  *lookup;
	TupleTableSlot *key;		/* to look up by */
	TupleTableSlot *row;		/* the new row; NULL: delete */
	bool		wants_all;		/* also the values that it left out */
} BdrUpdate;
extern void bdr_apply_init(void);
extern void bdr_apply_insert(BdrReader *reader);
extern void bdr_apply_update(BdrReader *reader);
extern void bdr_apply_delete(BdrReader *reader);
extern void bdr_truncate_apply(BdrReader *reader);

/* apply/tombstone.c */
extern void bdr_unseen_apply(BdrReader *body);
extern void bdr_apply_flush(void);
extern bool bdr_apply_is_flushed(void);
extern void bdr_apply_forget(void);

extern void bdr_apply_read_update(BdrUpdate *update, BdrReader *reader);
extern void bdr_apply_read_delete(BdrUpdate *update, BdrReader *reader);
extern bool bdr_apply_find_and_write(BdrUpdate *update);
extern void bdr_apply_prepare_triggers(BdrRelation *rel);
extern void bdr_apply_begin_change(BdrRelation *rel);
extern void bdr_apply_fire_triggers(BdrRelation *rel);
extern void bdr_writer_apply_messages(BdrReader *reader);

/* Whose code runs: base/user_context.c */
extern Oid	bdr_act_as(Oid role);
extern void bdr_act_forget(void);
extern Oid	bdr_act_owner(Relation rel);
extern Oid	bdr_act_domain(Oid type, Oid otherwise);
extern Oid	bdr_act_owner_below(Relation rel, const List *above);

/* Deferrable constraints: conflict/deferred.c */
extern void bdr_deferred_add(BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_deferred_add_lost(BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_deferred_settle(void);
extern bool bdr_deferred_take_back(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row);
extern void bdr_deferred_forget(BdrRelation *rel);
extern void bdr_deferred_reset(void);
extern void bdr_deferred_keep(void);
extern void bdr_deferred_rollback(void);

/* The relation and change that an error is about; NULL: none. */
extern BdrRelation *bdr_apply_relation;

/* Which tables match: row/match.c */
extern void bdr_match_check(BdrRelation *rel, Relation local);
extern void bdr_match_owner(Oid relid, const BdrOwnerThere *there);
extern bool bdr_match_is_owner(const char *name, bool is_superuser, const BdrOwnerThere *there);

/* ---------------------------------------------------------------------
 * Partitioned tables
 * ---------------------------------------------------------------------
 */
extern Relation bdr_route_open_local(BdrRelation *rel, LOCKMODE lockmode);
extern void bdr_route_lock_ancestors(List *ancestors);
extern void bdr_route_map(BdrRelation *rel, Relation local);
extern void bdr_route_start(BdrRelation *rel);
extern void bdr_route_stop(BdrRelation *rel);
extern void bdr_route_mark_stale(BdrRelation *rel, Oid relid);
extern void bdr_route_trim(BdrRelation *rel, uint64 oldest);
extern void bdr_route_drop_leaves(BdrRelation *rel, uint64 oldest);
extern void bdr_route_drop_all(BdrRelation *rel);
extern BdrRelation *bdr_route_insert(BdrRelation *rel, BdrReader reader);
extern bool bdr_route_accepts(BdrRelation *rel, TupleTableSlot *row);
extern BdrRelation *bdr_route_target(BdrRelation *rel, TupleTableSlot **row);
extern bool bdr_route_update(BdrUpdate *update);
extern bool bdr_route_elsewhere(BdrUpdate *update);

/* ---------------------------------------------------------------------
 * Conflicts
 * ---------------------------------------------------------------------
 */

/* Who wrote a row, and when. */
typedef struct BdrVersion
{
	bool		known;
	TimestampTz time;
	uint32		node;
} BdrVersion;

typedef struct BdrConflict
{
	BdrConflictType type;
	BdrRelation *rel;
	TupleTableSlot *key;		/* what the row was looked up by, or NULL */
	const bool *key_columns;	/* ... in these columns */
	TupleTableSlot *remote;		/* the incoming row, or NULL */
	TupleTableSlot *local;		/* the row that is here, or NULL */
	bool		complete;		/* the incoming row has every value */
	Oid			index;			/* that found the local row */

	/* of the local row, or of what is no longer to be seen */
	TransactionId local_xmin;
	BdrVersion	local_version;
	BdrAction	action;
	char	   *resolution;
	char	   *rule;
} BdrConflict;

extern void bdr_conflict_init(BdrSocket *decider);
extern BdrSocket *bdr_conflict_decider(void);	/* NULL: nobody can be asked */
extern void bdr_conflict_ask(BdrConflict *conflict);
extern void bdr_conflict_bad_action(BdrConflict *conflict) pg_attribute_noreturn();
extern void bdr_conflict_local_version(TransactionId xmin, BdrVersion *version);
extern void bdr_conflict_committed_version(TransactionId xid, uint32 local_node, BdrVersion *version);
extern TransactionId bdr_conflict_xmin(TupleTableSlot *slot);
extern const char *const bdr_conflict_type_names[];

extern bool bdr_conflict_with_update(TupleTableSlot *row);
extern bool bdr_conflict_with_delete(TupleTableSlot *row);

/* base/hint.c */
extern void bdr_hint_search_path(void);

/* conflict/origin_progress.c: what the sender had of other nodes' changes */
extern void bdr_seen_read(BdrReader *body);
extern bool bdr_seen_by_sender(const BdrVersion *version);

/* version/watermark.c */
extern void bdr_watermark_read(BdrReader *body);

/* conflict/log.c */
extern void bdr_conflict_log(BdrConflict *conflict, TupleTableSlot *applied);
extern char *bdr_conflict_key_text(BdrConflict *conflict);

/* Tables and columns that only one side has: conflict/schema_mismatch.c */
extern void bdr_missing_init(void);
extern void bdr_missing_forget(void);
extern uint32 bdr_missing_generation(void);
extern void bdr_missing_describe(BdrRelation *rel);
extern bool bdr_missing_accept(BdrRelation *rel, TupleTableSlot *row);
extern void bdr_missing_table(BdrRelation *rel);

/* ---------------------------------------------------------------------
 * Statistics of tables: row/statistics.c
 * ---------------------------------------------------------------------
 */
typedef enum BdrCountKind
{
	BDR_COUNT_INSERTS,
	BDR_COUNT_UPDATES,
	BDR_COUNT_DELETES,
	BDR_COUNT_TRUNCATES,
	BDR_COUNT_CONFLICTS
} BdrCountKind;

#define BDR_COUNT_KINDS		(BDR_COUNT_CONFLICTS + 1)

extern uint64 bdr_stats_epoch;	/* one per transaction that changed a table */

extern void bdr_stats_touch(BdrRelation *rel);
extern void bdr_stats_count_table(Oid relid, BdrCountKind kind);
extern void bdr_stats_undo(void);
extern void bdr_stats_keep(void);
extern void bdr_stats_commit(void);
extern void bdr_stats_report(void);

static inline void
bdr_stats_count(BdrRelation *rel, BdrCountKind kind)
{
	if (unlikely(rel == NULL))
		return;
	if (unlikely(rel->counts_epoch != bdr_stats_epoch))
		bdr_stats_touch(rel);
	rel->counts[kind]++;
}

/* ---------------------------------------------------------------------
 * Transactions
 * ---------------------------------------------------------------------
 */
extern void bdr_xact_init(void);
extern void bdr_xact_begin(BdrReader *reader);
extern void bdr_xact_start_local(void);
extern void bdr_xact_commit(BdrReader *reader);
extern void bdr_xact_abort(void);
extern void bdr_xact_reset_origin(void);

/* Where bdr_unit_redo starts over from. */
extern void bdr_unit_start(const char *at);
extern bool bdr_unit_may_redo(void);
extern void bdr_unit_start_over(void) pg_attribute_noreturn();
extern const char *bdr_unit_redo(void (*apply) (BdrReader *reader));
extern void bdr_unit_keep(const char *data, Size len, Size header);
extern void bdr_unit_close(void);
extern void bdr_unit_start_at(const char *at);

/* apply/pieces.c: rows that are too large for a frame */
extern uint8 bdr_piece_read(const char *start, BdrReader *piece, BdrReader *whole);
extern bool bdr_piece_is_due;	/* not all pieces of a row have come */
extern bool bdr_piece_is_held(void);
extern void bdr_piece_forget(void);
extern Datum bdr_piece_point_to(struct varlena *value);
extern void bdr_piece_copy_values(TupleTableSlot *slot);

/* apply/walwriter.c */
extern void bdr_walwriter_begin_frame(void);
extern void bdr_walwriter_before_commit(void);	/* of a transaction that wrote */
extern void bdr_walwriter_end_frame(void);

/* Progress: what is applied, and what of it is on disk here. */
extern XLogRecPtr bdr_progress_applied(void);
extern TimestampTz bdr_progress_time(void);
extern XLogRecPtr bdr_progress_flushed(void);	/* asks how far WAL is flushed */
extern bool bdr_progress_pending(void);

#endif							/* BDR_APPLY_APPLY_H */
