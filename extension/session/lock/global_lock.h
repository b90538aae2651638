/*-------------------------------------------------------------------------
 * session/lock/global_lock.h
 *		Locks of the whole group, held until the transaction ends.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_LOCK_GLOBAL_LOCK_H
#define BDR_SESSION_LOCK_GLOBAL_LOCK_H

#include "postgres.h"

/* Also the class of the local lock, in pg_locks.objsubid, an int2; gosrc/catalog has it, too. */
typedef enum BdrGlobalLockKind
{
	BDR_GLOBAL_LOCK_BIGINT = 0x6264,	/* advisory, with one key */
	BDR_GLOBAL_LOCK_INTEGERS = 0x6265,	/* advisory, with two */
	BDR_GLOBAL_LOCK_DDL = 0x6266,	/* of the schema; there is one */
	BDR_GLOBAL_LOCK_DML = 0x6267	/* of the rows of a tree of tables */
} BdrGlobalLockKind;

typedef struct BdrGlobalLock
{
	BdrGlobalLockKind kind;
	int32		key1;			/* of a bigint the upper half, of a tree its root */
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
 * That of the rows of a table, which nobody but this transaction writes to on any
 * node, but for those below it, too.  root has no table above it.
 */
extern void bdr_global_lock_take_table(Oid root);

/*
 * What other nodes must have before what this transaction does from now on: where
 * others gave locks of the schema or of tables back, and stopped writing, as the
 * managers write it; NULL: it has no such lock, or is the first.
 */
extern const char *bdr_global_lock_earlier(void);

/* Until it is false again, locks stay where a transaction commits. */
extern void bdr_global_lock_keep(bool keep);

/* Takes one of these calls back; false: the transaction does not have it. */
extern bool bdr_global_lock_give_back(const BdrGlobalLock *lock);

/* For messages. */
extern char *bdr_global_lock_title(const BdrGlobalLock *lock);

#endif							/* BDR_SESSION_LOCK_GLOBAL_LOCK_H */
