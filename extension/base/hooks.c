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

#include "base/hooks.h"

#define HANDLERS_MAX	16

static BdrUtilityHandler utility_handlers[HANDLERS_MAX];
static int	nutility_handlers = 0;
static ProcessUtility_hook_type previous_utility_hook = NULL;

static object_access_hook_type access_handlers[HANDLERS_MAX];
static int	naccess_handlers = 0;
static object_access_hook_type previous_access_hook = NULL;

static void process(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
					QueryCompletion *completion);
static void accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);

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
