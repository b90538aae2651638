/*-------------------------------------------------------------------------
 * session/lock/global_lock.h
 *		Locks of the whole group, held until the transaction ends.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_LOCK_GLOBAL_LOCK_H
#define BDR_SESSION_LOCK_GLOBAL_LOCK_H

/* Also the class of the local lock, in pg_locks.objsubid, an int2; gosrc/catalog has it, too. */
typedef enum BdrGlobalLockKind
{
	BDR_GLOBAL_LOCK_BIGINT = 0x6264,	/* advisory, with one key */
	BDR_GLOBAL_LOCK_INTEGERS = 0x6265,	/* advisory, with two */
	BDR_GLOBAL_LOCK_DDL = 0x6266	/* of the schema; there is one */
} BdrGlobalLockKind;

typedef struct BdrGlobalLock
{
	BdrGlobalLockKind kind;
	int32		key1;			/* of a bigint the upper half */
	int32		key2;
} BdrGlobalLock;

extern void bdr_global_lock_init(void);

/*
 * Waits until no other transaction of the group has it, at most for
 * bdr.global_lock_timeout.  A transaction that has it gets it once more.
 */
extern void bdr_global_lock_take(const BdrGlobalLock *lock);

/*
 * The lock of the schema; who has it has what others changed under it before.
 * Alone, the statement also goes on, with a warning, when no majority of the
 * group can be asked.
 */
extern void bdr_global_lock_take_ddl(bool alone);

/*
 * Where the other nodes gave the lock of the schema back before this transaction
 * got it, as the managers write it; NULL: it does not have it, or is the first.
 */
extern const char *bdr_global_lock_earlier(void);

/* Until it is false again, locks stay where a transaction commits. */
extern void bdr_global_lock_keep(bool keep);

/* Takes one of these calls back; false: the transaction does not have it. */
extern bool bdr_global_lock_give_back(const BdrGlobalLock *lock);

/* For messages. */
extern char *bdr_global_lock_title(const BdrGlobalLock *lock);

#endif							/* BDR_SESSION_LOCK_GLOBAL_LOCK_H */
