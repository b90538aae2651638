/*-------------------------------------------------------------------------
 * output/plugin.c
 *		Output plugin: stream options, and what is sent.
 *
 * NOTES
 *		bdr_output.so is this folder and what the Makefile links with it, and
 *		references nothing of bdr.so: trusting it as an output plugin trusts
 *		nothing else.
 *
 *		Large transactions are not streamed while in progress and two-phase
 *		ones arrive at COMMIT PREPARED, so every callback below runs for
 *		transactions that have committed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "replication/snapbuild.h"
#include "replication/walsender.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "output/frame.h"
#include "output/origin_progress.h"
#include "output/relation.h"
#include "output/replication_set.h"
#include "output/statement.h"
#include "output/tombstone.h"
#include "output/walsender.h"
#include "bdr_compat.h"

PG_MODULE_MAGIC;

#define CHANGES_PER_REPORT		100

/* A stream option; parse gets its value and throws what is wrong with it. */
typedef struct StreamOption
{
	const char *name;
	void		(*parse) (BdrOutput *output, const char *name, const char *value);
	bool		required;
} StreamOption;

/* Who applied a transaction here. */
typedef enum OriginKind
{
	ORIGIN_UNKNOWN,				/* not looked up yet */
	ORIGIN_ABSENT,				/* looked up, no such origin in that snapshot */
	ORIGIN_FOREIGN,				/* not us: its changes count as made here */
	ORIGIN_REPAIR,				/* a repair of this node only */
	ORIGIN_MESSAGE,				/* our own messages */
	ORIGIN_COPY,				/* a join of this node copied the rows */
	ORIGIN_PEER					/* a peer's changes */
} OriginKind;

typedef struct Origin
{
	RepOriginId id;				/* hash key */
	OriginKind	kind;
	uint32		node_id;		/* of a peer */
} Origin;

/* What a change callback is doing, for error messages. */
typedef struct ChangeContext
{
	const char *action;
	const BdrSentRelation *sent;
	const ReorderBufferTXN *txn;
} ChangeContext;

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *callbacks);

static void output_startup(LogicalDecodingContext *decoding,
						   OutputPluginOptions *options, bool is_init);
static void output_shutdown(LogicalDecodingContext *decoding);
static void output_begin(LogicalDecodingContext *decoding, ReorderBufferTXN *txn);
static void output_change(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
						  Relation relation, ReorderBufferChange *change);
static void output_truncate(LogicalDecodingContext *decoding,
							ReorderBufferTXN *txn, int nrelations,
							Relation relations[], ReorderBufferChange *change);
static void output_message(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
						   XLogRecPtr lsn, bool transactional, const char *prefix,
						   Size size, const char *content);
static void output_commit(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
						  XLogRecPtr commit_lsn);
static bool output_filter_origin(LogicalDecodingContext *decoding, RepOriginId id);

static void parse_options(BdrOutput *output, List *options);
static const StreamOption *find_stream_option(const char *name);
static void parse_number(BdrOutput *output, const char *name, const char *value);
static void parse_architecture(BdrOutput *output, const char *name, const char *value);
static void parse_encoding(BdrOutput *output, const char *name, const char *value);
static void parse_origins(BdrOutput *output, const char *name, const char *value);
static void parse_sets(BdrOutput *output, const char *name, const char *value);
static void parse_skip(BdrOutput *output, const char *name, const char *value);
static void negotiate(BdrOutput *output);
static void pin_settings(BdrOutput *output);
static void raise_work_mem(void);
static void session_end(void *arg);
static void create_caches(BdrOutput *output);
static void register_invalidations(void);

static bool ready_to_write(BdrOutput *output, ReorderBufferTXN *txn);
static void report_progress(BdrOutput *output);
static void write_change(BdrOutput *output, BdrSentRelation *sent,
						 TupleDesc desc, ReorderBufferChange *change);
static void write_if_in_set(BdrOutput *output, BdrSentRelation *sent, TupleDesc desc,
							ReorderBufferChange *change, ReorderBufferTXN *txn);
static Oid	truncated_above(const BdrSentRelation *sent, int nrelations, Relation relations[]);
static int	compare_depth(const void *a, const void *b);
static const char *action_name(ReorderBufferChangeType action);
static void describe_change(void *arg);
static bool is_identifiable(BdrSentRelation *sent, const char *action);

static void write_seen(BdrOutput *output, ReorderBufferTXN *txn);
static Origin *origin_find(BdrOutput *output, RepOriginId id);
static void origin_look_up(Origin *origin);
static void origin_look_up_while_reading(BdrOutput *output, Origin *origin);
static bool origin_is_dropped(const BdrOutput *output, const Origin *origin);

static void origins_changed(Datum arg, int cache, uint32 hash);

/* The session whose origins invalidations concern; there is never a second. */
static BdrOutput *current_session = NULL;

static const StreamOption stream_options[] = {
	{"architecture", parse_architecture, true},
	{"encoding", parse_encoding, true},
	{"node_id", parse_number, true},
	{"origins", parse_origins, true},
	{"proto_max", parse_number, true},
	{"proto_min", parse_number, true},
	{"replication_sets", parse_sets, false},
	{"server_version", parse_number, true},
	{"skip_upto", parse_skip, false},
};

/*
 * Settings that the text and the send/recv form of values depend on.
 * search_path is among them because a reg* type is written with its schema only
 * where it is needed.
 */
static const char *const pinned_settings[][2] = {
	{"DateStyle", "ISO"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "GMT"},
	{"bytea_output", "hex"},
	{"client_encoding", NULL},	/* the database's */
	{"extra_float_digits", "3"},
	{"lc_monetary", "C"},
	{"quote_all_identifiers", "off"},
	{"search_path", ""},
	{"xmlbinary", "base64"},
};

void
_PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = output_startup;
	callbacks->shutdown_cb = output_shutdown;
	callbacks->begin_cb = output_begin;
	callbacks->change_cb = output_change;
	callbacks->truncate_cb = output_truncate;
	callbacks->message_cb = output_message;
	callbacks->commit_cb = output_commit;
	callbacks->filter_by_origin_cb = output_filter_origin;
}

/*-------------------------------------------------------------------------
 * Start and end of a session.
 *-------------------------------------------------------------------------
 */

/*
 * While a slot is being created nothing is sent and there are no options.
 */
static void
output_startup(LogicalDecodingContext *decoding, OutputPluginOptions *options,
			   bool is_init)
{
	BdrOutput  *output;
	MemoryContextCallback *at_end;

	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	options->receive_rewrites = false;
	decoding->output_plugin_private = NULL;
	if (is_init)
		return;

	output = palloc0(sizeof(BdrOutput));
	output->decoding = decoding;
	output->cache_context = AllocSetContextCreate(decoding->context, "bdr output cache",
												  ALLOCSET_DEFAULT_SIZES);
	output->change_context = AllocSetContextCreate(decoding->context, "bdr output change",
												   ALLOCSET_DEFAULT_SIZES);
	parse_options(output, decoding->output_plugin_options);
	negotiate(output);

	create_caches(output);

	/* An error ends the session without a call of output_shutdown. */
	at_end = palloc0(sizeof(MemoryContextCallback));
	at_end->func = session_end;
	at_end->arg = output;
	MemoryContextRegisterResetCallback(decoding->context, at_end);
	current_session = output;
	register_invalidations();

	pin_settings(output);
	if (am_walsender)
		raise_work_mem();
	bdr_wire_init(output);
	bdr_wire_write_startup(output);
	bdr_origin_progress_start(output);

	/* The SQL functions have no progress to report; they cannot wait. */
	if (am_walsender && decoding->update_progress != NULL &&
		!IsTransactionOrTransactionBlock())
		bdr_sender_attach(output);
	decoding->output_plugin_private = output;
}

static void
output_shutdown(LogicalDecodingContext *decoding)
{
	BdrOutput  *output = decoding->output_plugin_private;

	if (output != NULL && output->settings_level != 0)
		AtEOXact_GUC(true, output->settings_level);
	if (output != NULL)
		session_end(output);
}

static void
session_end(void *arg)
{
	bdr_sender_detach(arg);
	bdr_sent_end(arg);
	if (current_session == arg)
		current_session = NULL;
}

static void
create_caches(BdrOutput *output)
{
	HASHCTL		control = {.hcxt = output->cache_context};

	bdr_sent_start(output);
	control.keysize = sizeof(RepOriginId);
	control.entrysize = sizeof(Origin);
	output->origins = hash_create("bdr origins", 16, &control,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* A callback cannot be taken back, so it is registered once per process. */
static void
register_invalidations(void)
{
	static bool registered = false;

	if (registered)
		return;
	registered = true;
	CacheRegisterSyscacheCallback(REPLORIGIDENT, origins_changed, (Datum) 0);
}

/*
 * In a walsender the settings last as long as the connection, which does
 * nothing else; in a SQL function they are undone at its end or error.
 */
static void
pin_settings(BdrOutput *output)
{
	bool		in_transaction = IsTransactionState();

	if (in_transaction)
		output->settings_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(pinned_settings); i++)
		(void) set_config_option(pinned_settings[i][0],
								 pinned_settings[i][1] != NULL ? pinned_settings[i][1] : GetDatabaseEncodingName(),
								 PGC_USERSET, PGC_S_SESSION,
								 in_transaction ? GUC_ACTION_SAVE : GUC_ACTION_SET,
								 true, 0, false);
}

/*
 * Spilling costs a system call for each change, so the changes of a peer get
 * more memory than the server would give them.  The setting belongs to bdr.so,
 * of which nothing else is known here.
 */
static void
raise_work_mem(void)
{
	const char *value = GetConfigOption("bdr.logical_decoding_work_mem", true, false);

	if (value != NULL && atoi(value) > logical_decoding_work_mem)
		(void) set_config_option("logical_decoding_work_mem", value, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SET, true, 0, false);
}

/*-------------------------------------------------------------------------
 * Stream options.
 *-------------------------------------------------------------------------
 */

static void
parse_options(BdrOutput *output, List *options)
{
	uint32		given = 0;
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *element = lfirst_node(DefElem, lc);
		const StreamOption *option = find_stream_option(element->defname);
		uint32		bit = 1U << (option - stream_options);

		if (given & bit)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is given twice", option->name)));
		given |= bit;
		option->parse(output, option->name,
					  element->arg != NULL ? strVal(element->arg) : "");
	}

	for (int i = 0; i < lengthof(stream_options); i++)
		if (stream_options[i].required && !(given & (1U << i)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is missing", stream_options[i].name),
					 errhint("Streams of bdr_output are opened by bdr itself.")));
}

static const StreamOption *
find_stream_option(const char *name)
{
	StringInfoData names;

	for (int i = 0; i < lengthof(stream_options); i++)
		if (strcmp(stream_options[i].name, name) == 0)
			return &stream_options[i];

	initStringInfo(&names);
	for (int i = 0; i < lengthof(stream_options); i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", stream_options[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\"", name),
			 errhint("Options of bdr_output are: %s.", names.data)));
}

static void
parse_number(BdrOutput *output, const char *name, const char *value)
{
	char	   *end;
	uint64		number;

	errno = 0;
	number = strtoull(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 ||
		number > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("The value is a number from 0 to %u.", PG_UINT32_MAX)));

	if (strcmp(name, "node_id") == 0)
		output->node_id = number;
	else if (strcmp(name, "proto_min") == 0)
		output->proto_min = Min(number, INT_MAX);
	else if (strcmp(name, "proto_max") == 0)
		output->proto_max = Min(number, INT_MAX);
	else
		output->server_version = Min(number, INT_MAX);
}

static void
parse_architecture(BdrOutput *output, const char *name, const char *value)
{
	output->architecture = pstrdup(value);
}

static void
parse_encoding(BdrOutput *output, const char *name, const char *value)
{
	int			encoding = pg_char_to_encoding(value);

	if (encoding != GetDatabaseEncoding())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("encoding \"%s\" of the subscriber differs from encoding \"%s\" of this database",
						value, GetDatabaseEncodingName()),
				 errhint("All nodes must use the same encoding.")));
}

static void
parse_origins(BdrOutput *output, const char *name, const char *value)
{
	if (strcmp(value, "all") != 0 && strcmp(value, "none") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("The value is \"none\" or \"all\".")));
	output->all_origins = strcmp(value, "all") == 0;
}

static void
parse_sets(BdrOutput *output, const char *name, const char *value)
{
	bdr_sets_subscribe(output, value);
}

static void
parse_skip(BdrOutput *output, const char *name, const char *value)
{
	uint32		high;
	uint32		low;
	int			len = 0;

	if (sscanf(value, "%X/%X%n", &high, &low, &len) != 2 || value[len] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("The value is the position at which a transaction ends.")));
	output->skip_upto = ((uint64) high) << 32 | low;
}

/*
 * Choose the protocol version and the best form of values that both ends know.
 */
static void
negotiate(BdrOutput *output)
{
	char		own_architecture[128];

	output->protocol = Min(output->proto_max, BDR_WIRE_VERSION_MAX);
	if (output->protocol < Max(output->proto_min, BDR_WIRE_VERSION_MIN))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no common protocol version"),
				 errdetail("The subscriber reads versions %d to %d, this server writes %d to %d.",
						   output->proto_min, output->proto_max,
						   BDR_WIRE_VERSION_MIN, BDR_WIRE_VERSION_MAX),
				 output->proto_max < BDR_WIRE_VERSION_MIN ?
				 errhint("Install a newer version of bdr on the subscriber.") :
				 errhint("Install a newer version of bdr on this server.")));

	bdr_architecture(own_architecture, sizeof(own_architecture));
	if (output->server_version / 10000 == PG_VERSION_NUM / 10000 &&
		strcmp(output->architecture, own_architecture) == 0)
		output->best_format = BDR_FORMAT_INTERNAL;
	else
		output->best_format = BDR_FORMAT_BINARY;
}

/*-------------------------------------------------------------------------
 * Transactions and changes.
 *-------------------------------------------------------------------------
 */

/*
 * BEGIN is written with the first change that is sent.  A transaction that was
 * spilled to disk takes its time, so what is pending does not wait for it.
 */
static void
output_begin(LogicalDecodingContext *decoding, ReorderBufferTXN *txn)
{
	BdrOutput  *output = decoding->output_plugin_private;

	output->origin_checked = false;
	output->is_dropped = false;
	output->begun = false;
	output->rows_skipped = txn->end_lsn <= output->skip_upto;
	output->in_statement = false;
	output->origin_node = 0;
	output->nchanges = 0;
	output->unreported = 0;
	if (rbtxn_is_serialized(txn))
		bdr_wire_close_frame(output, false);
}

/*
 * To be called with a change at hand.  Returns false if the transaction is not
 * for this subscriber; writes BEGIN if it is due.
 *
 * The origin is checked here and not in output_begin, because a transaction
 * may have created the origin that it was applied under, and sees it from the
 * next command on.
 */
static bool
ready_to_write(BdrOutput *output, ReorderBufferTXN *txn)
{
	if (!output->origin_checked && txn->origin_id != InvalidRepOriginId)
	{
		Origin	   *origin = origin_find(output, txn->origin_id);

		if (origin->kind == ORIGIN_UNKNOWN || origin->kind == ORIGIN_ABSENT)
			origin_look_up(origin);
		output->is_dropped = origin_is_dropped(output, origin);
		if (origin->kind == ORIGIN_PEER)
			output->origin_node = origin->node_id;
	}
	output->origin_checked = true;
	if (output->is_dropped)
		return false;

	if (!output->begun)
	{
		if (output->seen_changed || output->seen_at_start != NIL)
			write_seen(output, txn);
		bdr_wire_write_begin(output, txn);
	}
	output->begun = true;
	return true;
}

/*
 * What this transaction knows of the changes of other nodes, if that is more
 * than the subscriber was told.
 */
static void
write_seen(BdrOutput *output, ReorderBufferTXN *txn)
{
	ListCell   *lc;

	foreach(lc, output->seen_at_start)
	{
		BdrRecentOrigin *at_start = lfirst(lc);
		Origin	   *origin;

		if (at_start->recent && txn->final_lsn < output->seen_start)
			continue;
		origin = origin_find(output, at_start->origin);
		if (origin->kind == ORIGIN_UNKNOWN || origin->kind == ORIGIN_ABSENT)
			origin_look_up(origin);
		if (origin->kind == ORIGIN_PEER)
			bdr_origin_progress_raise(output, origin->node_id, at_start->time);
		output->seen_at_start = foreach_delete_current(output->seen_at_start, lc);
	}
	if (output->seen_changed)
		bdr_wire_write_origin_progress(output);
}

static void
output_change(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
			  Relation relation, ReorderBufferChange *change)
{
	BdrOutput  *output = decoding->output_plugin_private;
	BdrSentRelation *sent = bdr_sent_find(output, relation);
	MemoryContext previous;
	ChangeContext arg = {action_name(change->action), sent, txn};
	ErrorContextCallback callback = {error_context_stack, describe_change, &arg};

	if (BDR_PLUGIN_REPORTS_PROGRESS && ++output->unreported >= CHANGES_PER_REPORT)
		report_progress(output);
	if ((!sent->is_sent && sent->tombstone == '\0' && !sent->is_queue) || (output->in_statement && !sent->is_queue))
		return;

	error_context_stack = &callback;
	previous = MemoryContextSwitchTo(output->change_context);
	if (unlikely(sent->is_queue))
	{
		/* who skips a transaction sees that there is one */
		if (change->action == REORDER_BUFFER_CHANGE_INSERT &&
			(output->rows_skipped ||
			 bdr_statement_is_sent(output, sent, RelationGetDescr(relation), BDR_DECODED_TUPLE(change->data.tp.newtuple))) &&
			ready_to_write(output, txn) && !output->rows_skipped)
		{
			bdr_statement_write(output, RelationGetDescr(relation), BDR_DECODED_TUPLE(change->data.tp.newtuple));
			output->nchanges++;
		}
	}
	else if (unlikely(sent->tombstone != '\0'))
	{
		if (change->action == REORDER_BUFFER_CHANGE_INSERT && ready_to_write(output, txn) &&
			bdr_tombstone_write(output, sent, RelationGetDescr(relation),
							 BDR_DECODED_TUPLE(change->data.tp.newtuple)))
			output->nchanges++;
	}
	else if (likely(sent->whole == BDR_SENT_ALL))
	{
		if ((change->action == REORDER_BUFFER_CHANGE_INSERT || is_identifiable(sent, arg.action)) &&
			ready_to_write(output, txn) && likely(!output->rows_skipped))
		{
			bdr_sent_announce(output, sent);
			write_change(output, sent, RelationGetDescr(relation), change);
		}
	}
	else if (!output->rows_skipped)
		write_if_in_set(output, sent, RelationGetDescr(relation), change, txn);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(output->change_context);
	error_context_stack = callback.previous;

	bdr_wire_finish_change(output);
}

/*
 * A transaction of which little is sent may be long: answer the receiver, and
 * do not let a pending frame wait for its end.
 */
static void
report_progress(BdrOutput *output)
{
	output->unreported = 0;
	bdr_wire_check_delay(output);
	OutputPluginUpdateProgress(output->decoding, false);
}

static void
write_change(BdrOutput *output, BdrSentRelation *sent, TupleDesc desc,
			 ReorderBufferChange *change)
{
	HeapTuple	old_tuple = BDR_DECODED_TUPLE(change->data.tp.oldtuple);
	HeapTuple	new_tuple = BDR_DECODED_TUPLE(change->data.tp.newtuple);

	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			bdr_wire_write_insert(output, sent, desc, new_tuple);
			break;
		case REORDER_BUFFER_CHANGE_UPDATE:
			bdr_wire_write_update(output, sent, desc, old_tuple, new_tuple);
			break;
		default:
			Assert(change->action == REORDER_BUFFER_CHANGE_DELETE);
			if (old_tuple == NULL)
				return;
			bdr_wire_write_delete(output, sent, desc, old_tuple);
			break;
	}
	output->nchanges++;
}

/*
 * Of a table of which not everything is sent.  What is not begins no transaction.
 */
static void
write_if_in_set(BdrOutput *output, BdrSentRelation *sent, TupleDesc desc,
				ReorderBufferChange *change, ReorderBufferTXN *txn)
{
	HeapTuple	old;
	int			as = bdr_sets_send_as(output, sent, desc, change, &old);

	if (as == 0 || (as != BDR_SENT_INSERT && !is_identifiable(sent, action_name(change->action))) ||
		!ready_to_write(output, txn))
		return;
	bdr_sent_announce(output, sent);
	if (as == BDR_SENT_INSERT)
		bdr_wire_write_insert(output, sent, desc, BDR_DECODED_TUPLE(change->data.tp.newtuple));
	else if (as == BDR_SENT_UPDATE)
		bdr_wire_write_update(output, sent, desc, old, BDR_DECODED_TUPLE(change->data.tp.newtuple));
	else
		bdr_wire_write_delete(output, sent, desc, old);
	output->nchanges++;
}

static const char *
action_name(ReorderBufferChangeType action)
{
	switch (action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			return "INSERT";
		case REORDER_BUFFER_CHANGE_UPDATE:
			return "UPDATE";
		default:
			return "DELETE";
	}
}

static void
describe_change(void *arg)
{
	ChangeContext *context = (ChangeContext *) arg;

	errcontext("sending %s of table \"%s.%s\", in transaction %u finished at %X/%X", context->action,
			   context->sent->schema, context->sent->name,
			   context->txn->xid, LSN_FORMAT_ARGS(context->txn->end_lsn));
}

/*
 * Without a replica identity no node could find the row, so the change stays
 * here.  The log says so once per stream and table.
 */
static bool
is_identifiable(BdrSentRelation *sent, const char *action)
{
	if (!sent->has_identity && !sent->complained)
	{
		sent->complained = true;
		ereport(LOG,
				(errmsg("%s of table \"%s.%s\" is not replicated",
						action, sent->schema, sent->name),
				 errdetail("The table has no replica identity."),
				 errhint("Add a primary key, or use ALTER TABLE ... REPLICA IDENTITY.")));
	}
	return sent->has_identity;
}

/*
 * A partitioned table is named with its partitions: a peer may have cut it up
 * in another way.
 */
static void
output_truncate(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
				int nrelations, Relation relations[], ReorderBufferChange *change)
{
	BdrOutput  *output = decoding->output_plugin_private;
	BdrTruncated *tables = palloc(nrelations * sizeof(BdrTruncated));
	int			ntables = 0;
	bool		is_default = true;
	uint8		flags = 0;

	for (int i = 0; i < nrelations; i++)
	{
		BdrSentRelation *sent = bdr_sent_find(output, relations[i]);

		if (!sent->is_truncated || output->in_statement || !ready_to_write(output, txn) || output->rows_skipped)
			continue;
		bdr_sent_announce(output, sent);
		is_default &= sent->is_default;
		tables[ntables].relid = sent->relid;
		tables[ntables].above = truncated_above(sent, nrelations, relations);
		tables[ntables++].depth = list_length(sent->ancestors);
	}
	if (ntables > 0)
	{
		/* who wants only some tables loses no rows of others */
		if (change->data.truncate.cascade && is_default)
			flags |= BDR_TRUNCATE_CASCADE;
		if (change->data.truncate.restart_seqs)
			flags |= BDR_TRUNCATE_RESTART;
		qsort(tables, ntables, sizeof(BdrTruncated), compare_depth);
		bdr_wire_write_truncate(output, flags, ntables, tables);
		output->nchanges++;
		bdr_wire_finish_change(output);
	}
	pfree(tables);
}

static Oid
truncated_above(const BdrSentRelation *sent, int nrelations, Relation relations[])
{
	ListCell   *lc;

	foreach(lc, sent->ancestors)
	{
		for (int i = 0; i < nrelations; i++)
			if (RelationGetRelid(relations[i]) == lfirst_oid(lc))
				return lfirst_oid(lc);
	}
	return InvalidOid;
}

/* Those with fewer ancestors come first. */
static int
compare_depth(const void *a, const void *b)
{
	const BdrTruncated *left = a;
	const BdrTruncated *right = b;

	if (left->depth != right->depth)
		return left->depth < right->depth ? -1 : 1;
	return left->relid < right->relid ? -1 : left->relid > right->relid;
}

/*
 * Everybody may write messages, with any prefix.  Ours are outside of
 * transactions and have an origin of their own, which takes a superuser
 * (base/wal_message.c); output_filter_origin has just looked at it.  Nothing commits
 * them, so they close their frame.
 */
static void
output_message(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
			   XLogRecPtr lsn, bool transactional, const char *prefix,
			   Size size, const char *content)
{
	BdrOutput  *output = decoding->output_plugin_private;

	if (transactional || !output->record_is_ours)
		return;
	if (size == BDR_WATERMARK_BYTES && strcmp(prefix, BDR_WATERMARK_PREFIX) == 0)
		bdr_wire_write_watermark(output, content);
	else if (strcmp(prefix, BDR_MESSAGE_PREFIX) == 0)
		bdr_wire_write_message(output, lsn, size, content);
	else
		return;
	bdr_wire_close_frame(output, true);
}

static void
output_commit(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
			  XLogRecPtr commit_lsn)
{
	BdrOutput  *output = decoding->output_plugin_private;

	if (output->begun)
	{
		bdr_wire_write_commit(output, txn);
		bdr_sent_trim(output);
		bdr_wire_finish_transaction(output, txn->end_lsn);
	}
	OutputPluginUpdateProgress(decoding, !output->begun);
}

/*-------------------------------------------------------------------------
 * Origins: what came from a peer is not sent on.
 *
 * A wrong answer here is either a change that goes round for ever or one that
 * is lost, so the name of an origin is read as it was at that point of the
 * WAL, not as it is now: ids are reused after an origin has been dropped.
 *
 * The filter callback runs for each WAL record, while the transaction is still
 * being collected, outside any transaction of ours and without a snapshot.
 * Catalogs are readable there only the way the server itself arranges it for
 * messages: with the snapshot of the WAL position.  Where even that one does
 * not know the origin yet (the transaction in progress may have created it)
 * the change is kept, and ready_to_write() decides before anything is sent.
 *-------------------------------------------------------------------------
 */

static bool
output_filter_origin(LogicalDecodingContext *decoding, RepOriginId id)
{
	BdrOutput  *output = decoding->output_plugin_private;
	Origin	   *origin;

	if (output == NULL)
		return false;
	output->record_is_ours = false;
	if (id == InvalidRepOriginId)
		return false;
	if (id == DoNotReplicateId)
		return true;
	origin = origin_find(output, id);
	if (origin->kind == ORIGIN_UNKNOWN &&
		SnapBuildCurrentState(decoding->snapshot_builder) == SNAPBUILD_CONSISTENT)
		origin_look_up_while_reading(output, origin);
	if (origin->kind == ORIGIN_PEER)
		bdr_origin_progress_note(output, origin->node_id);
	output->record_is_ours = origin->kind == ORIGIN_MESSAGE;
	return origin_is_dropped(output, origin);
}

static Origin *
origin_find(BdrOutput *output, RepOriginId id)
{
	bool		found;
	Origin	   *origin = hash_search(output->origins, &id, HASH_ENTER, &found);

	if (!found)
		origin->kind = ORIGIN_UNKNOWN;
	return origin;
}

/*
 * Look an origin up between two WAL records.  The server does the same around
 * the callback for a non-transactional message, except for the transaction,
 * which catalog access needs.
 */
static void
origin_look_up_while_reading(BdrOutput *output, Origin *origin)
{
	Snapshot	snapshot = BDR_DECODING_SNAPSHOT(output->decoding->snapshot_builder);
	bool		in_transaction = IsTransactionState();
	MemoryContext previous = CurrentMemoryContext;

	SetupHistoricSnapshot(snapshot, NULL);
	PG_TRY();
	{
		if (!in_transaction)
			StartTransactionCommand();
		origin_look_up(origin);
	}
	PG_CATCH();
	{
		TeardownHistoricSnapshot(true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	TeardownHistoricSnapshot(false);
	if (!in_transaction)
		AbortCurrentTransaction();
	MemoryContextSwitchTo(previous);
}

/*
 * Classify an origin by its name; needs catalog access.  An invalidation while
 * we look makes the answer unknown again, but it still is the right one for
 * the snapshot at hand.
 */
static void
origin_look_up(Origin *origin)
{
	char	   *name;
	char		prefix[NAMEDATALEN];
	char		message[NAMEDATALEN];
	char	   *end;
	unsigned long node_id;
	OriginKind	kind = ORIGIN_FOREIGN;

	if (!replorigin_by_oid(origin->id, true, &name))
	{
		origin->kind = ORIGIN_ABSENT;
		return;
	}

	snprintf(prefix, sizeof(prefix), "bdr_%u_", MyDatabaseId);
	snprintf(message, sizeof(message), BDR_MESSAGE_ORIGIN, MyDatabaseId);
	if (bdr_origin_is_repair(name))
		kind = ORIGIN_REPAIR;
	else if (strcmp(name, message) == 0)
		kind = ORIGIN_MESSAGE;
	else if (strncmp(name, prefix, strlen(prefix)) == 0)
	{
		node_id = strtoul(name + strlen(prefix), &end, 10);
		kind = *end == '\0' && end[-1] != '_' ? ORIGIN_PEER : ORIGIN_COPY;
		origin->node_id = node_id;
	}
	origin->kind = kind;
	pfree(name);
}

/*
 * origins=all sends what came from peers too, but never back to where it came
 * from.  Rows that were copied by a join are everywhere already; what repairs
 * this node is for no other.
 */
static bool
origin_is_dropped(const BdrOutput *output, const Origin *origin)
{
	switch (origin->kind)
	{
		case ORIGIN_PEER:
			return !output->all_origins || origin->node_id == output->node_id;
		case ORIGIN_COPY:
			return !output->all_origins;
		case ORIGIN_REPAIR:
			return true;
		default:
			return false;
	}
}

/* Any change to origins: ids may mean something else from here on. */
static void
origins_changed(Datum arg, int cache, uint32 hash)
{
	HASH_SEQ_STATUS status;
	Origin	   *origin;

	if (current_session == NULL)
		return;
	hash_seq_init(&status, current_session->origins);
	while ((origin = hash_seq_search(&status)) != NULL)
		origin->kind = ORIGIN_UNKNOWN;
}
