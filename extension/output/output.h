/*-------------------------------------------------------------------------
 * output/output.h
 *		What the files of the output plugin share.
 *
 * NOTES
 *		output/plugin.c decides what is sent, output/replication_set.c to whom of
 *		those who want only a part, output/relation.c in which form, output/frame.c
 *		turns it into bytes, output/walsender.c decides when they leave.
 *		output/stopping.c ends the walsender when the server stops.
 *		output/origin_progress.c follows what the sender has of its peers.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_OUTPUT_H
#define BDR_OUTPUT_OUTPUT_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/rel.h"

#include "bdr_wire.h"

/* One column as it is sent. */
typedef struct BdrSentColumn
{
	int			index;			/* in tuple descriptor, from 0 */
	char		format;			/* BDR_FORMAT_* */
	bool		is_key;			/* part of the replica identity */
	bool		byval;
	int16		length;			/* pg_attribute.attlen */
	FmgrInfo	function;		/* output or send; unused in internal form */
} BdrSentColumn;

/* Who owns what is sent. */
typedef struct BdrSentOwner
{
	char		name[NAMEDATALEN];
	char		name_then[NAMEDATALEN]; /* at the change; "": the same */
	bool		is_superuser;
} BdrSentOwner;

/* What is sent of a relation. */
#define BDR_SENT_INSERT		1
#define BDR_SENT_UPDATE		2
#define BDR_SENT_DELETE		4
#define BDR_SENT_TRUNCATE	8
#define BDR_SENT_ROWS		(BDR_SENT_INSERT | BDR_SENT_UPDATE | BDR_SENT_DELETE)
#define BDR_SENT_ALL		(BDR_SENT_ROWS | BDR_SENT_TRUNCATE)

/* What a set sends of the rows that pass its filter. */
typedef struct BdrSetRule
{
	uint8		actions;		/* BDR_SENT_* */
	bool		old_is_known;	/* the replica identity has all columns of the filter */
	bool		may_fail;		/* for some row */
	Bitmapset  *columns;		/* of the filter */
	ExprState  *filter;
} BdrSetRule;

/*
 * One relation as it is sent.  The fields below context live in it and are
 * rebuilt after an invalidation; described survives, so that the subscriber
 * hears of real changes only.
 */
typedef struct BdrSentRelation
{
	Oid			relid;			/* hash key */
	bool		valid;			/* false: rebuild before use */
	uint64		used;			/* when it was looked up last, in looks */
	bool		announced;		/* the subscriber has what described says */
	bool		complained;		/* about a missing replica identity */
	bool		filter_complained;	/* about a filter that failed for a row */
	StringInfo	described;		/* body of the last RELATION message */
	MemoryContext context;
	bool		is_sent;		/* false: its rows are of no interest to peers */
	bool		is_truncated;	/* false: its TRUNCATE is not either */
	char		tombstone;		/* BDR_TOMBSTONE_*: its rows say what no row shows */
	bool		is_queue;		/* its rows are statements */
	bool		is_default;		/* both sides have the default set */
	uint8		actions;		/* BDR_SENT_* that some row may have */
	uint8		whole;			/* ... that all rows have */
	List	   *rules;			/* of BdrSetRule, for the others */
	TupleTableSlot *row;		/* the one that filters look at */
	ExprContext *econtext;
	bool		all_columns;	/* false: those listed, by number */
	Bitmapset  *listed;
	bool		has_identity;
	char		identity;		/* pg_class.relreplident */
	char	   *schema;
	char	   *name;
	List	   *ancestors;		/* partitioned tables above, nearest first */
	Oid			root;			/* the last of them */
	char	   *root_schema;	/* "": none */
	char	   *root_name;
	BdrSentOwner owner;
	BdrSentOwner root_owner;	/* name "": no root */
	uint8		flags;			/* BDR_RELATION_* */
	int			ncolumns;
	BdrSentColumn *columns;
	uint32		schema_hash;	/* syscache hash of the schema */
	uint32		root_schema_hash;
	int			ntypes;
	uint32	   *type_hashes;	/* syscache hashes of the types that users may alter */
} BdrSentRelation;

/* What a walsender puts in front of data: 'w', two LSNs, the time. */
#define BDR_COPY_HEADER_BYTES	(1 + 3 * 8)

/* One table of a TRUNCATE. */
typedef struct BdrTruncated
{
	Oid			relid;
	Oid			above;			/* nearest truncated ancestor */
	int			depth;			/* number of ancestors */
} BdrTruncated;

/* Bytes on their way to the subscriber. */
typedef struct BdrFrame
{
	StringInfoData bytes;		/* room for a CopyData header, then the frame */
	int			open_at;		/* where the message being written begins, or 0 */
	TimestampTz since;			/* when the first message was written */
	XLogRecPtr	commit_end;		/* end of the last transaction completed in it */
} BdrFrame;

/* A row taken apart. */
typedef struct BdrRow
{
	Datum	   *values;
	bool	   *nulls;
} BdrRow;

/* What the changes being sent know of another node's. */
typedef struct BdrOriginProgress
{
	uint32		node;
	TimestampTz time;			/* its commits are here up to this one */
	bool		sent;
} BdrOriginProgress;

/* The newest commit of an origin that was found when the session started. */
typedef struct BdrRecentOrigin
{
	RepOriginId origin;
	TimestampTz time;
	bool		recent;			/* not seen by all that is sent */
} BdrRecentOrigin;

/* State of one decoding session. */
typedef struct BdrOutput
{
	LogicalDecodingContext *decoding;
	bool		record_is_ours; /* the WAL record at hand has our message origin */
	MemoryContext cache_context;	/* relations and origins */
	MemoryContext change_context;	/* reset after each change */
	int			settings_level; /* GUC nest level to undo, or 0 */

	/* stream options, and what follows from them */
	int			proto_min;
	int			proto_max;
	int			protocol;		/* the one in use */
	int			server_version;
	const char *architecture;
	bool		all_origins;
	uint32		node_id;		/* the subscriber */
	char		best_format;	/* BDR_FORMAT_INTERNAL or _BINARY */
	List	   *subscribed;		/* names of replication sets; NIL: the default one */
	XLogRecPtr	skip_upto;		/* of transactions that end by then, no row is sent */

	HTAB	   *relations;		/* of BdrSentRelation */
	HTAB	   *origins;
	BdrSentRelation *last_relation;
	uint64		relation_looks; /* that found another relation than the one before */
	int			new_relations;	/* since the last clean-up */
	bool		has_partitions; /* ever met one */
	Oid			set_tables[3];	/* output/replication_set.c: which say what is sent */

	/* transaction in progress */
	bool		origin_checked; /* filter decision is final */
	bool		is_dropped;		/* came from a peer that does not want it */
	bool		begun;			/* BEGIN was written */
	bool		rows_skipped;	/* nobody wants its rows */
	bool		in_statement;	/* every node writes the rows at hand for itself */
	uint32		origin_node;
	uint32		nchanges;
	int			unreported;		/* changes since progress was reported */

	/* output/origin_progress.c; nothing of it when all origins are sent */
	List	   *seen;			/* of BdrOriginProgress */
	bool		seen_changed;	/* an entry is not sent */
	List	   *seen_at_start;	/* of BdrRecentOrigin, until they count */
	XLogRecPtr	seen_start;		/* what is committed after this has seen the recent */

	BdrFrame	frame;
	char		piece_of;		/* kind of the message that is sent in pieces, or 0 */
	Size		piece_bytes;	/* of it that have left */
	BdrRow		old_row;
	BdrRow		new_row;
} BdrOutput;

#endif							/* BDR_OUTPUT_OUTPUT_H */
