/*-------------------------------------------------------------------------
 * conflict/ask.c
 *		Facts about a conflict, gathered for Go; the decision, brought back.
 *
 * NOTES
 *		Which version wins is decided in gosrc/conflict.  This file runs
 *		inside the apply transaction and never starts or ends one.  The
 *		question goes over a connection of its own, and only when there is a
 *		conflict.
 *
 *		In catch-up mode nothing is asked: the sender's state is copied.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"

#include "conflict/ask.h"
#include "conflict/concurrent.h"
#include "conflict/decision_cache.h"
#include "conflict/resolvers.h"
#include "bdr_compat.h"
#include "bdr_protocol.h"

static void ask_plan(BdrCase *c, uint32 resolvers, BdrMessage *msg);
static void ask(BdrSocket *decider, StringInfo question, BdrMessageKind answer, BdrMessage *msg);
static void send_version(StringInfo buf, const BdrVersion *version);
static void send_found(StringInfo buf, BdrCase *c, BdrFound *found);
static void read_plan(BdrCase *c, StringInfo body);
static bool is_plan_possible(BdrCase *c);
pg_noreturn static void bad_plan(BdrCase *c);

/* ---------------------------------------------------------------------
 * Asking
 * ---------------------------------------------------------------------
 */

/*
 * What to do about tables that differ; the caller checks the action.
 */
void
bdr_conflict_ask(BdrConflict *conflict)
{
	BdrApply   *apply = conflict->rel->apply;
	StringInfoData buf;
	BdrMessage	msg;

	apply->xact.counters.conflicts++;
	if (apply->decider == NULL)
	{
		conflict->action = BDR_ACTION_ERROR;	/* bdr.internal_debug_apply */
		return;
	}
	bdr_message_begin(&buf, BDR_MSG_CONFLICT);
	pq_sendbyte(&buf, conflict->type);
	send_version(&buf, &conflict->local_version);
	send_version(&buf, bdr_version_incoming());
	pq_sendbyte(&buf, conflict->complete ? 1 : 0);
	ask(apply->decider, &buf, BDR_MSG_DECISION, &msg);
	conflict->action = pq_getmsgbyte(&msg.body);
	conflict->resolution = bdr_message_get_valid_text(&msg.body);
	conflict->rule = bdr_message_get_valid_text(&msg.body);
	pq_getmsgend(&msg.body);
}

/*
 * What to do about an incoming version, given what was found.
 */
void
bdr_conflict_plan(BdrCase *c)
{
	uint32		resolvers = bdr_resolvers_generation();
	StringInfoData known;
	BdrMessage	msg;

	if (bdr_decision_find(c, resolvers, &known))
	{
		read_plan(c, &known);
		pfree(known.data);
		return;
	}
	ask_plan(c, resolvers, &msg);
	bdr_decision_keep(c, resolvers, &msg.body);
	read_plan(c, &msg.body);
}

static void
ask_plan(BdrCase *c, uint32 resolvers, BdrMessage *msg)
{
	static uint32 resolvers_known = 0;
	StringInfoData buf;
	ListCell   *lc;

	bdr_message_begin(&buf, BDR_MSG_FACTS);
	pq_sendbyte(&buf, (resolvers != resolvers_known ? 1 : 0) | (c->key_changed || c->leaves ? 2 : 0) |
				(c->rel->row_version != InvalidAttrNumber ? 4 : 0));
	pq_sendbyte(&buf, c->operation);
	pq_sendbyte(&buf, c->image);
	send_version(&buf, bdr_version_incoming());
	pq_sendint16(&buf, c->nconstraints);
	for (int k = 0; k < c->nconstraints; k++)
		pq_sendbyte(&buf, c->constraints[k].is_exclusion ? 2 : 1);
	pq_sendint16(&buf, list_length(c->found));
	foreach(lc, c->found)
		send_found(&buf, c, lfirst(lc));
	ask(c->rel->apply->decider, &buf, BDR_MSG_PLAN, msg);
	resolvers_known = resolvers;
}

static void
ask(BdrSocket *decider, StringInfo question, BdrMessageKind answer, BdrMessage *msg)
{
	bdr_socket_send(decider, question);
	pfree(question->data);
	if (!bdr_socket_read(decider, msg))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the bdr manager ended before it decided a conflict")));
	if (msg->kind == BDR_MSG_FAULT)
		bdr_fault_throw(&msg->body);
	if (msg->kind != answer)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("unexpected message from the bdr manager"),
				 errdetail("A conflict was answered with \"%c\".", msg->kind)));
}

static void
send_version(StringInfo buf, const BdrVersion *version)
{
	pq_sendbyte(buf, version->known ? 1 : 0);
	pq_sendint64(buf, version->time);
	pq_sendint32(buf, version->node);
}

static void
send_found(StringInfo buf, BdrCase *c, BdrFound *found)
{
	int			k = -1;

	pq_sendbyte(buf, (found->row != NULL ? 1 : 0) | (bdr_conflict_is_seen(c, found) ? 2 : 0));
	send_version(buf, &found->version);
	pq_sendint16(buf, bms_num_members(found->on));
	while ((k = bms_next_member(found->on, k)) >= 0)
		pq_sendint16(buf, k);
}

static void
read_plan(BdrCase *c, StringInfo body)
{
	int			decisive;
	int			n;

	c->type = pq_getmsgbyte(body);
	c->action = pq_getmsgbyte(body);
	c->resolution = bdr_message_get_valid_text(body);
	c->rule = bdr_message_get_valid_text(body);
	decisive = pq_getmsgint(body, 2);
	if (decisive > list_length(c->found))
		bad_plan(c);
	c->decisive = decisive > 0 ? list_nth(c->found, decisive - 1) : NULL;
	n = pq_getmsgint(body, 2);
	if (n != list_length(c->found))
		bad_plan(c);
	for (int i = 0; i < n; i++)
		((BdrFound *) list_nth(c->found, i))->fate = pq_getmsgbyte(body);
	n = pq_getmsgint(body, 2);
	for (int i = 0; i < n; i++)
	{
		int			k = pq_getmsgint(body, 2);

		if (k >= c->nconstraints)
			bad_plan(c);
		c->constraints[k].remember = true;
	}
	pq_getmsgend(body);
	if (!is_plan_possible(c))
		bad_plan(c);
}

/*
 * Not every plan makes sense for every case.
 */
static bool
is_plan_possible(BdrCase *c)
{
	bool		is_deletion = c->operation == BDR_OP_DELETE;
	int			nreplaced = 0;
	ListCell   *lc;

	if (c->type != 0 && bdr_conflict_type_name(c->type) == NULL)
		return false;
	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->fate < BDR_FATE_STAYS || found->fate > BDR_FATE_EVICTED ||
			(found->row == NULL && found->fate != BDR_FATE_STAYS))
			return false;
		nreplaced += found->fate == BDR_FATE_REPLACED ? 1 : 0;
	}
	switch (c->action)
	{
		case BDR_ACTION_APPLY:
			return nreplaced == (is_deletion ? 0 : 1);
		case BDR_ACTION_INSERT:
			return nreplaced == 0 && !is_deletion && c->image == BDR_IMAGE_COMPLETE;
		case BDR_ACTION_FETCH:
			return nreplaced == 0 && c->image == BDR_IMAGE_PARTIAL;
		case BDR_ACTION_KEEP:
		case BDR_ACTION_ERROR:
		case BDR_ACTION_IGNORE:
			return nreplaced == 0;
	}
	return false;
}

static void
bad_plan(BdrCase *c)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the bdr manager sent a plan that does not fit"),
			 errdetail("Conflict type %d, action %d, table \"%s.%s\".", (int) c->type, (int) c->action,
					   c->rel->schema, c->rel->name)));
}

void
bdr_conflict_bad_action(BdrConflict *conflict)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the bdr manager answered a conflict of type %s with action %d",
					bdr_conflict_type_name(conflict->type), (int) conflict->action)));
}
