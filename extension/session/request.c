/*-------------------------------------------------------------------------
 * session/request.c
 *		SQL functions that the manager answers: arguments in, request out,
 *		reply or fault back.
 *
 * NOTES
 *		One C function serves all of them; the request carries the name and Go
 *		knows the rest.  A session keeps its connection.  A request that does
 *		not end in order (cancel, timeout, lost manager) closes it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/bdr.h"
#include "base/postmaster.h"
#include "base/run_directory.h"
#include "base/shmem.h"
#include "base/sql.h"
#include "session/request.h"
#include "bdr_compat.h"
#include "bdr_protocol.h"

#define START_MS_MAX		30000	/* for the manager to come up */
#define LOOK_MS_MAX			2000	/* bdr_call_if_running: for its welcome */
#define START_FAILURES_MAX	3

/* A manager's function may be called by more than superusers. */
#define RPC_FUNCTION		"internal_rpc"

/* What only tells of the manager, and runs no SQL as the caller: EXECUTE is enough. */
static const char *const telling_functions[] = {
	"internal_group_versions"
};

/* What is looked up once per call site. */
typedef struct CallSite
{
	char	   *name;
	int			nargs;
	Oid			argtypes[FUNC_MAX_ARGS];
	FmgrInfo	output[FUNC_MAX_ARGS];
	Oid			result_type;
	FmgrInfo	input;			/* of a scalar result */
	Oid			input_param;
} CallSite;

PG_FUNCTION_INFO_V1(bdr_call);
PG_FUNCTION_INFO_V1(bdr_call_if_running);
PG_FUNCTION_INFO_V1(bdr_version);
PG_FUNCTION_INFO_V1(bdr_version_num);
PG_FUNCTION_INFO_V1(bdr_internal_architecture);

/* The session's connection; NULL while a request uses it. */
static BdrSocket *idle_connection = NULL;

static CallSite *call_site(FunctionCallInfo fcinfo);
static void check_server(void);
static void check_caller(const char *function);
static bool only_tells(const char *function);
static void leave_if_stopping(void);
static BdrSocket *take_connection(bool start);
static BdrSocket *new_connection(bool start);
static bool is_alive(BdrSocket *sock);
static BdrSocket *start_manager(const char *path);
static void give_back(BdrSocket *sock);
static Datum call(FunctionCallInfo fcinfo, CallSite *site, BdrSocket *sock);
static void begin_request(StringInfo buf, const char *function, int nargs);
static void send_request(FunctionCallInfo fcinfo, CallSite *site, BdrSocket *sock);
static bool ask(BdrSocket *sock, const char *function, int nargs, const char *const *args, StringInfo fault, char **answer);
static char *value_of(StringInfo body);
static void converse_once(BdrSocket *sock, StringInfo request, BdrMessage *msg);
static void converse(BdrSocket *sock, BdrMessage *msg);
static void show_notice(StringInfo body);
static void serve_sql(BdrSocket *sock, StringInfo body);
static Datum take_reply(FunctionCallInfo fcinfo, CallSite *site, StringInfo body);
static Datum take_value(FunctionCallInfo fcinfo, CallSite *site, StringInfo body);
static void take_rows(FunctionCallInfo fcinfo, int ncolumns, uint32 nrows, StringInfo body);

Datum
bdr_call(PG_FUNCTION_ARGS)
{
	CallSite   *site = call_site(fcinfo);

	check_caller(site->name);
	check_server();
	return call(fcinfo, site, take_connection(true));
}

/* As bdr_call, but without a manager there are no rows: for views. */
Datum
bdr_call_if_running(PG_FUNCTION_ARGS)
{
	CallSite   *site = call_site(fcinfo);
	BdrSocket  *sock = NULL;

	check_caller(site->name);
	if (bdr_is_preloaded() && !RecoveryInProgress())
		sock = take_connection(false);
	if (sock != NULL)
		return call(fcinfo, site, sock);
	InitMaterializedSRF(fcinfo, 0);
	return (Datum) 0;
}

Datum
bdr_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(BDR_VERSION));
}

Datum
bdr_version_num(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(BDR_VERSION_NUM);
}

Datum
bdr_internal_architecture(PG_FUNCTION_ARGS)
{
	char		text[128];

	PG_RETURN_TEXT_P(cstring_to_text(bdr_architecture(text, sizeof(text))));
}

static CallSite *
call_site(FunctionCallInfo fcinfo)
{
	CallSite   *site = fcinfo->flinfo->fn_extra;
	MemoryContext old;
	Oid			function = fcinfo->flinfo->fn_oid;
	Oid		   *argtypes;

	if (site != NULL)
		return site;
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	site = palloc0(sizeof(CallSite));
	site->name = get_func_name(function);
	site->result_type = get_func_signature(function, &argtypes, &site->nargs);
	for (int i = 0; i < site->nargs; i++)
	{
		Oid			output;
		bool		is_varlena;

		site->argtypes[i] = argtypes[i];
		getTypeOutputInfo(argtypes[i], &output, &is_varlena);
		fmgr_info(output, &site->output[i]);
	}
	if (site->result_type != RECORDOID && site->result_type != VOIDOID)
	{
		Oid			input;

		getTypeInputInfo(site->result_type, &input, &site->input_param);
		fmgr_info(input, &site->input);
	}
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = site;
	return site;
}

static void
check_server(void)
{
	bdr_require_preloaded();
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("bdr does not run during recovery"),
				 errhint("Connect to the primary server, or promote this one.")));
}

static void
check_caller(const char *function)
{
	bool		rpc = strcmp(function, RPC_FUNCTION) == 0;

	if (superuser() || only_tells(function) || (rpc && has_rolreplication(GetUserId())))
	{
		if (rpc)
			leave_if_stopping();
		return;
	}
	if (rpc)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function \"bdr.%s\"", function),
				 errhint("Only superusers and roles with the REPLICATION attribute can call it.")));
	bdr_require_superuser(function);
}

void
bdr_require_superuser(const char *function)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function \"bdr.%s\"", function),
				 errhint("Only superusers can call it.")));
}

static bool
only_tells(const char *function)
{
	for (int i = 0; i < lengthof(telling_functions); i++)
		if (strcmp(function, telling_functions[i]) == 0)
			return true;
	return false;
}

/*
 * A smart stop waits for sessions, and a peer's manager would keep its own for
 * ever.
 */
static void
leave_if_stopping(void)
{
	if (bdr_postmaster_is_stopping())
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("connection of a peer's manager ends because the server stops")));
}

/*
 * A connection to the manager of this database.
 *
 * With start, the manager is started when it does not run; otherwise NULL
 * says that it does not.  A call inside a call gets a connection of its own.
 */
static BdrSocket *
take_connection(bool start)
{
	BdrSocket  *sock = idle_connection;

	idle_connection = NULL;
	if (sock != NULL && is_alive(sock))
		return sock;
	return new_connection(start);
}

static BdrSocket *
new_connection(bool start)
{
	char		path[MAXPGPATH];
	BdrSocket  *sock;

	bdr_socket_path(MyDatabaseId, path, sizeof(path));
	sock = bdr_socket_try_connect(path, BDR_ROLE_BACKEND, 0, start ? START_MS_MAX : LOOK_MS_MAX);
	if (sock == NULL && start)
		sock = start_manager(path);
	return sock;
}

/* Closes an idle connection whose manager has gone away since. */
static bool
is_alive(BdrSocket *sock)
{
	BdrMessage	msg;

	if (bdr_socket_try_read(sock, &msg) == 0)
		return true;
	bdr_socket_close(sock);
	return false;
}

static BdrSocket *
start_manager(const char *path)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), START_MS_MAX);
	uint32		failures = 0;
	char	   *error;
	long		left;

	for (int failed = 0; failed < START_FAILURES_MAX;)
	{
		uint32		before = failures;

		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (left <= 0)
			break;
		if (bdr_shmem_wait_ready(MyDatabaseId, left, &failures))
		{
			BdrSocket  *sock = bdr_socket_try_connect(path, BDR_ROLE_BACKEND, 0, left);

			if (sock != NULL)
				return sock;
		}
		else if (failures != before && before != 0)
			failed++;
	}
	error = bdr_shmem_manager_error(MyDatabaseId);
	ereport(ERROR,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("could not start the bdr manager of this database"),
			 error ? errdetail_internal("%s", error) : 0,
			 errhint("See the server log.")));
}

static void
give_back(BdrSocket *sock)
{
	if (idle_connection == NULL)
		idle_connection = sock;
	else
		bdr_socket_close(sock);
}

static Datum
call(FunctionCallInfo fcinfo, CallSite *site, BdrSocket *sock)
{
	BdrMessage	msg;
	volatile Datum result = (Datum) 0;
	StringInfoData fault = {NULL};

	PG_TRY();
	{
		send_request(fcinfo, site, sock);
		converse(sock, &msg);
		if (msg.kind == BDR_MSG_REPLY)
			result = take_reply(fcinfo, site, &msg.body);
		else
		{
			initStringInfo(&fault);
			appendBinaryStringInfo(&fault, msg.body.data, msg.body.len);
		}
	}
	PG_CATCH();
	{
		bdr_socket_close(sock);
		PG_RE_THROW();
	}
	PG_END_TRY();
	give_back(sock);
	if (fault.data != NULL)
		bdr_fault_throw(&fault);
	return result;
}

static void
begin_request(StringInfo buf, const char *function, int nargs)
{
	bdr_message_begin(buf, BDR_MSG_REQUEST);
	bdr_message_text(buf, function);
	bdr_message_text(buf, GetUserNameFromId(GetUserId(), false));
	pq_sendbyte(buf, IsTransactionBlock() || IsSubTransaction());
	pq_sendint16(buf, nargs);
}

static void
send_request(FunctionCallInfo fcinfo, CallSite *site, BdrSocket *sock)
{
	StringInfoData buf;

	begin_request(&buf, site->name, site->nargs);
	for (int i = 0; i < site->nargs; i++)
	{
		if (PG_ARGISNULL(i))
			bdr_message_text(&buf, NULL);
		else if (site->argtypes[i] == BYTEAOID)
		{
			bytea	   *value = PG_GETARG_BYTEA_PP(i);

			bdr_message_bytes(&buf, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
		}
		else
			bdr_message_text(&buf, OutputFunctionCall(&site->output[i], PG_GETARG_DATUM(i)));
	}
	bdr_socket_send(sock, &buf);
	pfree(buf.data);
}

void
bdr_request(const char *function, int nargs, const char *const *args)
{
	BdrSocket  *sock;
	StringInfoData fault;
	bool		failed;

	check_server();
	sock = take_connection(true);
	failed = ask(sock, function, nargs, args, &fault, NULL);
	give_back(sock);
	if (failed)
		bdr_fault_throw(&fault);
}

BdrSocket *
bdr_request_and_stay(const char *function, int nargs, const char *const *args, char **answer)
{
	BdrSocket  *sock;
	StringInfoData fault;

	check_server();
	sock = new_connection(true);
	if (!ask(sock, function, nargs, args, &fault, answer))
		return sock;
	bdr_socket_close(sock);
	bdr_fault_throw(&fault);
}

/* True: the answer was this fault. */
static bool
ask(BdrSocket *sock, const char *function, int nargs, const char *const *args, StringInfo fault, char **answer)
{
	StringInfoData request;
	BdrMessage	msg;

	begin_request(&request, function, nargs);
	for (int i = 0; i < nargs; i++)
		bdr_message_text(&request, args[i]);
	converse_once(sock, &request, &msg);
	pfree(request.data);
	if (msg.kind != BDR_MSG_FAULT)
	{
		if (answer != NULL)
			*answer = value_of(&msg.body);
		return false;
	}
	initStringInfo(fault);
	appendBinaryStringInfo(fault, msg.body.data, msg.body.len);
	return true;
}

/* The one value of a REPLY; NULL: it has none. */
static char *
value_of(StringInfo body)
{
	int			ncolumns = pq_getmsgint(body, 2);
	uint32		nrows = pq_getmsgint(body, 4);

	return ncolumns == 1 && nrows == 1 ? bdr_message_get_text(body) : NULL;
}

/* A connection on which that does not end in order is closed. */
static void
converse_once(BdrSocket *sock, StringInfo request, BdrMessage *msg)
{
	PG_TRY();
	{
		bdr_socket_send(sock, request);
		converse(sock, msg);
	}
	PG_CATCH();
	{
		bdr_socket_close(sock);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Serves Go until *msg is a REPLY or a FAULT. */
static void
converse(BdrSocket *sock, BdrMessage *msg)
{
	for (;;)
	{
		if (!bdr_socket_read(sock, msg))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the bdr manager ended before it answered"),
					 errhint("See the server log; the manager is started again after a second.")));
		switch (msg->kind)
		{
			case BDR_MSG_NOTICE:
				show_notice(&msg->body);
				break;
			case BDR_MSG_SQL:
				serve_sql(sock, &msg->body);
				break;
			case BDR_MSG_REPLY:
			case BDR_MSG_FAULT:
				return;
			default:
				elog(ERROR, "unexpected message '%c' from the bdr manager", msg->kind);
		}
	}
}

static void
show_notice(StringInfo body)
{
	char	   *level = bdr_message_get_shown_text(body);
	char	   *message = bdr_message_get_shown_text(body);
	int			elevel = NOTICE;

	if (level != NULL && strcmp(level, "INFO") == 0)
		elevel = INFO;
	else if (level != NULL && strcmp(level, "WARNING") == 0)
		elevel = WARNING;
	ereport(elevel, (errmsg_internal("%s", message ? message : "")));
}

/*
 * Runs SQL in the caller's transaction, in a subtransaction: an error goes to
 * Go, which may go on.  A cancel is not Go's to handle.
 */
static void
serve_sql(BdrSocket *sock, StringInfo body)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	StringInfoData answer;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	PG_TRY();
	{
		bdr_sql_run(body, &answer);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(old);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old);
		CurrentResourceOwner = owner;
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(edata);
		bdr_fault_pack(&answer, edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
	bdr_socket_send(sock, &answer);
	pfree(answer.data);
}

static Datum
take_reply(FunctionCallInfo fcinfo, CallSite *site, StringInfo body)
{
	int			ncolumns = pq_getmsgint(body, 2);
	uint32		nrows = pq_getmsgint(body, 4);
	Datum		result = (Datum) 0;

	if (fcinfo->flinfo->fn_retset)
		take_rows(fcinfo, ncolumns, nrows, body);
	else if (site->result_type == VOIDOID)
		body->cursor = body->len;
	else if (nrows == 1 && ncolumns == 1)
		result = take_value(fcinfo, site, body);
	else if (nrows == 0)
		fcinfo->isnull = true;
	else
		elog(ERROR, "unexpected result of bdr.%s: %u rows of %d columns", site->name, nrows, ncolumns);
	pq_getmsgend(body);
	return result;
}

static Datum
take_value(FunctionCallInfo fcinfo, CallSite *site, StringInfo body)
{
	int			len;
	char	   *bytes;

	if (site->result_type == BYTEAOID)
	{
		bytes = bdr_message_get_bytes(body, &len);
		if (bytes != NULL)
			return PointerGetDatum(cstring_to_text_with_len(bytes, len));
	}
	else
	{
		bytes = bdr_message_get_shown_text(body);
		if (bytes != NULL)
			return InputFunctionCall(&site->input, bytes, site->input_param, -1);
	}
	fcinfo->isnull = true;
	return (Datum) 0;
}

static void
take_rows(FunctionCallInfo fcinfo, int ncolumns, uint32 nrows, StringInfo body)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	AttInMetadata *input;
	MemoryContext per_row;
	char	  **values;

	InitMaterializedSRF(fcinfo, 0);
	if (nrows > 0 && ncolumns != set->setDesc->natts)
		elog(ERROR, "unexpected number of columns from the bdr manager: %d, expected %d",
			 ncolumns, set->setDesc->natts);
	input = TupleDescGetAttInMetadata(set->setDesc);
	values = palloc(ncolumns * sizeof(char *));
	per_row = AllocSetContextCreate(CurrentMemoryContext, "bdr row", ALLOCSET_DEFAULT_SIZES);
	while (nrows-- > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(per_row);

		for (int i = 0; i < ncolumns; i++)
			values[i] = bdr_message_get_shown_text(body);
		tuplestore_puttuple(set->setResult, BuildTupleFromCStrings(input, values));
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_row);
	}
	MemoryContextDelete(per_row);
}
