/*-------------------------------------------------------------------------
 * apply/report.h
 *		What the manager, and pg_stat_activity, are told about a writer's work.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_REPORT_H
#define BDR_APPLY_REPORT_H

#include "postgres.h"

#include "utils/backend_status.h"

#include "bdr_protocol.h"

extern void bdr_report_init(BdrSocket *to);
extern void bdr_report_send(void);
extern void bdr_report_note(void);
extern void bdr_report_if_due(void);
extern bool bdr_report_was_sent(void);
extern long bdr_report_timeout_ms(void);
extern void bdr_report_after_silence(void);
extern void bdr_report_activity(BackendState state);
extern void bdr_report_wait(long (*left_ms) (void), const char *activity);

#endif							/* BDR_APPLY_REPORT_H */
