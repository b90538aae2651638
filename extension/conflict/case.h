/*-------------------------------------------------------------------------
 * conflict/case.h
 *		One incoming version of a row, all that it collides with, and what becomes
 *		of both.
 *
 *		NOTES
 *		docs/decisions/0007-convergence.md has the rule.  conflict/detect.c finds what
 *		there is, conflict/tombstone.c keeps the versions that no row shows,
 *		conflict/ask.c asks Go, and conflict/resolve.c does what was decided.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_CASE_H
#define BDR_CONFLICT_CASE_H

#include "postgres.h"

#include "nodes/bitmapset.h"

#include "conflict/constraint.h"
#include "row/decode.h"
#include "version/version.h"

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

/* A conflict, to be told about. */
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

/* NULL: there is no such type. */
extern const char *bdr_conflict_type_name(int type);

#endif							/* BDR_CONFLICT_CASE_H */
