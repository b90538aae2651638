/*-------------------------------------------------------------------------
 * apply/progress.h
 *		What has been applied, and what of it is on disk here.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_PROGRESS_H
#define BDR_APPLY_PROGRESS_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

extern void bdr_progress_init(XLogRecPtr first);
extern void bdr_progress_note(XLogRecPtr remote_end, XLogRecPtr local_end, TimestampTz time);
extern XLogRecPtr bdr_progress_last_local(void);
extern XLogRecPtr bdr_progress_applied(void);
extern TimestampTz bdr_progress_time(void);
extern XLogRecPtr bdr_progress_flushed(void);	/* asks how far WAL is flushed */
extern bool bdr_progress_pending(void);

#endif							/* BDR_APPLY_PROGRESS_H */
