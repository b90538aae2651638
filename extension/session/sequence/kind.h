/*-------------------------------------------------------------------------
 * session/sequence/kind.h
 *		bdr.sequence_kind, and what a session remembers of it.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_KIND_H
#define BDR_SESSION_SEQUENCE_KIND_H

#include "postgres.h"

#include "storage/proc.h"

#include "session/sequence/method.h"
#include "bdr_compat.h"

/* A row. */
typedef struct BdrKindRow
{
	char		letter;
	char	   *key;
	pg_uuid_t	stopped_by;		/* zero: NULL */
	BdrSequenceState local;		/* log_cnt is not kept */
} BdrKindRow;

/*
 * A sequence to make values of, locked until the end of the transaction as the
 * server's nextval does it.  Waits while its kind is being switched.
 */
extern BdrSequence *bdr_sequence_open(Oid relid);

/* One that was opened: is it still, by this transaction? */
#define bdr_sequence_is_open(seq)	((seq)->valid && (seq)->locked == bdr_local_xid())

/* The same without a lock, and as it is: to look at. */
extern BdrSequence *bdr_sequence_look(Oid relid);

/* What this session has had of the sequence; NULL: nothing. */
extern BdrSequence *bdr_sequence_had(Oid relid);

/* currval and lastval forget. */
extern void bdr_sequence_discard(void);

extern bool bdr_kind_read(Oid relid, BdrKindRow *row);
extern void bdr_kind_write(Oid relid, const BdrKindRow *row);
extern void bdr_kind_delete(Oid relid);

/* Sessions look again; also those of a sequence whose chunks have changed. */
extern void bdr_kind_changed(Oid relid);
extern void bdr_kind_changed_key(const char *key);

/* Has this switch begun, and neither ended nor been cancelled? */
extern bool bdr_switch_is_pending(const pg_uuid_t *id);

/* For a sequence of this name; InvalidOid: it is not here. */
extern char *bdr_sequence_new_key(Oid relid, const char *schema, const char *name);
extern char *bdr_sequence_new_key_of(Oid relid);

extern bool bdr_uuid_is_zero(const pg_uuid_t *id);

#endif							/* BDR_SESSION_SEQUENCE_KIND_H */
