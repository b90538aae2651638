/*-------------------------------------------------------------------------
 * base/run_directory.c
 *		Where the files of a manager are.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/run_directory.h"

void
bdr_run_directory(Oid dboid, char *path, Size size)
{
	snprintf(path, size, "%s/%u", BDR_RUN_DIRECTORY, dboid);
}

void
bdr_socket_path(Oid dboid, char *path, Size size)
{
	snprintf(path, size, "%s/%u/sock", BDR_RUN_DIRECTORY, dboid);
}
