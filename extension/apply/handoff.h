/*-------------------------------------------------------------------------
 * apply/handoff.h
 *		The peer's stream, while a writer reads it itself.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_HANDOFF_H
#define BDR_APPLY_HANDOFF_H

#include "lib/stringinfo.h"

#include "bdr_protocol.h"

/* LEND: the connection has come with it on the manager's socket. */
extern void bdr_stream_borrow(BdrSocket *manager, BdrMessage *lend);

/* RECALL: it goes back where no transaction is in progress. */
extern void bdr_stream_recall(void);

extern bool bdr_stream_is_lent(void);

/*
 * The next frame, as APPLY; false: none has come.  The stream may have gone
 * back to the manager then.
 */
extern bool bdr_stream_take(BdrMessage *msg);

/* Waits for the stream or the manager.  Returns false when the time is over. */
extern bool bdr_stream_wait(long timeout_ms);

/* Nothing has come for the time of bdr_stream_wait. */
extern void bdr_stream_check_silence(void);

/* A keepalive has come whose position was not reported. */
extern bool bdr_stream_has_news(void);

/* The end of PROGRESS: what the peer has said. */
extern void bdr_stream_report(StringInfo buf);

#endif							/* BDR_APPLY_HANDOFF_H */
