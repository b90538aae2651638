/*-------------------------------------------------------------------------
 * base/shmem.h
 *		Managers that are wanted or run: what sessions, the supervisor and the
 *		managers tell each other.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_SHMEM_H
#define BDR_BASE_SHMEM_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define BDR_MANAGER_ERROR_BYTES 512

/* One database.  Everything is guarded by BdrShmem's lock but for the pings. */
typedef struct BdrManagerSlot
{
	Oid			dboid;			/* InvalidOid: free */
	bool		wanted;			/* a session asked for the manager */
	bool		stop;			/* the manager shall end */
	bool		ready;			/* it listens */
	pid_t		pid;			/* 0: none */
	Latch	   *latch;			/* of the manager, while pid is set */
	TimestampTz restart_at;		/* not before; the supervisor's */
	uint32		failures;		/* starts that failed */
	char		error[BDR_MANAGER_ERROR_BYTES]; /* of the last of them */
	ConditionVariable changed;
	uint32		ping;			/* test/debug.c: the question */
	uint32		pong;			/* ... the answer */
	Latch	   *pinger;			/* ... who asked */
} BdrManagerSlot;

typedef struct BdrShmem
{
	LWLock	   *lock;
	Latch	   *supervisor;
	int			nslots;
	BdrManagerSlot slots[FLEXIBLE_ARRAY_MEMBER];
} BdrShmem;

extern BdrShmem *bdr_shmem;

/* A part that a module keeps there. */
typedef struct BdrShmemPart
{
	Size		(*bytes) (void);
	void		(*start) (void);	/* with AddinShmemInitLock held */
	const char *tranche;		/* of one lock; NULL: it needs none */
} BdrShmemPart;

/* When the module is loaded; parts start in the order of these calls. */
extern void bdr_shmem_register(const BdrShmemPart *part);

extern void bdr_shmem_init(void);
extern bool bdr_is_preloaded(void);
extern void bdr_require_preloaded(void);

extern BdrManagerSlot *bdr_shmem_find(Oid dboid);	/* lock held */
extern bool bdr_shmem_has_database(Oid dboid);
extern BdrManagerSlot *bdr_shmem_find_or_make(Oid dboid);	/* exclusively */
extern void bdr_shmem_wake_supervisor(void);
extern void bdr_shmem_note_failure(BdrManagerSlot *slot, const char *error);

/* Sessions. */
extern void bdr_shmem_stop_manager(Oid dboid);
extern bool bdr_shmem_wait_ready(Oid dboid, long timeout_ms, uint32 *failures);
extern char *bdr_shmem_manager_error(Oid dboid);

/* The manager itself. */
extern bool bdr_shmem_attach(Oid dboid);
extern void bdr_shmem_set_ready(void);
extern void bdr_shmem_set_finished(void);
extern void bdr_shmem_set_failed(const char *error);
extern void bdr_shmem_answer_ping(void);

#endif							/* BDR_BASE_SHMEM_H */
