/*-------------------------------------------------------------------------
 * base/settings.h
 *		Settings that several parts read; settings.c at the top defines them all.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_SETTINGS_H
#define BDR_BASE_SETTINGS_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/guc.h"

typedef enum BdrSkewAction
{
	BDR_SKEW_WARN,
	BDR_SKEW_WAIT
} BdrSkewAction;

typedef enum BdrDdlLocking
{
	BDR_DDL_LOCKING_OFF,
	BDR_DDL_LOCKING_DML,		/* the locks of tables only */
	BDR_DDL_LOCKING_ALL
} BdrDdlLocking;

/* The defaults of both settings: what makes nodes equal. */
#define BDR_MAXIMUM_CLOCK_SKEW			0
#define BDR_MAXIMUM_CLOCK_SKEW_ACTION	BDR_SKEW_WAIT

extern int	bdr_conflict_history_retention; /* s; -1: for ever */
extern char *bdr_debug_architecture;
extern char *bdr_debug_go_library;
extern int	bdr_debug_id_clock;	/* s */
extern bool bdr_debug_trust_peers;
extern int	bdr_ddl_locking;
extern const struct config_enum_entry bdr_ddl_locking_names[];
extern bool bdr_ddl_replication;
extern int	bdr_global_lock_timeout;	/* ms; 0: none */
extern bool bdr_match_table_owner;
extern int	bdr_default_replica_identity;	/* as in pg_class, or this: */
#define BDR_IDENTITY_AUTO				'a'
extern int	bdr_default_sequence_kind;	/* its letter, or this: */
#define BDR_SEQUENCE_DISTRIBUTED		'd'
extern int	bdr_max_worker_backoff_delay;	/* ms */
extern int	bdr_maximum_clock_skew; /* ms; -1: any */
extern int	bdr_maximum_clock_skew_action;
extern int	bdr_min_worker_backoff_delay;	/* ms */
extern bool bdr_role_replication;
extern int	bdr_stat_relation_max;
extern bool bdr_truncate_locking;

/* A SETTINGS message. */
extern void bdr_settings_pack(StringInfo buf);

#endif							/* BDR_BASE_SETTINGS_H */
