/*-------------------------------------------------------------------------
 * base/sql.c
 *		Runs SQL for Go through SPI and packs the rows.
 *
 * NOTES
 *		The caller owns the transaction and the error handling.  Values travel
 *		as text; the settings that change how a value looks, or what a name
 *		means, are the same wherever this runs.  What is in the schema "bdr" is
 *		the extension's, or nothing runs.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/sql.h"
#include "base/tables.h"
#include "bdr_protocol.h"

static const struct
{
	const char *name;
	const char *value;
}			pinned[] =
{
	{"bytea_output", "hex"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"row_security", "on"},
	{"search_path", "pg_catalog, pg_temp"},
	{"TimeZone", "UTC"},
};

static void pin_settings(void);
static void run_statement(StringInfo body, StringInfo answer);
static void pack_rows(StringInfo answer, SPITupleTable *table);

void
bdr_sql_run(StringInfo body, StringInfo answer)
{
	int			nestlevel = NewGUCNestLevel();
	int			n;

	bdr_catalog_require();
	pin_settings();
	bdr_message_begin(answer, BDR_MSG_ROWS);
	SPI_connect();
	n = pq_getmsgint(body, 2);
	pq_sendint16(answer, n);
	for (int i = 0; i < n; i++)
		run_statement(body, answer);
	pq_getmsgend(body);
	SPI_finish();
	AtEOXact_GUC(true, nestlevel);
}

/* Undone with the nest level, or with the transaction on an error. */
static void
pin_settings(void)
{
	for (int i = 0; i < lengthof(pinned); i++)
		(void) set_config_option(pinned[i].name, pinned[i].value, PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

static void
run_statement(StringInfo body, StringInfo answer)
{
	char	   *statement = bdr_message_get_valid_text(body);
	int			nparams = pq_getmsgint(body, 2);
	Oid		   *types = palloc(nparams * sizeof(Oid));
	Datum	   *values = palloc(nparams * sizeof(Datum));
	char	   *nulls = palloc(nparams * sizeof(char));
	int			result;

	if (statement == NULL)
		elog(ERROR, "statement is missing");
	for (int i = 0; i < nparams; i++)
	{
		char	   *value = bdr_message_get_valid_text(body);

		types[i] = TEXTOID;
		values[i] = value ? PointerGetDatum(cstring_to_text(value)) : (Datum) 0;
		nulls[i] = value ? ' ' : 'n';
	}
	result = SPI_execute_with_args(statement, nparams, types, values, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", statement, SPI_result_code_string(result));
	pq_sendint64(answer, SPI_processed);
	pack_rows(answer, SPI_tuptable);
	SPI_freetuptable(SPI_tuptable);
}

/* A statement without a result has no columns and no rows. */
static void
pack_rows(StringInfo answer, SPITupleTable *table)
{
	int			ncolumns = table ? table->tupdesc->natts : 0;
	uint64		nrows = ncolumns > 0 ? table->numvals : 0;

	pq_sendint16(answer, ncolumns);
	pq_sendint32(answer, (uint32) nrows);
	for (uint64 row = 0; row < nrows; row++)
		for (int column = 1; column <= ncolumns; column++)
		{
			char	   *value = SPI_getvalue(table->vals[row], table->tupdesc, column);

			bdr_message_text(answer, value);
			if (value != NULL)
				pfree(value);
		}
}
