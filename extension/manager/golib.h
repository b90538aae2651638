/*-------------------------------------------------------------------------
 * manager/golib.h
 *		Loading, starting and stopping the Go library in the manager.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_MANAGER_GOLIB_H
#define BDR_MANAGER_GOLIB_H

#include "bdr_boundary.h"

typedef enum BdrGoState
{
	BDR_GO_STARTING,
	BDR_GO_RUNNING,
	BDR_GO_FAILED,				/* see bdr_golib_error */
	BDR_GO_STOPPING,
	BDR_GO_STOPPED
} BdrGoState;

/*
 * Loads the library and begins to start it, on a thread of its own: the
 * caller's thread never runs Go.  config must live on; dead_fd in it is filled
 * in; talk_fd is the caller's end of the socketpair.  Returns when PostgreSQL
 * has its signal handlers back, which may be before the start is complete.
 */
extern void bdr_golib_start(BdrGoConfig *config, int talk_fd);

/* Begins to stop it; does nothing unless it runs. */
extern void bdr_golib_stop(int grace_ms);

/* Readable when the state changed, until cleared; readable when Go died. */
extern int	bdr_golib_event_fd(void);
extern void bdr_golib_clear_event(void);
extern int	bdr_golib_dead_fd(void);

extern BdrGoState bdr_golib_state(void);
extern const char *bdr_golib_error(void);
extern bool bdr_golib_died(void);

#endif							/* BDR_MANAGER_GOLIB_H */
