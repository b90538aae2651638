/*-------------------------------------------------------------------------
 * base/wal_message.c
 *		Messages to the peers, in WAL: watermarks, ends of streams, catch-up points.
 *
 * NOTES
 *		pg_logical_emit_message() is everybody's, so a prefix proves nothing:
 *		a user could end a subscription with a false end of stream, or have dead rows
 *		forgotten with a watermark.  What only a superuser can do is to write
 *		under a replication origin, so our messages have one of their own;
 *		output/plugin.c sends no others.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/origin.h"
#include "utils/builtins.h"

#include "base/wal_message.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

PG_FUNCTION_INFO_V1(bdr_internal_message);

/* It is on disk when something that comes later is. */
void
bdr_wal_message_write(const char *prefix, const char *content, Size size)
{
	RepOriginId previous = replorigin_session_origin;
	char		name[NAMEDATALEN];
	RepOriginId origin;

	snprintf(name, sizeof(name), BDR_MESSAGE_ORIGIN, MyDatabaseId);
	origin = replorigin_by_name(name, true);
	if (origin == InvalidRepOriginId)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("replication origin \"%s\" does not exist", name),
				 errdetail("Messages to the other nodes are written under it."),
				 errhint("It was dropped: make it again with pg_replication_origin_create().")));
	PG_TRY();
	{
		replorigin_session_origin = origin;
		(void) BDR_LOG_MESSAGE(prefix, content, size);
	}
	PG_FINALLY();
	{
		replorigin_session_origin = previous;
	}
	PG_END_TRY();
}

/* A message of Go's. */
Datum
bdr_internal_message(PG_FUNCTION_ARGS)
{
	text	   *content = PG_GETARG_TEXT_PP(0);

	bdr_wal_message_write(BDR_MESSAGE_PREFIX, VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content));
	PG_RETURN_VOID();
}
