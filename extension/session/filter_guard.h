/*-------------------------------------------------------------------------
 * session/filter_guard.h
 *		A command that leaves a row filter unreadable is refused.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_FILTER_GUARD_H
#define BDR_SESSION_FILTER_GUARD_H

extern void bdr_filter_guard_init(void);

#endif							/* BDR_SESSION_FILTER_GUARD_H */
