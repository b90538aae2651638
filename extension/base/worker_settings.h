/*-------------------------------------------------------------------------
 * base/worker_settings.h
 *		The settings of our background workers.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_WORKER_SETTINGS_H
#define BDR_BASE_WORKER_SETTINGS_H

typedef enum BdrSession
{
	BDR_SESSION_MANAGER,		/* and the supervisor */
	BDR_SESSION_WRITER,
} BdrSession;

/* Once, after the connection to the database. */
extern void bdr_worker_pin_settings(BdrSession kind);

/* Does this process apply changes of a peer? */
extern bool bdr_is_writer(void);

/* Interrupts, and a reload of the settings. */
extern void bdr_worker_handle_signals(void);

#endif							/* BDR_BASE_WORKER_SETTINGS_H */
