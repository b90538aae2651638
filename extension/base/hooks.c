/*-------------------------------------------------------------------------
 * base/hooks.c
 *		Hooks of the server that several modules want.
 *
 * NOTES
 *		Each is taken once, when the first module asks for it, and others that
 *		hold it are called as they would be.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "utils/memutils.h"

#include "base/hooks.h"

#define HANDLERS_MAX	16

static BdrUtilityHandler utility_handlers[HANDLERS_MAX];
static int	nutility_handlers = 0;
static ProcessUtility_hook_type previous_utility_hook = NULL;

static BdrStartHandler start_handlers[HANDLERS_MAX];
static int	nstart_handlers = 0;
static ExecutorStart_hook_type previous_start_hook = NULL;

static object_access_hook_type access_handlers[HANDLERS_MAX];
static int	naccess_handlers = 0;
static object_access_hook_type previous_access_hook = NULL;

static BdrCreatedHandler created_handlers[HANDLERS_MAX];
static int	ncreated_handlers = 0;

/* What the statements under way have made, in TopTransactionContext. */
static List *created = NIL;

static void process(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
					QueryCompletion *completion);
static void start(QueryDesc *query, int eflags);
static void accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);
static void run_and_tell(const BdrUtility *statement);
static void note_created(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);
static void forget_created(XactEvent event, void *arg);

void
bdr_hooks_on_utility(BdrUtilityHandler handler)
{
	if (nutility_handlers == HANDLERS_MAX)
		elog(ERROR, "too many handlers of utility statements");
	if (nutility_handlers == 0)
	{
		previous_utility_hook = ProcessUtility_hook;
		ProcessUtility_hook = process;
	}
	utility_handlers[nutility_handlers++] = handler;
}

static void
process(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	BdrUtility	statement = {pstmt, query, read_only_tree, context, params, environment, dest, completion,
	nutility_handlers};

	bdr_hooks_run_utility(&statement);
}

void
bdr_hooks_run_utility(const BdrUtility *statement)
{
	ProcessUtility_hook_type server = previous_utility_hook ? previous_utility_hook : standard_ProcessUtility;
	BdrUtility	inner = *statement;

	if (inner.handlers_left > 0)
	{
		inner.handlers_left--;
		utility_handlers[inner.handlers_left] (&inner);
		return;
	}
	server(inner.pstmt, inner.query, inner.read_only_tree, inner.context, inner.params, inner.environment,
		   inner.dest, inner.completion);
}

void
bdr_hooks_on_start(BdrStartHandler handler)
{
	if (nstart_handlers == HANDLERS_MAX)
		elog(ERROR, "too many handlers of plans");
	if (nstart_handlers == 0)
	{
		previous_start_hook = ExecutorStart_hook;
		ExecutorStart_hook = start;
	}
	start_handlers[nstart_handlers++] = handler;
}

static void
start(QueryDesc *query, int eflags)
{
	if (previous_start_hook)
		previous_start_hook(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
	for (int i = 0; i < nstart_handlers; i++)
		start_handlers[i] (query, eflags);
}

void
bdr_hooks_on_access(object_access_hook_type handler)
{
	if (naccess_handlers == HANDLERS_MAX)
		elog(ERROR, "too many handlers of accesses to objects");
	if (naccess_handlers == 0)
	{
		previous_access_hook = object_access_hook;
		object_access_hook = accessed;
	}
	access_handlers[naccess_handlers++] = handler;
}

static void
accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (previous_access_hook)
		previous_access_hook(access, class, object, sub, arg);
	for (int i = 0; i < naccess_handlers; i++)
		access_handlers[i] (access, class, object, sub, arg);
}

void
bdr_hooks_on_created(BdrCreatedHandler handler)
{
	if (ncreated_handlers == HANDLERS_MAX)
		elog(ERROR, "too many handlers of new relations");
	if (ncreated_handlers == 0)
	{
		bdr_hooks_on_utility(run_and_tell);
		bdr_hooks_on_access(note_created);
		RegisterXactCallback(forget_created, NULL);
	}
	created_handlers[ncreated_handlers++] = handler;
}

static void
run_and_tell(const BdrUtility *statement)
{
	int			first = list_length(created);
	List	   *relations;

	bdr_hooks_run_utility(statement);
	if (statement->context == PROCESS_UTILITY_SUBCOMMAND || list_length(created) <= first)
		return;
	relations = list_copy_tail(created, first);
	created = list_truncate(created, first);
	CommandCounterIncrement();
	for (int i = 0; i < ncreated_handlers; i++)
		created_handlers[i] (relations);
	list_free(relations);
}

/*
 * What the server makes for itself, as the new file of a table that is rewritten,
 * is no new relation.
 */
static void
note_created(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	MemoryContext old;

	if (access != OAT_POST_CREATE || class != RelationRelationId || sub != 0 ||
		(arg != NULL && ((ObjectAccessPostCreate *) arg)->is_internal))
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	created = lappend_oid(created, object);
	MemoryContextSwitchTo(old);
}

static void
forget_created(XactEvent event, void *arg)
{
	created = NIL;
}
