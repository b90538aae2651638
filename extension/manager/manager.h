/*-------------------------------------------------------------------------
 * manager/manager.h
 *		The manager's main thread.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_MANAGER_MANAGER_H
#define BDR_MANAGER_MANAGER_H

#include "postgres.h"

extern PGDLLEXPORT void bdr_manager_main(Datum arg);

#endif							/* BDR_MANAGER_MANAGER_H */
