/*-------------------------------------------------------------------------
 * version/key_removal.h
 *		Was a version of a table removed that is at least as new as another?
 *
 * NOTES
 *		"No" lets a writer store a row without looking at dead rows and at what
 *		was remembered.  "Yes" may be wrong, and only costs that look.
 *
 *		Publish, then look: who makes a version invisible counts itself first;
 *		who stores a row asks afterwards.  At least one sees the other.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_VERSION_KEY_REMOVAL_H
#define BDR_VERSION_KEY_REMOVAL_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * This transaction is about to make a version of the table invisible: it
 * deletes, changes a value of a unique or exclusion constraint, or remembers.
 * It is counted from now to its end.
 */
extern void bdr_key_removal_begin(Oid relid);

/*
 * Is another transaction removing a version of the table, or was one removed
 * that is as new as time, or newer?
 */
extern bool bdr_key_removal_newer(Oid relid, TimestampTz time);

/* For session/commit_prepared.c, around COMMIT PREPARED; time is that of the commit or later. */
extern void bdr_key_removal_server_begin(void);
extern void bdr_key_removal_server_end(TimestampTz time);

/* For tests; InvalidOid: what counts for all tables of the server. */
extern uint32 bdr_key_removal_look(Oid relid, TimestampTz *newest);

/* For bdr.c and manager/supervisor.c. */
extern void bdr_key_removal_init(void);
extern void bdr_key_removal_forget_past(void);

#endif							/* BDR_VERSION_KEY_REMOVAL_H */
