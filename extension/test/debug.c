/*-------------------------------------------------------------------------
 * test/debug.c
 *		What only tests call: making the manager die, looking for lost
 *		wake-ups of its main thread, and applying bytes of a test's own.
 *
 * NOTES
 *		Only superusers may call it.  The manager dies only where it has loaded
 *		bdr_go_test.so (bdr.debug_go_library).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "tcop/cmdtag.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "apply/activity.h"
#include "apply/change.h"
#include "apply/frame.h"
#include "apply/pieces.h"
#include "apply/state.h"
#include "base/shmem.h"
#include "ddl/command.h"
#include "session/request.h"
#include "version/clock.h"
#include "version/key_removal.h"

#define ANSWER_MS_MAX	500		/* then a wake-up counts as lost */
#define SIGNAL_EVERY	16		/* pings between two signals */
#define MESSAGES_BYTES_MAX	(1024 * 1024)

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bdr_internal_debug_fault);
PG_FUNCTION_INFO_V1(bdr_internal_latch_stress);
PG_FUNCTION_INFO_V1(bdr_internal_debug_apply);
PG_FUNCTION_INFO_V1(bdr_internal_debug_clock);
PG_FUNCTION_INFO_V1(bdr_internal_debug_key_removal);
PG_FUNCTION_INFO_V1(bdr_internal_command_tags);
PG_FUNCTION_INFO_V1(bdr_internal_command_fate);
PG_FUNCTION_INFO_V1(bdr_internal_command_locks);

/* Not every server says how many there are. */
#define PG_CMDTAG(tag, name, event_trigger, rewrite, rowcount) name,
static const char *const command_tags[] = {
#include "tcop/cmdtaglist.h"
};
#undef PG_CMDTAG

static void check_caller(void);
static bool ping(BdrManagerSlot *slot, uint32 round);
static void prepare_to_apply(void);
static char *guarded_copy(const char *bytes, Size len);

Datum
bdr_internal_debug_fault(PG_FUNCTION_ARGS)
{
	check_caller();
	return bdr_call(fcinfo);
}

/*
 * Pings the manager's main thread by its latch and counts the pings that it
 * does not answer in time.
 *
 * Only the latch's signal can wake it here: nothing else is sent to it but,
 * now and then, other signals, which must not swallow it.  With a Go thread
 * that takes the signal, answers get lost (prototypes, P1).
 */
Datum
bdr_internal_latch_stress(PG_FUNCTION_ARGS)
{
	int			n = PG_GETARG_INT32(0);
	int			lost = 0;
	BdrManagerSlot *slot;

	check_caller();
	LWLockAcquire(bdr_shmem->lock, LW_SHARED);
	slot = bdr_shmem_find(MyDatabaseId);
	LWLockRelease(bdr_shmem->lock);
	if (slot == NULL || slot->pid == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the bdr manager of this database does not run")));
	slot->pinger = MyLatch;
	for (int i = 0; i < n && slot->pid != 0; i++)
	{
		if (i % SIGNAL_EVERY == 0)
			kill(slot->pid, i / SIGNAL_EVERY % 2 ? SIGUSR1 : SIGHUP);
		if (!ping(slot, slot->ping + 1))
			lost++;
	}
	slot->pinger = NULL;
	PG_RETURN_INT32(lost);
}

static void
check_caller(void)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to call functions of bdr_test")));
	bdr_require_preloaded();
}

static bool
ping(BdrManagerSlot *slot, uint32 round)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ANSWER_MS_MAX);
	Latch	   *latch = slot->latch;

	slot->ping = round;
	pg_memory_barrier();
	if (latch != NULL)
		SetLatch(latch);
	for (;;)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		if (*((volatile uint32 *) &slot->pong) == round)
			return true;
		if (left <= 0)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Applies messages of a frame as a writer does, in the caller's transaction.
 * BEGIN and COMMIT are refused; conflicts are decided as in catch-up mode.
 */
Datum
bdr_internal_debug_apply(PG_FUNCTION_ARGS)
{
	bytea	   *messages = PG_GETARG_BYTEA_PP(0);
	Size		len = VARSIZE_ANY_EXHDR(messages);
	MemoryContext caller = CurrentMemoryContext;
	BdrReader	reader;

	check_caller();
	prepare_to_apply();
	reader.at = guarded_copy(VARDATA_ANY(messages), len);
	reader.end = reader.at + len;
	MemoryContextSwitchTo(bdr_apply.change_context);
	bdr_frame_apply_messages(&reader);
	bdr_change_flush();
	bdr_relation_close_all();
	bdr_apply.xact.open = false;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(bdr_apply.change_context);
	PG_RETURN_VOID();
}

/*
 * What the writer of a peer is between BEGIN and COMMIT, in this backend.  The
 * call before may have ended anywhere.
 */
static void
prepare_to_apply(void)
{
	static bool prepared = false;
	static BdrActivity nobody_looks;

	if (!prepared)
	{
		bdr_apply.change_context = AllocSetContextCreate(TopMemoryContext, "bdr change",
												   ALLOCSET_DEFAULT_SIZES);
		bdr_relation_init();
		bdr_activity = &nobody_looks;
		prepared = true;
	}
	bdr_change_forget();
	bdr_piece_forget();
	bdr_relation_forget_all();
	MemoryContextReset(bdr_apply.change_context);
	bdr_apply.peer.name = "debug";
	bdr_apply.peer.catch_up = bdr_apply.peer.trusted = true;
	bdr_reader_set_source(bdr_apply.peer.name);
	memset(&bdr_apply.xact, 0, sizeof(bdr_apply.xact));
	bdr_apply.xact.open = true;
	bdr_apply.xact.started = true;
	bdr_apply.xact.version.known = true;
	bdr_apply.xact.version.node = 1;
	bdr_apply.xact.version.time = GetCurrentTimestamp();
	bdr_version_begin(&bdr_apply.xact.version);
	bdr_apply.xact.commit_lsn = PG_UINT64_MAX;	/* no COMMIT has it */
}

/*
 * A copy that ends where nothing may be read.
 */
static char *
guarded_copy(const char *bytes, Size len)
{
	static char *end = NULL;
	Size		page = sysconf(_SC_PAGESIZE);
	char	   *area;

	if (end == NULL)
	{
		area = mmap(NULL, MESSAGES_BYTES_MAX + page, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (area == MAP_FAILED || mprotect(area + MESSAGES_BYTES_MAX, page, PROT_NONE) != 0)
			elog(ERROR, "could not make room for messages: %m");
		end = area + MESSAGES_BYTES_MAX;
	}
	if (len > MESSAGES_BYTES_MAX)
		elog(ERROR, "%zu bytes of messages are too many", len);
	return memcpy(end - len, bytes, len);
}

Datum
bdr_internal_debug_clock(PG_FUNCTION_ARGS)
{
	check_caller();
	PG_RETURN_TIMESTAMPTZ(bdr_clock_high());
}

/*
 * Of a table, or with InvalidOid of all of the server.
 */
Datum
bdr_internal_debug_key_removal(PG_FUNCTION_ARGS)
{
	TimestampTz newest;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	TupleDesc	desc;

	check_caller();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(bdr_key_removal_look(PG_GETARG_OID(0), &newest));
	values[1] = TimestampTzGetDatum(newest);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
bdr_internal_command_tags(PG_FUNCTION_ARGS)
{
	Datum		names[lengthof(command_tags)];

	check_caller();
	for (int i = 0; i < lengthof(command_tags); i++)
		names[i] = CStringGetTextDatum(command_tags[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(names, lengthof(command_tags), TEXTOID, -1, false, TYPALIGN_INT));
}

/* How bdr.so finds a command by its tag. */
Datum
bdr_internal_command_fate(PG_FUNCTION_ARGS)
{
	const BdrCommand *command;

	check_caller();
	command = bdr_command_find(GetCommandTagEnum(text_to_cstring(PG_GETARG_TEXT_PP(0))));
	if (command == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(bdr_command_fate_name(command->fate)));
}

/* Which locks a statement would take. */
Datum
bdr_internal_command_locks(PG_FUNCTION_ARGS)
{
	List	   *statements;

	check_caller();
	statements = raw_parser(text_to_cstring(PG_GETARG_TEXT_PP(0)), RAW_PARSE_DEFAULT);
	PG_RETURN_TEXT_P(cstring_to_text(bdr_command_lock_name(bdr_command_locks(linitial_node(RawStmt, statements)->stmt))));
}
