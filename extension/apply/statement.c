/*-------------------------------------------------------------------------
 * apply/statement.c
 *		STATEMENT: what a peer has run, run here.
 *
 * NOTES
 *		It runs as the role that ran it there, with that role's rights and not
 *		more: code that it calls cannot become somebody else, nor leave settings
 *		behind (base/user_context.c).
 *
 *		It is queued again, under its origin: a node that is made from this one
 *		gets it with the rows of that origin.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "commands/dbcommands.h"
#include "commands/tablecmds.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/change.h"
#include "apply/deferred.h"
#include "apply/state.h"
#include "apply/statement.h"
#include "apply/statement_index.h"
#include "apply/statement_value.h"
#include "base/user_context.h"
#include "ddl/command.h"
#include "ddl/queue.h"
#include "ddl/statement.h"
#include "bdr_protocol.h"
#include "bdr_wire.h"

static void read_statement(BdrReader *reader, BdrStatement *statement);
static void read_sets(BdrReader *reader, BdrStatement *statement, bool has_sets);
static void await_earlier(const char *earlier);
static char *read_text(BdrReader *reader, Size len);
static Oid	role_of(const BdrStatement *statement);
static void run_as(Oid role, const BdrStatement *statement);
static void name_database(Node *node);
static bool keeps_role(Node *node);
static bool is_role(const VariableSetStmt *set);
static RawStmt *parse(const char *text);
static void run(RawStmt *raw, const char *text);
static void drop_concurrently(Node *node);
static void detach(AlterTableCmd *cmd);
static bool is_hashed(Relation partition);
static void error_context(void *arg);

/*
 * One without text only waits for what comes before it.
 *
 * No table of ours may be open: statements want them for themselves.  What was
 * noted of rows does not outlive a table that is rewritten.
 */
void
bdr_statement_apply(BdrReader *reader)
{
	BdrStatement statement;
	ErrorContextCallback callback = {error_context_stack, error_context, &statement};

	Assert(bdr_change_is_flushed());
	bdr_deferred_resolve();
	bdr_user_switch(InvalidOid);
	bdr_relation_close_all();
	read_statement(reader, &statement);
	error_context_stack = &callback;
	if (!bdr_apply.peer.catch_up)
		await_earlier(bdr_statement_earlier(&statement));
	if (statement.text[0] != '\0')
		run_as(role_of(&statement), &statement);
	bdr_queue_add(&statement);
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(bdr_apply.change_context);
	MemoryContextReset(bdr_apply.change_context);
}

static void
read_statement(BdrReader *reader, BdrStatement *statement)
{
	uint8		flags = bdr_read_uint8(reader);

	if (flags & ~BDR_STATEMENT_FLAGS)
		bdr_frame_error("A statement has the unknown flags %u.", flags);
	statement->is_superuser = (flags & BDR_STATEMENT_SUPERUSER) != 0;
	statement->role = bdr_read_name(reader);
	read_sets(reader, statement, (flags & BDR_STATEMENT_SETS) != 0);
	statement->nsettings = bdr_read_uint16(reader);
	statement->settings = palloc(Max(statement->nsettings, 1) * sizeof(BdrSetting));
	for (int i = 0; i < statement->nsettings; i++)
	{
		statement->settings[i].name = read_text(reader, bdr_read_uint16(reader));
		statement->settings[i].value = read_text(reader, bdr_read_uint16(reader));
		if (!bdr_statement_knows_setting(statement->settings[i].name))
			bdr_frame_error("A statement comes with the setting \"%s\".", statement->settings[i].name);
	}
	statement->text = read_text(reader, bdr_reader_left(reader));
}

static void
read_sets(BdrReader *reader, BdrStatement *statement, bool has_sets)
{
	statement->nsets = has_sets ? bdr_read_uint16(reader) : 0;
	if (has_sets && statement->nsets == 0)
		bdr_frame_error("A statement goes with no replication set.");
	statement->sets = palloc(Max(statement->nsets, 1) * sizeof(char *));
	for (int i = 0; i < statement->nsets; i++)
		statement->sets[i] = bdr_read_name(reader);
}

/*
 * What its node had from others when it ran there, this node must have as well.
 * In a catch-up the stream has all of it, in order.
 */
static void
await_earlier(const char *earlier)
{
	StringInfoData question;
	BdrMessage	reply;

	if (earlier == NULL)
		return;
	bdr_message_begin(&question, BDR_MSG_AWAIT);
	pq_sendint64(&question, bdr_apply.xact.commit_lsn);
	bdr_message_text(&question, earlier);
	bdr_socket_send(bdr_apply.decider, &question);
	pfree(question.data);
	if (!bdr_socket_read(bdr_apply.decider, &reply))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the bdr manager ended before all earlier changes of the schema were applied")));
	if (reply.kind == BDR_MSG_FAULT)
		bdr_fault_throw(&reply.body);
	if (reply.kind != BDR_MSG_AWAITED)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("unexpected message from the bdr manager"),
				 errdetail("A wait was answered with \"%c\".", reply.kind)));
}

static char *
read_text(BdrReader *reader, Size len)
{
	char	   *text;

	if (len > MaxAllocSize - 1)
		bdr_frame_error("A statement has %zu bytes.", len);
	text = pnstrdup(bdr_read_bytes(reader, len), len);
	if (strlen(text) != len || !pg_verifymbstr(text, len, true))
		bdr_frame_error("A statement has what is no text.");
	return text;
}

/*
 * A role of that name that may do more here is not the same one.
 */
static Oid
role_of(const BdrStatement *statement)
{
	Oid			role = get_role_oid(statement->role, true);

	if (!OidIsValid(role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\", which ran a statement on node \"%s\", does not exist here",
						statement->role, bdr_apply.peer.name),
				 errhint("Create the role; replication then continues by itself.")));
	if (superuser_arg(role) && !statement->is_superuser)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\", which ran a statement on node \"%s\", is a superuser here and was none there",
						statement->role, bdr_apply.peer.name),
				 errhint("Make the role the same on both nodes; replication then continues by itself.")));
	return role;
}

/*
 * Code of an ordinary role runs in a security-restricted operation.  Neither that
 * nor the role can be left from inside.
 */
static void
run_as(Oid role, const BdrStatement *statement)
{
	int			restriction = superuser_arg(role) ? 0 : SECURITY_RESTRICTED_OPERATION;
	RawStmt    *raw;
	Oid			before;
	int			context;
	int			nest_level;

	GetUserIdAndSecContext(&before, &context);
	SetUserIdAndSecContext(role, context | SECURITY_LOCAL_USERID_CHANGE | restriction);
	nest_level = NewGUCNestLevel();
	bdr_statement_set_settings(statement);
	/* a body may name what only that session has, and was checked there */
	(void) set_config_option("check_function_bodies", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	raw = parse(statement->text);
	drop_concurrently(raw->stmt);
	bdr_statement_use_values(raw->stmt, statement);
	name_database(raw->stmt);
	if (restriction == 0 && keeps_role(raw->stmt))
		SetUserIdAndSecContext(role, context);
	if (bdr_queue_is_opened_by(raw->stmt))
		bdr_queue_open(statement);
	if (!bdr_statement_run_index(raw->stmt, statement))
		run(raw, statement->text);
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(before, context);
}

/* It has a name of its own on each node. */
static void
name_database(Node *node)
{
	GrantStmt  *grant = (GrantStmt *) node;

	if (IsA(node, GrantStmt) && grant->objtype == OBJECT_DATABASE)
		grant->objects = list_make1(makeString(get_database_name(MyDatabaseId)));
}

/*
 * SET role as an option of a function or a role.  The server checks it as if the
 * role were left now, although nothing of the function runs.
 */
static bool
keeps_role(Node *node)
{
	List	   *options = NIL;
	ListCell   *lc;

	if (IsA(node, AlterRoleSetStmt))
		options = list_make1(makeDefElem("set", (Node *) ((AlterRoleSetStmt *) node)->setstmt, -1));
	else if (IsA(node, CreateFunctionStmt))
		options = ((CreateFunctionStmt *) node)->options;
	else if (IsA(node, AlterFunctionStmt))
		options = ((AlterFunctionStmt *) node)->actions;
	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "set") == 0 && is_role(castNode(VariableSetStmt, option->arg)))
			return true;
	}
	return false;
}

/* RESET ALL has no name. */
static bool
is_role(const VariableSetStmt *set)
{
	return set->name != NULL && (strcmp(set->name, "role") == 0 || strcmp(set->name, "session_authorization") == 0);
}

/*
 * A peer may lie: it must be one statement, of those that it may send.
 */
static RawStmt *
parse(const char *text)
{
	List	   *statements = pg_parse_query(text);
	RawStmt    *raw = list_length(statements) == 1 ? linitial_node(RawStmt, statements) : NULL;

	if (raw == NULL || !bdr_command_is_replicated(raw->stmt))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot run %s of node \"%s\"", raw != NULL ? CreateCommandName(raw->stmt) : "several statements",
						bdr_apply.peer.name),
				 errdetail("It is not among the commands that are replicated.")));
	return raw;
}

static void
run(RawStmt *raw, const char *text)
{
	QueryCompletion completion;

	PushActiveSnapshot(GetTransactionSnapshot());
	InitializeQueryCompletion(&completion);
	/* what may not run in a transaction block ran in none there */
	ProcessUtility(bdr_statement_plan(raw, text), text, false, PROCESS_UTILITY_TOPLEVEL, NULL, NULL, None_Receiver, &completion);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/*
 * Everything that a peer's transaction does is one transaction here.  What
 * FINALIZE ends there has not begun here.
 */
static void
drop_concurrently(Node *node)
{
	ListCell   *lc;

	switch (nodeTag(node))
	{
		case T_IndexStmt:
			((IndexStmt *) node)->concurrent = false;
			break;
		case T_DropStmt:
			((DropStmt *) node)->concurrent = false;
			break;
		case T_RefreshMatViewStmt:
			((RefreshMatViewStmt *) node)->concurrent = false;
			break;
		case T_AlterTableStmt:
			foreach(lc, ((AlterTableStmt *) node)->cmds)
				detach(lfirst(lc));
			break;
		default:
			break;
	}
}

/*
 * Detached concurrently, a partition gets its bounds as a constraint, but for those
 * of a hash, which name the table.
 */
static void
detach(AlterTableCmd *cmd)
{
	PartitionCmd *partition = (PartitionCmd *) cmd->def;
	Relation	rel;
	char	   *name;
	bool		is_bound;

	if (cmd->subtype != AT_DetachPartitionFinalize && !(cmd->subtype == AT_DetachPartition && partition->concurrent))
		return;
	cmd->subtype = AT_DetachPartition;
	partition->concurrent = false;
	rel = table_openrv(partition->name, ShareUpdateExclusiveLock);
	name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel));
	is_bound = !rel->rd_rel->relispartition || is_hashed(rel) || PartConstraintImpliedByRelConstraint(rel, RelationGetPartitionQual(rel));
	if (!is_bound)
		name = psprintf("ALTER TABLE ONLY %s ADD CHECK %s", name,
						TextDatumGetCString(DirectFunctionCall1(pg_get_partition_constraintdef, ObjectIdGetDatum(RelationGetRelid(rel)))));
	table_close(rel, NoLock);
	if (!is_bound)
		run(parse(name), name);
}

static bool
is_hashed(Relation partition)
{
	Relation	table = table_open(get_partition_parent(RelationGetRelid(partition), true), AccessShareLock);
	bool		is_hashed = RelationGetPartitionKey(table)->strategy == PARTITION_STRATEGY_HASH;

	table_close(table, NoLock);
	return is_hashed;
}

/* Not the text of all statements may be shown: some have passwords. */
static void
error_context(void *arg)
{
	const BdrStatement *statement = arg;

	if (strcasestr(statement->text, "password") != NULL)
		errcontext("statement of role \"%s\"", statement->role);
	else
		errcontext("statement of role \"%s\": %.500s", statement->role, statement->text);
}
