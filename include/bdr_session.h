/*-------------------------------------------------------------------------
 * bdr_session.h
 *		The settings of our background workers.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_H
#define BDR_SESSION_H

typedef enum BdrSession
{
	BDR_SESSION_MANAGER,		/* and the supervisor */
	BDR_SESSION_WRITER,
} BdrSession;

/* Once, after the connection to the database. */
extern void bdr_session_pin(BdrSession kind);

#endif							/* BDR_SESSION_H */
