/*-------------------------------------------------------------------------
 * conflict/fetch.c
 *		Values that an update left out, read from the node that made it.
 *
 * NOTES
 *		The question goes to the manager over the connection for conflicts, and
 *		the manager asks the peer over an ordinary connection
 *		(gosrc/replicate/fetch.go).  conflict/fetch.h says what the answer is worth.
 *
 *		Values come in send/recv form where the peer's stream uses that or the
 *		internal form, since both are for types that are the same on all nodes;
 *		else as text.  Keys go as text.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "conflict/fetch.h"
#include "row/decode.h"
#include "bdr_protocol.h"
#include "bdr_wire.h"

static bool ask(BdrRelation *rel, TupleTableSlot *row, BdrMessage *answer);
static void send_question(BdrSocket *sock, BdrRelation *rel, TupleTableSlot *row);
static void append_key(StringInfo buf, BdrRelation *rel, TupleTableSlot *row);
static void append_columns(StringInfo buf, BdrRelation *rel);
static bool is_wanted(const BdrRelation *rel, const BdrColumn *column);
static bool is_key(const BdrColumn *column);
static char form_of(const BdrColumn *column);
static void read_values(BdrRelation *rel, TupleTableSlot *row, StringInfo body);
static Datum read_value(BdrColumn *column, char *bytes, int len);
static Datum receive(BdrColumn *column, char *bytes, int len);

BdrFetchResult
bdr_fetch_row(BdrRelation *rel, TupleTableSlot *row)
{
	BdrMessage	answer;
	bool		complete;
	MemoryContext old;

	Assert(!rel->apply->peer.catch_up && rel->nunchanged > 0);
	old = MemoryContextSwitchTo(rel->apply->change_context);
	complete = ask(rel, row, &answer);
	if (complete)
		read_values(rel, row, &answer.body);
	pq_getmsgend(&answer.body);
	MemoryContextSwitchTo(old);
	return complete ? BDR_FETCH_COMPLETE : BDR_FETCH_GONE;
}

/* ---------------------------------------------------------------------
 * The question
 * ---------------------------------------------------------------------
 */

/*
 * Returns true when the values follow in *answer.
 */
static bool
ask(BdrRelation *rel, TupleTableSlot *row, BdrMessage *answer)
{
	BdrSocket  *decider = rel->apply->decider;

	if (decider == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot fetch unchanged values without a manager")));
	send_question(decider, rel, row);
	if (!bdr_socket_read(decider, answer))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the bdr manager ended before it fetched unchanged values")));
	if (answer->kind == BDR_MSG_FAULT)
		bdr_fault_throw(&answer->body);
	if (answer->kind != BDR_MSG_FETCHED)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("unexpected message from the bdr manager"),
				 errdetail("A fetch was answered with \"%c\".", answer->kind)));
	return pq_getmsgbyte(&answer->body) != 0;
}

static void
send_question(BdrSocket *sock, BdrRelation *rel, TupleTableSlot *row)
{
	/* the names are for messages; where the row is routed here, rel has those of our root */
	BdrRelation *sent = bdr_relation_find(rel->remote_relid);
	StringInfoData buf;

	bdr_message_begin(&buf, BDR_MSG_FETCH);
	pq_sendint32(&buf, rel->apply->xact.xid);
	pq_sendint64(&buf, bdr_version_incoming()->time);
	pq_sendint32(&buf, rel->remote_relid);
	bdr_message_text(&buf, sent->schema);
	bdr_message_text(&buf, sent->name);
	append_key(&buf, rel, row);
	append_columns(&buf, rel);
	bdr_socket_send(sock, &buf);
	pfree(buf.data);
}

static void
append_key(StringInfo buf, BdrRelation *rel, TupleTableSlot *row)
{
	uint16		n = 0;

	for (int i = 0; i < rel->ncolumns; i++)
		n += is_key(&rel->columns[i]);
	if (n == 0)
		bdr_frame_error("Relation \"%s.%s\" has unchanged values, but no key.", rel->schema, rel->name);
	pq_sendint16(buf, n);
	for (int i = 0; i < rel->ncolumns; i++)
	{
		const BdrColumn *column = &rel->columns[i];
		int			att = column->attnum - 1;
		Oid			function;
		bool		is_varlena;

		if (!is_key(column))
			continue;
		Assert(!rel->unchanged[att]);
		bdr_message_text(buf, column->name);
		getTypeOutputInfo(TupleDescAttr(rel->desc, att)->atttypid, &function, &is_varlena);
		bdr_message_text(buf, row->tts_isnull[att] ? NULL :
						 OidOutputFunctionCall(function, row->tts_values[att]));
	}
}

static bool
is_key(const BdrColumn *column)
{
	return (column->flags & BDR_COLUMN_KEY) && column->attnum != InvalidAttrNumber;
}

static void
append_columns(StringInfo buf, BdrRelation *rel)
{
	pq_sendint16(buf, rel->nunchanged);
	for (int i = 0; i < rel->ncolumns; i++)
	{
		if (!is_wanted(rel, &rel->columns[i]))
			continue;
		bdr_message_text(buf, rel->columns[i].name);
		pq_sendbyte(buf, form_of(&rel->columns[i]));
	}
}

static bool
is_wanted(const BdrRelation *rel, const BdrColumn *column)
{
	return column->attnum != InvalidAttrNumber && rel->unchanged[column->attnum - 1];
}

/*
 * A few built-in types can be stored, but not received; xml_send leaves out the
 * XML declaration.
 */
static char
form_of(const BdrColumn *column)
{
	HeapTuple	tuple;
	Form_pg_type type;
	bool		binary;

	if (column->format == BDR_FORMAT_TEXT || column->type == XMLOID)
		return BDR_FORMAT_TEXT;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(column->type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", column->type);
	type = (Form_pg_type) GETSTRUCT(tuple);
	binary = OidIsValid(type->typsend) && OidIsValid(type->typreceive);
	ReleaseSysCache(tuple);
	return binary ? BDR_FORMAT_BINARY : BDR_FORMAT_TEXT;
}

/* ---------------------------------------------------------------------
 * The answer
 * ---------------------------------------------------------------------
 */
static void
read_values(BdrRelation *rel, TupleTableSlot *row, StringInfo body)
{
	if (pq_getmsgint(body, 2) != rel->nunchanged)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the bdr manager fetched another number of values than was asked for")));
	for (int i = 0; i < rel->ncolumns; i++)
	{
		BdrColumn  *column = &rel->columns[i];
		int			att = column->attnum - 1;
		char	   *bytes;
		int			len;

		if (!is_wanted(rel, column))
			continue;
		bytes = bdr_message_get_bytes(body, &len);
		row->tts_isnull[att] = bytes == NULL;
		if (bytes != NULL)
		{
			row->tts_values[att] = read_value(column, bytes, len);
			pfree(bytes);
		}
		rel->unchanged[att] = false;
		rel->nunchanged--;
	}
	if (unlikely(rel->has_domains))
		bdr_check_domains(rel, row);
}

/*
 * bytes are terminated.
 */
static Datum
read_value(BdrColumn *column, char *bytes, int len)
{
	if (form_of(column) == BDR_FORMAT_BINARY)
		return receive(column, bytes, len);
	(void) pg_verifymbstr(bytes, len, false);
	return InputFunctionCall(&column->input, bytes, column->input_param, column->local_typmod);
}

/*
 * As row/decode.c does: a value of another type than ours goes through text.
 */
static Datum
receive(BdrColumn *column, char *bytes, int len)
{
	bool		same = column->conversion == BDR_CONVERT_NONE || column->conversion == BDR_CONVERT_RECEIVE;
	StringInfoData buf = {.data = bytes,.len = len,.maxlen = len + 1};
	Oid			function;
	Oid			param;
	bool		is_varlena;
	Datum		value;

	getTypeBinaryInputInfo(column->type, &function, &param);
	value = OidReceiveFunctionCall(function, &buf, param, same ? column->local_typmod : -1);
	if (buf.cursor != buf.len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("incorrect binary data format in column \"%s\"", column->name)));
	if (same)
		return value;
	getTypeOutputInfo(column->type, &function, &is_varlena);
	return InputFunctionCall(&column->input, OidOutputFunctionCall(function, value),
							 column->input_param, column->local_typmod);
}
