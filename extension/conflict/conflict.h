/*-------------------------------------------------------------------------
 * conflict/conflict.h
 *		One incoming version of a row, all that it collides with, and what
 *		becomes of both.
 *
 * NOTES
 *		docs/decisions/0007-convergence.md has the rule.  conflict/detect.c finds
 *		what there is, conflict/tombstone.c keeps the versions that no row shows,
 *		conflict/ask.c asks Go, and conflict/resolve.c does what was decided.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_CONFLICT_H
#define BDR_CONFLICT_CONFLICT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "catalog/indexing.h"
#include "datatype/timestamp.h"
#include "nodes/execnodes.h"

#include "apply/apply.h"

/* These numbers travel: docs/protocol.md. */
typedef enum BdrOperation
{
	BDR_OP_INSERT = 1,
	BDR_OP_UPDATE = 2,
	BDR_OP_DELETE = 3
} BdrOperation;

typedef enum BdrImage
{
	BDR_IMAGE_COMPLETE = 1,
	BDR_IMAGE_PARTIAL = 2,		/* values that were not sent are not known */
	BDR_IMAGE_GONE = 3			/* ... and the origin has no such row any more */
} BdrImage;

typedef enum BdrFate
{
	BDR_FATE_STAYS = 1,
	BDR_FATE_REPLACED = 2,		/* the incoming row is written over it */
	BDR_FATE_REMOVED = 3,		/* deleted: it has the same key */
	BDR_FATE_EVICTED = 4		/* deleted: it has another key, and leaves a mark */
} BdrFate;

/* A constraint under which the incoming version has values that can collide. */
typedef struct BdrConstraint
{
	int			place;			/* of its index in the ResultRelInfo; -1: none */
	Oid			index;
	const char *name;			/* in bdr.remembered_version; "": the key */
	bool		is_exclusion;
	bool		is_deferrable;
	bool		by_value;		/* it has values; else only the lookup finds rows */
	int			nkeys;
	ScanKey		keys;			/* "existing operator value", with the values */
	Oid		   *types;			/* of the values; base types */
	int64		hash;			/* of the values; see conflict/tombstone.c */
	bool		taken;			/* a row that is here has equal values */
	bool		remember;		/* decided: the version took the values, unseen */
} BdrConstraint;

/* What collides: a row, or a version that is no longer to be seen. */
typedef struct BdrFound
{
	TupleTableSlot *row;		/* NULL: it is not a row */
	TransactionId xmin;
	BdrVersion	version;
	Bitmapset  *on;				/* places in BdrCase.constraints */
	BdrFate		fate;
} BdrFound;

typedef struct BdrCase
{
	BdrRelation *rel;
	BdrOperation operation;
	bool		key_changed;	/* an update that gives a row this key */
	bool		leaves;			/* a deletion: the old key of such an update */
	BdrImage	image;
	BdrUpdate  *update;			/* of an update or delete; or NULL */
	TupleTableSlot *row;		/* of a deletion: its key */
	BdrLookup  *lookup;			/* how rows with the key are found */
	TupleTableSlot *key;		/* ... of an update or delete: by these values */
	TupleTableSlot *old;		/* the row under the old key, which goes; or NULL */
	bool		at_end;			/* of the transaction: the row is stored, as old, or was lost */
	TupleTableSlot *moved;		/* the row under the new key, if leaves */

	int			nconstraints;	/* the first is the key */
	BdrConstraint *constraints;
	List	   *found;			/* BdrFound */

	/* what was decided */
	BdrConflictType type;		/* 0: no conflict */
	BdrAction	action;
	char	   *resolution;
	char	   *rule;
	BdrFound   *decisive;		/* NULL: nothing that was found */
	bool		stored;			/* done: the incoming row is here now */
} BdrCase;

/* How far a transaction is that wrote, or ended, a row. */
typedef enum BdrXactState
{
	BDR_XACT_NONE,				/* there is none */
	BDR_XACT_ABORTED,
	BDR_XACT_OURS,
	BDR_XACT_BUSY,
	BDR_XACT_COMMITTED
} BdrXactState;

/* A row of a heap, which may be dead. */
typedef struct BdrDeadRow
{
	TransactionId xmin;
	TransactionId xmax;			/* who deleted or updated it */
	bool		frozen;			/* its xmin is */
	BdrXactState born;
	BdrXactState died;
} BdrDeadRow;

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

/* A version to be remembered that is not the incoming one's. */
typedef struct BdrKept
{
	NameData	index;
	int64		hash;
	Datum		key_values;
	BdrVersion	version;
} BdrKept;

/* conflict/detect.c */
extern void bdr_case_describe(BdrCase *c);
extern void bdr_case_gather(BdrCase *c);
extern void bdr_case_end(BdrCase *c);
extern bool bdr_case_is_surpassed(BdrCase *c);
extern bool bdr_case_overlooked(BdrCase *c);
extern void bdr_constraint_of_key(BdrConstraint *key, BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row);
extern bool bdr_constraint_of_texts(BdrConstraint *constraint, BdrRelation *rel, BdrLookup *lookup,
									const char *index, int n, char **texts);
extern bool bdr_constraint_matches(BdrConstraint *constraint, const Datum *values, const bool *isnull);

extern bool bdr_dead_are_known(BdrRelation *rel);
extern void bdr_dead_read(TupleTableSlot *slot, BdrDeadRow *dead);
extern bool bdr_dead_is_newer(TransactionId xid, const BdrVersion *than);
extern bool bdr_dead_is_one_version(const BdrDeadRow *dead);

/* conflict/dead_entry.c: called after a search that walked as many entries as this */
#define BDR_SWEEP_ENTRIES	64
extern void bdr_sweep(BdrRelation *rel, BdrConstraint *constraint, uint32 walked);
extern void bdr_sweep_key(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, uint32 walked);
extern bool bdr_index_next_slot(IndexScanDesc scan, TupleTableSlot *slot, uint32 *walked);

/* conflict/deferred.c */
extern void bdr_deferred_supersede(BdrRelation *rel, BdrLookup *lookup, BdrConstraint *key);

/* conflict/tombstone.c */
extern void bdr_memory_remember(BdrCase *c, BdrConstraint *constraint);
extern void bdr_memory_mark_evicted(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row);
extern void bdr_memory_mark(BdrRelation *rel, BdrConstraint *key, TransactionId xid);
extern int64 bdr_memory_values(BdrConstraint *constraint, Datum *values);
extern Relation bdr_memory_open(CatalogIndexState *indexes);
extern void bdr_memory_keep(Relation memory, CatalogIndexState indexes, Oid relid, const BdrKept *kept);
extern void bdr_memory_scan(Oid relid, Snapshot snapshot,
							void (*visit) (void *arg, const BdrKept *kept, TransactionId writer), void *arg);
extern void bdr_memory_close(Relation memory, CatalogIndexState indexes);
extern int64 bdr_constraint_hash(BdrConstraint *constraint);
extern bool bdr_memory_newest(BdrRelation *rel, BdrConstraint *constraint, bool wait, BdrVersion *newest);
extern bool bdr_memory_is_evicted(BdrRelation *rel, BdrConstraint *key, TransactionId xmax);

/* conflict/ask.c */
extern void bdr_conflict_plan(BdrCase *c);
extern bool bdr_conflict_is_seen(BdrCase *c, BdrFound *found);
extern int	bdr_version_compare(const BdrVersion *a, const BdrVersion *b);

/* conflict/resolve.c */
extern void bdr_settle_insert(BdrRelation *rel, TupleTableSlot *row);
extern void bdr_settle_update(BdrUpdate *update);
extern bool bdr_settle_is_plain(BdrUpdate *update);
extern bool bdr_settle_may_fill(BdrRelation *rel);
extern void bdr_settle_at_end(BdrRelation *rel, TupleTableSlot *row, bool is_stored);
extern void bdr_settle_delete(BdrUpdate *update);
extern BdrLookup *bdr_settle_key_lookup(BdrRelation *rel);

/* apply/change.c: the writing itself; false: the row has changed meanwhile */
extern void bdr_write_generated(BdrRelation *rel, TupleTableSlot *row, CmdType command);
extern void bdr_write_insert(BdrRelation *rel, TupleTableSlot *row);
extern bool bdr_write_update(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *row);
extern bool bdr_write_delete(BdrRelation *rel, TupleTableSlot *found, bool *vetoed);

#endif							/* BDR_CONFLICT_CONFLICT_H */
