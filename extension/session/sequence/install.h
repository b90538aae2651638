/*-------------------------------------------------------------------------
 * session/sequence/install.h
 *		Redirecting the server's functions, and how sequences take kinds.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_INSTALL_H
#define BDR_SESSION_SEQUENCE_INSTALL_H

#include "postgres.h"

#include "session/sequence/kind.h"

/* Every sequence becomes local, and nextval the server's. */
extern void bdr_sequence_uninstall(void);

/*
 * For a sequence of which nothing was made under its key, but for values up to made
 * and what its page says; the caller has locked it.
 */
extern void bdr_sequence_take_kind(Oid relid, const BdrSequenceMethod *method, char *key, int64 made);

/* Where it goes on as a local one. */
extern void bdr_sequence_become_local(Oid relid, const BdrSequenceState *state);

#endif							/* BDR_SESSION_SEQUENCE_INSTALL_H */
