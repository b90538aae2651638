/*-------------------------------------------------------------------------
 * base/bdr.h
 *		Names, settings and shared state of the C shim.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_BDR_H
#define BDR_BASE_BDR_H

#include "postgres.h"

#include "lib/stringinfo.h"

#define BDR_VERSION				"0.1.0"
#define BDR_VERSION_NUM			100 /* major * 10000 + minor * 100 + patch */
#define BDR_SCHEMA				"bdr"
#define BDR_LABEL_PROVIDER		"bdr"
#define BDR_RUN_DIRECTORY		"bdr"	/* below the data directory */
#define BDR_OUTPUT_PLUGIN		"bdr_output"

/* base/guc.c */
extern bool bdr_debug_faults;
extern bool bdr_debug_trust_peers;
extern int	bdr_min_worker_backoff_delay;	/* ms */
extern int	bdr_max_worker_backoff_delay;	/* ms */
extern int	bdr_conflict_history_retention;	/* s; -1: for ever */
extern int	bdr_stat_relation_max;
extern bool bdr_match_table_owner;
extern void bdr_guc_define(void);
extern void bdr_guc_pack(StringInfo buf);	/* a SETTINGS message */

/* base/shmem.c: managers that are wanted or run, one slot per database */
extern void bdr_shmem_init(void);
extern bool bdr_is_preloaded(void);
extern void bdr_shmem_request_manager(Oid dboid);	/* wakes the supervisor */

/* manager/supervisor.c */
extern void bdr_supervisor_register(void);
extern PGDLLEXPORT void bdr_supervisor_main(Datum arg);

/* manager/manager.c */
extern PGDLLEXPORT void bdr_manager_main(Datum arg);
extern void bdr_run_directory(Oid dboid, char *path, Size size);
extern void bdr_socket_path(Oid dboid, char *path, Size size);

/* apply/writer.c; bgw_main_arg is the database's oid, bgw_extra a BdrWriterExtra */
typedef struct BdrWriterExtra
{
	Oid			dboid;
	uint64		token;			/* for HELLO, from LAUNCH */
} BdrWriterExtra;

extern PGDLLEXPORT void bdr_writer_main(Datum arg);

/*
 * base/sql.c: runs the statements of an SQL message body through SPI and packs
 * the ROWS answer.  The caller owns the transaction and the error handling.
 */
extern void bdr_sql_run(StringInfo body, StringInfo answer);

#endif							/* BDR_BASE_BDR_H */
