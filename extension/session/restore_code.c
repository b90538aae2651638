/*-------------------------------------------------------------------------
 * session/restore_code.c
 *		Code of users that a session of a join comes to run, wherever it is
 *		called from: as its owner, or not at all.
 *
 * NOTES
 *		The session is a superuser's.  Restoring a schema evaluates expressions
 *		of users in many places: literals of array, range and composite types
 *		over domains when a statement is parsed, bounds of partitions, initial
 *		values of aggregates, casts of foreign keys, constants that the planner
 *		folds.
 *
 *		A function of a role that is no superuser runs as that role, in a
 *		security-restricted operation: SET ROLE, RESET ROLE and SET SESSION
 *		AUTHORIZATION are errors in it.  PostgreSQL does not inline it either.
 *
 *		That leaves functions of superusers, such as query_to_xml(), that an
 *		expression of a user calls itself.  What such a function does with a
 *		superuser's rights it can do only if it is volatile, and tell only if it
 *		reads data, so these are refused while a statement is under way, unless
 *		a superuser's object or a superuser's function calls them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_language.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/hooks.h"
#include "session/restore.h"

/* A function that is running; PostgreSQL ends them in reverse order. */
typedef struct Running
{
	struct Running *outer;
	bool		trusted;		/* a superuser's, called as a superuser */
	bool		returns;		/* to this user when it ends */
	bool		restricted;		/* by us */
	bool		has_settings;	/* PostgreSQL has opened a level for them */
	Oid			user;
	int			context;
	int			guc_level;		/* ours; 0: none */
} Running;

/* Stable functions of the server that read what the caller's rights let them. */
static const Oid readers[] = {
	F_CURRENT_SETTING_TEXT, F_CURRENT_SETTING_TEXT_BOOL, F_DATABASE_TO_XML, F_DATABASE_TO_XMLSCHEMA,
	F_DATABASE_TO_XML_AND_XMLSCHEMA, F_PG_STAT_GET_BACKEND_ACTIVITY, F_SCHEMA_TO_XML, F_SCHEMA_TO_XMLSCHEMA,
	F_SCHEMA_TO_XML_AND_XMLSCHEMA, F_TABLE_TO_XML, F_TABLE_TO_XMLSCHEMA, F_TABLE_TO_XML_AND_XMLSCHEMA,
};

BdrRestoreCode bdr_restore_code;

static needs_fmgr_hook_type next_needs_fmgr_hook = NULL;
static fmgr_hook_type next_fmgr_hook = NULL;
static Running *running = NULL;
static int	trusted_functions = 0;	/* of running */

static bool needs_hook(Oid function);
static void hook(FmgrHookEventType event, FmgrInfo *flinfo, Datum *private);
static void begin(Oid function);
static void restrict_to(Running *this, Oid role);
static void check_settings(HeapTuple tuple, Running *this);
static void end(bool aborted);
static void revert_settings(void);
static void accessed(ObjectAccessType type, Oid classid, Oid object, int sub, void *arg);
static bool is_refused(Oid function);
static bool tells_secrets(Form_pg_proc function);

void
bdr_restore_code_init(void)
{
	next_needs_fmgr_hook = needs_fmgr_hook;
	needs_fmgr_hook = needs_hook;
	next_fmgr_hook = fmgr_hook;
	fmgr_hook = hook;
	bdr_hooks_on_access(accessed);
}

/* A new statement begins: nothing runs. */
void
bdr_restore_code_forget(void)
{
	while (running != NULL)
		end(true);
	trusted_functions = 0;
	memset(&bdr_restore_code, 0, sizeof(bdr_restore_code));
}

/*
 * Not what is built in, nor what a superuser has in C: these are many calls of
 * types and their indexes, and nothing to switch for.  Built-in functions in SQL
 * must be inlined where they were: text || integer is immutable only then, and
 * so is an index or a generated column that is made from it.  What they call is
 * then called by the user's expression itself.
 */
static bool
needs_hook(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		needed;

	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	needed = (proc->prolang != ClanguageId && proc->prolang != INTERNALlanguageId &&
			  !(proc->prolang == SQLlanguageId && function < FirstUnpinnedObjectId)) ||
		!superuser_arg(proc->proowner);
	ReleaseSysCache(tuple);
	return needed ||
		(next_needs_fmgr_hook != NULL && next_needs_fmgr_hook(function));
}

static void
hook(FmgrHookEventType event, FmgrInfo *flinfo, Datum *private)
{
	bool		next = next_fmgr_hook != NULL &&
		(next_needs_fmgr_hook == NULL || next_needs_fmgr_hook(flinfo->fn_oid));

	if (event == FHET_START)
	{
		if (next)
			next_fmgr_hook(event, flinfo, private);
		begin(flinfo->fn_oid);
		return;
	}
	end(event == FHET_ABORT);
	if (next)
		next_fmgr_hook(event, flinfo, private);
}

/*
 * SECURITY DEFINER has taken effect, and so have the function's own settings.
 */
static void
begin(Oid function)
{
	Running		this = {.outer = running};
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	GetUserIdAndSecContext(&this.user, &this.context);
	check_settings(tuple, &this);
	this.returns = !proc->prosecdef;
	if (superuser_arg(proc->proowner))
		this.trusted = superuser_arg(this.user);
	else if (superuser_arg(this.user))
		restrict_to(&this, proc->proowner);
	else if (!InSecurityRestrictedOperation())
		restrict_to(&this, this.user);
	ReleaseSysCache(tuple);
	running = MemoryContextAlloc(TopMemoryContext, sizeof(this));
	*running = this;
	if (this.trusted)
		trusted_functions++;
}

static void
restrict_to(Running *this, Oid role)
{
	SetUserIdAndSecContext(role, this->context | SECURITY_RESTRICTED_OPERATION);
	this->restricted = true;
	if (!this->has_settings)
		this->guc_level = NewGUCNestLevel();
}

/*
 * The settings of the function were set before its owner's rights counted, and
 * are taken back after that.  A role among them would mix with that.
 */
static void
check_settings(HeapTuple tuple, Running *this)
{
	bool		isnull;
	Datum		settings = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proconfig, &isnull);
	Datum	   *elements;
	int			n;

	if (isnull)
		return;
	this->has_settings = true;
	deconstruct_array(DatumGetArrayTypeP(settings), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *setting = TextDatumGetCString(elements[i]);

		if (strncmp(setting, "role=", 5) == 0 || strncmp(setting, "session_authorization=", 22) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("function %s sets a role and cannot run during a join",
							NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname)),
					 errhint("Take the setting out of the function, or make it SECURITY DEFINER, on the source of the join.")));
	}
}

/* After an error, PostgreSQL takes back the user and the settings. */
static void
end(bool aborted)
{
	Running		this = *running;

	pfree(running);
	running = this.outer;
	if (this.trusted)
		trusted_functions--;
	if (aborted)
		return;
	if (this.guc_level > 0)
		AtEOXact_GUC(false, this.guc_level);
	if (this.returns)
		SetUserIdAndSecContext(this.user, this.context);
	if (this.restricted && this.has_settings)
		revert_settings();
}

/*
 * What a function with settings of its own has set besides them stays.  The
 * statement's level takes it back, and is opened again.  A level above it, of
 * PostgreSQL or ours, will take it back itself.
 */
static void
revert_settings(void)
{
	int			above;

	if (running != NULL || bdr_restore_code.guc_level == 0)
		return;
	above = NewGUCNestLevel();
	AtEOXact_GUC(false, above);
	if (above != bdr_restore_code.guc_level + 1)
		return;
	AtEOXact_GUC(false, bdr_restore_code.guc_level);
	bdr_restore_code.guc_level = NewGUCNestLevel();
}

static void
accessed(ObjectAccessType type, Oid classid, Oid object, int sub, void *arg)
{
	if (type == OAT_FUNCTION_EXECUTE && is_refused(object))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s cannot be called here during a join", get_func_name(object)),
				 errdetail("It is volatile or reads data, and would run with a superuser's rights where nobody knows for whom."),
				 errhint("Change the expression on the source of the join, or call the function in a function of the expression's owner.")));
}

static bool
is_refused(Oid function)
{
	HeapTuple	tuple;
	Form_pg_proc proc;
	bool		refused;

	if (bdr_restore_code.statements == 0 || bdr_restore_code.trusted || trusted_functions > 0 ||
		creating_extension || !superuser_arg(GetUserId()))
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	refused = superuser_arg(proc->proowner) &&
		(proc->provolatile == PROVOLATILE_VOLATILE || (proc->provolatile == PROVOLATILE_STABLE && tells_secrets(proc)));
	ReleaseSysCache(tuple);
	return refused;
}

/*
 * What it returns may be the argument of a function of a user.
 */
static bool
tells_secrets(Form_pg_proc function)
{
	if (function->prolang != INTERNALlanguageId)
		return function->prolang != ClanguageId;
	for (int i = 0; i < lengthof(readers); i++)
	{
		if (function->oid == readers[i])
			return true;
	}
	return false;
}
