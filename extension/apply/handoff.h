/*-------------------------------------------------------------------------
 * apply/handoff.h
 *		The peer's stream, while a writer reads it itself.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_HANDOFF_H
#define BDR_APPLY_HANDOFF_H

#include "lib/stringinfo.h"

#include "bdr_protocol.h"

/* HANDOFF: the connection has come with it on the manager's socket. */
extern void bdr_handoff_accept(BdrSocket *manager, BdrMessage *handoff);

/* RECLAIM: it goes back where no transaction is in progress. */
extern void bdr_handoff_reclaim(void);

extern bool bdr_handoff_is_here(void);

/*
 * The next frame, as APPLY; false: none has come.  The stream may have gone
 * back to the manager then.
 */
extern bool bdr_handoff_take(BdrMessage *msg);

/* Waits for the stream or the manager.  Returns false when the time is over. */
extern bool bdr_handoff_wait(long timeout_ms);

/* Nothing has come for the time of bdr_handoff_wait. */
extern void bdr_handoff_check_silence(void);

/* A keepalive has come whose position was not reported. */
extern bool bdr_handoff_has_news(void);

/* The end of PROGRESS: what the peer has said. */
extern void bdr_handoff_report(StringInfo buf);

#endif							/* BDR_APPLY_HANDOFF_H */
