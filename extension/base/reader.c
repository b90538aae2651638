/*-------------------------------------------------------------------------
 * base/reader.c
 *		What is wrong with bytes of a peer, said in one way.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/reader.h"

static const char *source = "";

/* The name must live as long as the process. */
void
bdr_reader_set_source(const char *node)
{
	source = node;
}

void
bdr_frame_error(const char *fmt,...)
{
	StringInfoData detail;

	initStringInfo(&detail);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, fmt);
		needed = appendStringInfoVA(&detail, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&detail, needed);
	}
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("malformed frame from node \"%s\"", source),
			 errdetail_internal("%s", detail.data)));
}

char *
bdr_read_name(BdrReader *reader)
{
	uint16		len = bdr_read_uint16(reader);
	const char *bytes = bdr_read_bytes(reader, len);

	if (len >= NAMEDATALEN)
		bdr_frame_error("A name is %u bytes long.", len);
	if (memchr(bytes, '\0', len) != NULL)
		bdr_frame_error("A name has a zero byte.");
	(void) pg_verifymbstr(bytes, len, false);
	return pnstrdup(bytes, len);
}
