/*-------------------------------------------------------------------------
 * manager/supervisor.h
 *		One worker per instance: keeps a manager in every node database.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_MANAGER_SUPERVISOR_H
#define BDR_MANAGER_SUPERVISOR_H

#include "postgres.h"

extern void bdr_supervisor_register(void);
extern PGDLLEXPORT void bdr_supervisor_main(Datum arg);

#endif							/* BDR_MANAGER_SUPERVISOR_H */
