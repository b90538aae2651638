/*-------------------------------------------------------------------------
 * base/run_directory.h
 *		Where the files of a manager are, below the data directory.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_RUN_DIRECTORY_H
#define BDR_BASE_RUN_DIRECTORY_H

#include "postgres.h"

#define BDR_RUN_DIRECTORY		"bdr"

extern void bdr_run_directory(Oid dboid, char *path, Size size);
extern void bdr_socket_path(Oid dboid, char *path, Size size);

#endif							/* BDR_BASE_RUN_DIRECTORY_H */
