/*-------------------------------------------------------------------------
 * row/relation.h
 *		Remote tables mapped to local ones, and kept ready for writing.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_RELATION_H
#define BDR_ROW_RELATION_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "lib/ilist.h"
#include "nodes/execnodes.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "base/reader.h"
#include "row/apply.h"
#include "row/check.h"

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
	uint32		walked;			/* index entries, by the last search */
} BdrLookup;

/* Who owns a table at the peer. */
typedef struct BdrOwnerThere
{
	char	   *name;
	bool		is_superuser;
	const char *name_then;		/* whose it was at the change; NULL: the same */
} BdrOwnerThere;

typedef struct BdrRelation
{
	uint32		remote_relid;	/* hash key; must be first */
	BdrApply   *apply;
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

	/* what to do about what is missing: for who decides that */
	uint32		decided;
	uint8		decisions[3][2];

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
	const BdrColumn *unmapped;	/* has a value in the last row, and no place here */
	BdrLookup	by_key;
	BdrLookup	by_row;
	AttrNumber *constrained;	/* in unique and exclusion constraints but the key */
	int			nconstrained;
	bool		has_deferrable;
	AttrNumber	row_version;	/* column of row versions; 0: none */
	bool		fires_triggers;
	bool		fires_before;	/* ... before row triggers */
	bool		fires_by_column;	/* ... for updates of some columns */
	bool		has_generated;	/* and stored */
	bool		has_virtual;
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
	Oid			owner;			/* for bdr_user_switch */
	dlist_node	open_node;
	MemoryContext exec_context;
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result;
	Bitmapset  *all_columns;	/* as in pg_attribute bitmaps; NULL: nobody asks */
	Oid		   *index_oids;
	ExprState **defaults;		/* per local column, or NULL */
	Oid		   *default_roles;	/* ... and for bdr_user_switch */
	List	   *levels;			/* of BdrLevel, if it routes */
	void	  **domain_caches;	/* per remote column, with has_domains */
	Oid		   *domain_roles;	/* ... for bdr_user_switch */
} BdrRelation;

extern void bdr_relation_init(void);
extern void bdr_relation_mark_all_stale(void);

/* Definitions */
extern void bdr_relation_define(BdrApply *apply, BdrReader *reader);
extern void bdr_relation_forget(BdrReader *reader);
extern void bdr_relation_forget_definitions(void);
extern BdrRelation *bdr_relation_find(uint32 remote_relid);

/* Opening and closing */
extern bool bdr_relation_open(BdrRelation *rel);
extern Relation bdr_relation_open_exclusive(BdrRelation *rel);
extern void bdr_relation_release_pins(void);
extern void bdr_relation_close_all(void);
extern void bdr_relation_forget_all(void);
extern void bdr_relation_drop(BdrRelation *rel);
extern void bdr_relation_trim(void);

/* Of an open relation */
extern Relation bdr_relation_index(BdrRelation *rel, Oid index);
extern IndexScanDesc bdr_relation_scan(BdrRelation *rel, BdrLookup *lookup);

/* In a session */
extern void bdr_relation_describe_local(BdrRelation *rel, Relation local);

/* Open, and its table has not changed since. */
static inline bool
bdr_relation_is_ready(const BdrRelation *rel)
{
	return rel->open && !rel->stale;
}

#endif							/* BDR_ROW_RELATION_H */
