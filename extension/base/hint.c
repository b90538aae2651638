/*-------------------------------------------------------------------------
 * base/hint.c
 *		What to do about an error that a change has run into.
 *
 * NOTES
 *		Functions in indexes, constraints, defaults and triggers run in a writer
 *		with search_path = pg_catalog.  One that names things without their
 *		schema works in sessions and fails here, and what PostgreSQL then
 *		suggests, type casts, does not help.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/hint.h"

/*
 * To be called from an error context callback outside of the code of users.
 * That something in the text of a function is not known is told by the
 * position in it: errors of our own have none.
 */
void
bdr_hint_search_path(void)
{
	switch (geterrcode())
	{
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_OBJECT:
			break;
		default:
			return;
	}
	if (getinternalerrposition() > 0)
		errhint("Changes are applied with search_path = pg_catalog. Name it with its schema in the function that is used by an index, constraint, default or trigger of the table, "
				"or use ALTER FUNCTION ... SET search_path; replication then continues by itself.");
}

/*
 * To be called from an error context callback while a value is being read that
 * the peer has in its table.  Its type may take it there and not here; another
 * encoding, or what no peer sends, is another matter.
 */
void
bdr_hint_refused_value(void)
{
	switch (geterrcode())
	{
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_INVALID_DATETIME_FORMAT:
		case ERRCODE_DATETIME_VALUE_OUT_OF_RANGE:
		case ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE:
		case ERRCODE_INTERVAL_FIELD_OVERFLOW:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_INVALID_PARAMETER_VALUE:
		case ERRCODE_SYNTAX_ERROR:
			errhint("The type does not take this value here: another major version of PostgreSQL, or another definition of the type or column. "
					"Make them alike, and replication continues by itself; or leave the transaction out with bdr.alter_subscription_skip_changes_upto.");
	}
}
