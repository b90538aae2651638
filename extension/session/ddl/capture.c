/*-------------------------------------------------------------------------
 * session/ddl/capture.c
 *		Statements that run on every node, where they run first.
 *
 * NOTES
 *		A statement is queued when it has succeeded, in its transaction, and so
 *		stands in WAL where it has run (ddl/queue.c).  What runs inside of it, as
 *		the script of an extension does, is part of it.
 *
 *		CREATE INDEX CONCURRENTLY is queued twice: in the transaction that makes
 *		the index, and in the last one, which has it built.
 *
 *		CREATE TABLE AS runs its query here only.  The table is queued when it has
 *		been made and is still empty, and its rows follow as rows of any table
 *		do.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "replication/origin.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/hooks.h"
#include "base/membership.h"
#include "base/settings.h"
#include "base/worker.h"
#include "ddl/command.h"
#include "ddl/queue.h"
#include "session/ddl/capture.h"
#include "session/ddl/column_type.h"
#include "session/ddl/form.h"
#include "session/ddl/function_body.h"
#include "session/ddl/like.h"
#include "session/ddl/locking.h"
#include "session/ddl/sets.h"
#include "session/ddl/text.h"
#include "session/ddl/touched.h"
#include "session/lock/global_lock.h"
#include "session/restore.h"

typedef enum FrameKind
{
	FRAME_PART,					/* of a statement that is replicated */
	FRAME_TEXT,					/* other nodes run it as well */
	FRAME_ROWS					/* other nodes make its table, and get its rows */
} FrameKind;

/* A statement under way. */
typedef struct Frame
{
	FrameKind	kind;
	BdrTouched	touched;
	BdrStatement described;		/* but for its text */
	CreateTableAsStmt *creates; /* FRAME_ROWS */
	bool		queued;			/* its table is */
	bool		is_stepwise;	/* its index is made in one transaction, and built in others */
	char	   *index;			/* that was made so */
	char	   *text;			/* NULL: as it was typed */
	ItemPointerData row;
} Frame;

PG_FUNCTION_INFO_V1(bdr_replicate_ddl_command);

static Frame *current = NULL;

/* Is replicated whatever the setting says, with these locks and sets. */
static Node *demanded = NULL;
static int	demanded_locking;
static ArrayType *demanded_sets;	/* NULL: the default one */

static void process(const BdrUtility *statement);
static bool decide(const BdrUtility *statement, Frame *frame);
static void choose_sets(const BdrUtility *statement, Frame *frame);
static bool is_temporary(const Frame *frame);
static Node *node_of(const BdrUtility *statement, const Frame *frame);
static void take_locks(const BdrUtility *statement, Frame *frame);
static char *text_of_drop(DropStmt *drop, const BdrTouched *touched);
static CreateTableAsStmt *created_by(Node *node);
static bool is_replicated(Node *node);
static bool is_applied(void);
static void run_in_frame(const BdrUtility *statement, Frame *frame);
static void queue_text(const BdrUtility *statement, Frame *frame);
static void accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);
static bool is_stepwise(Node *node, const BdrTouched *touched);
static void queue_index(Frame *frame, Oid relid);
static void queue_table(Frame *frame, Oid relid);
static RawStmt *parse(const char *text);
static void run_everywhere(RawStmt *raw, const char *text, ArrayType *sets, int locking);

void
bdr_capture_init(void)
{
	bdr_hooks_on_utility(process);
	bdr_hooks_on_access(accessed);
}

static void
process(const BdrUtility *statement)
{
	Frame		frame;

	if (statement->context == PROCESS_UTILITY_SUBCOMMAND || !decide(statement, &frame))
	{
		bdr_hooks_run_utility(statement);
		return;
	}
	if (frame.kind != FRAME_PART)
	{
		choose_sets(statement, &frame);
		take_locks(statement, &frame);
	}
	if (frame.kind == FRAME_TEXT)
		bdr_form_check(statement->pstmt->utilityStmt, statement->query, &frame.described);
	if (frame.kind == FRAME_TEXT && bdr_queue_is_opened_by(statement->pstmt->utilityStmt))
		bdr_queue_open(&frame.described);
	run_in_frame(statement, &frame);
	if (frame.kind == FRAME_TEXT)
		queue_text(statement, &frame);
	else if (frame.queued)
		bdr_queue_remove(&frame.row);
}

/*
 * Returns false when nobody has to know of the statement.  As whom it runs is
 * noted before it may change that role.
 */
static bool
decide(const BdrUtility *statement, Frame *frame)
{
	Node	   *node = statement->pstmt->utilityStmt;

	memset(frame, 0, sizeof(*frame));
	if (current != NULL && current->kind != FRAME_ROWS)
	{
		frame->kind = FRAME_PART;
		return true;
	}
	frame->creates = created_by(node);
	if (!is_replicated(frame->creates != NULL ? (Node *) frame->creates : node) && node != demanded)
	{
		frame->kind = FRAME_PART;
		return current != NULL;
	}
	frame->kind = frame->creates != NULL ? FRAME_ROWS : FRAME_TEXT;
	bdr_statement_describe(&frame->described, NULL);
	if (frame->kind == FRAME_ROWS && frame->creates->objtype == OBJECT_MATVIEW)
		frame->text = bdr_text_of_explained(statement->pstmt, statement->query);
	if (frame->kind == FRAME_TEXT)
	{
		bdr_touched_begin(&frame->touched, node);
		if (IsA(node, DropStmt))
			frame->text = text_of_drop((DropStmt *) node, &frame->touched);
		else if (IsA(node, CreateStmt))
			frame->text = bdr_like_text(statement->pstmt, statement->query);
		frame->is_stepwise = is_stepwise(node, &frame->touched);
		if (frame->is_stepwise)
			frame->text = bdr_text_with_password(statement->pstmt, statement->query);
	}
	return true;
}

/*
 * Filters say nothing of what is demanded, nor of what stays here.
 */
static void
choose_sets(const BdrUtility *statement, Frame *frame)
{
	Node	   *node = node_of(statement, frame);

	if (node == demanded)
		bdr_ddl_sets_name(&frame->described, demanded_sets);
	else if (!is_temporary(frame))
		bdr_ddl_sets_choose(&frame->described, node, bdr_text_as_typed(statement->pstmt, statement->query));
}

/* As far as names tell. */
static bool
is_temporary(const Frame *frame)
{
	if (frame->creates != NULL)
		return bdr_touched_makes_temporary(frame->creates->into->rel);
	return frame->touched.named.temporary && !frame->touched.named.permanent;
}

/* What is in EXPLAIN counts. */
static Node *
node_of(const BdrUtility *statement, const Frame *frame)
{
	return frame->creates != NULL ? (Node *) frame->creates : statement->pstmt->utilityStmt;
}

static void
take_locks(const BdrUtility *statement, Frame *frame)
{
	Node	   *node = node_of(statement, frame);

	bdr_locking_take(node, node == demanded ? demanded_locking : bdr_ddl_locking, is_temporary(frame));
	bdr_statement_set_earlier(&frame->described, bdr_global_lock_earlier());
}

/*
 * Where other nodes do not have all that it drops; else NULL.
 */
static char *
text_of_drop(DropStmt *drop, const BdrTouched *touched)
{
	bool		is_lenient = bdr_form_drops_odd_index(drop);

	if (touched->named.temporary && touched->named.permanent)
		return bdr_text_of_drop(drop, bdr_touched_permanent(drop->objects), is_lenient);
	return is_lenient ? bdr_text_of_drop(drop, drop->objects, true) : NULL;
}

/*
 * The statement that makes a table of what a query returns; NULL: it is no such.
 */
static CreateTableAsStmt *
created_by(Node *node)
{
	bool		is_explained = IsA(node, ExplainStmt);
	CreateTableAsStmt *creates;

	if (is_explained)
	{
		Query	   *query = (Query *) ((ExplainStmt *) node)->query;

		if (!IsA(query, Query) || query->commandType != CMD_UTILITY)
			return NULL;
		node = query->utilityStmt;
	}
	if (!IsA(node, CreateTableAsStmt))
		return NULL;
	creates = (CreateTableAsStmt *) node;
	return is_explained || creates->objtype == OBJECT_TABLE ? creates : NULL;
}

static bool
is_replicated(Node *node)
{
	Oid			self;

	if (!bdr_ddl_replication || creating_extension || bdr_internal_restore || IsBinaryUpgrade || bdr_is_own_worker())
		return false;
	return bdr_command_is_replicated(node) && !bdr_form_is_local(node) && !is_applied() && bdr_is_member(&self);
}

/*
 * What is kept to this node is; what another replication system does here is
 * not.
 */
static bool
is_applied(void)
{
	char	   *name;

	if (replorigin_session_origin == InvalidRepOriginId)
		return false;
	return replorigin_session_origin == DoNotReplicateId ||
		!replorigin_by_oid(replorigin_session_origin, true, &name) || strncmp(name, "bdr_", 4) == 0;
}

/*
 * What is done CONCURRENTLY takes several transactions, and is queued in the last
 * one.
 */
static void
run_in_frame(const BdrUtility *statement, Frame *frame)
{
	Frame	   *above = current;

	current = frame;
	if (frame->kind == FRAME_TEXT)
		bdr_global_lock_keep(true);
	PG_TRY();
	{
		bdr_hooks_run_utility(statement);
	}
	PG_FINALLY();
	{
		if (frame->kind == FRAME_TEXT)
			bdr_global_lock_keep(false);
		current = above;
	}
	PG_END_TRY();
}

static void
queue_text(const BdrUtility *statement, Frame *frame)
{
	BdrTemporality objects = bdr_touched_end(&frame->touched);

	if (objects.temporary && objects.permanent && frame->text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot replicate %s of temporary and permanent objects together",
						GetCommandTagName(CreateCommandTag(statement->pstmt->utilityStmt))),
				 errhint("Use a statement of its own for the temporary objects.")));
	if (!objects.permanent && objects.temporary)
		return;
	frame->described.text = frame->text != NULL ? frame->text : bdr_text_with_password(statement->pstmt, statement->query);
	if (frame->index != NULL)
		bdr_statement_set_index(&frame->described, frame->index, true);
	bdr_queue_add(&frame->described);
}

static void
accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (current == NULL)
		return;
	if (!creating_extension)
	{
		bdr_column_type_check(access, class, object, sub, arg);
		bdr_function_body_check(access, class, object, sub, arg);
	}
	if (current->kind == FRAME_TEXT)
	{
		bdr_touched_access(&current->touched, access, class, object, arg);
		if (current->is_stepwise && access == OAT_POST_CREATE && class == RelationRelationId)
			queue_index(current, object);
	}
	else if (current->kind == FRAME_ROWS && !current->queued && access == OAT_POST_CREATE &&
			 class == RelationRelationId && sub == 0)
		queue_table(current, object);
}

/* The server does as much for a temporary table at once. */
static bool
is_stepwise(Node *node, const BdrTouched *touched)
{
	return IsA(node, IndexStmt) && ((IndexStmt *) node)->concurrent && touched->named.permanent;
}

/*
 * It stays if it cannot be built, and other statements may use it.  The server
 * makes its rows of the catalogs visible next, in any case.
 */
static void
queue_index(Frame *frame, Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(frame->touched.context);
	Relation	index = RelationIdGetRelation(relid);

	frame->index = pstrdup(RelationGetRelationName(index));
	frame->described.text = frame->text;
	bdr_statement_set_index(&frame->described, frame->index, false);
	MemoryContextSwitchTo(old);
	RelationClose(index);
	bdr_queue_add(&frame->described);
}

/*
 * Also called for the table's TOAST table, and whatever planning makes.
 */
static void
queue_table(Frame *frame, Oid relid)
{
	IntoClause *into = frame->creates->into;
	Relation	table = RelationIdGetRelation(relid);

	if (!RelationIsValid(table))
		return;
	if (table->rd_rel->relpersistence != RELPERSISTENCE_TEMP && strcmp(RelationGetRelationName(table), into->rel->relname) == 0)
	{
		frame->described.text = frame->text != NULL ? frame->text : bdr_text_of_table(table, into);
		bdr_queue_insert(&frame->described, &frame->row);
		frame->queued = true;
		/* other nodes run the query of a materialised view, too */
		if (frame->text != NULL)
			frame->kind = FRAME_PART;
	}
	RelationClose(table);
}

/* ---------------------------------------------------------------------
 * bdr.replicate_ddl_command
 * ---------------------------------------------------------------------
 */
Datum
bdr_replicate_ddl_command(PG_FUNCTION_ARGS)
{
	char	   *ddl;
	RawStmt    *raw;
	BdrStatement described;
	ArrayType  *sets;
	int			locking;
	Oid			self;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("ddl_cmd and execute_locally must not be NULL")));
	sets = PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1);
	locking = PG_ARGISNULL(2) ? bdr_ddl_locking : bdr_locking_setting(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (!bdr_is_member(&self))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is not a member of a node group")));
	ddl = text_to_cstring(PG_GETARG_TEXT_PP(0));
	raw = parse(ddl);
	if (!bdr_command_is_replicated(raw->stmt) || bdr_form_is_local(raw->stmt) || is_applied())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot replicate %s", CreateCommandName(raw->stmt))));
	if (PG_GETARG_BOOL(3))
		run_everywhere(raw, ddl, sets, locking);
	else if (IsA(raw->stmt, CreateTableAsStmt) || IsA(raw->stmt, CreateRoleStmt) || IsA(raw->stmt, AlterRoleStmt))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot replicate %s without running it here", CreateCommandName(raw->stmt))));
	else
	{
		bdr_statement_describe(&described, ddl);
		bdr_ddl_sets_name(&described, sets);
		bdr_locking_take(raw->stmt, locking, false);
		bdr_statement_set_earlier(&described, bdr_global_lock_earlier());
		bdr_queue_add(&described);
	}
	PG_RETURN_VOID();
}

static RawStmt *
parse(const char *text)
{
	List	   *statements = pg_parse_query(text);

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("ddl_cmd must be one statement")));
	return linitial_node(RawStmt, statements);
}

/*
 * As our own code runs it, but for the setting.
 */
static void
run_everywhere(RawStmt *raw, const char *text, ArrayType *sets, int locking)
{
	PlannedStmt *pstmt;
	QueryCompletion completion;

	PushActiveSnapshot(GetTransactionSnapshot());
	pstmt = bdr_statement_plan(raw, text);
	demanded = pstmt->utilityStmt;
	demanded_locking = locking;
	demanded_sets = sets;
	PG_TRY();
	{
		InitializeQueryCompletion(&completion);
		ProcessUtility(pstmt, text, false, PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, &completion);
	}
	PG_FINALLY();
	{
		demanded = NULL;
	}
	PG_END_TRY();
	PopActiveSnapshot();
}
