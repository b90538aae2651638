/*-------------------------------------------------------------------------
 * base/hint.c
 *		What to do about an error of users' code that a change has run.
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
