/*-------------------------------------------------------------------------
 * session/sequence/function.h
 *		nextval and its like, for sequences of every kind.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_FUNCTION_H
#define BDR_SESSION_SEQUENCE_FUNCTION_H

#include "postgres.h"

#include "session/sequence/method.h"

/*
 * Exhausts the page of a sequence that has just taken a kind other than local.  Values
 * up to made are in use, and those that the page says.
 */
extern void bdr_sequence_begin(Oid relid, int64 made);

/* A local sequence that has been of another kind: its page becomes the server's. */
extern void bdr_sequence_settle_local(Oid relid);

/*
 * A position behind which nothing was made, on any node: a server without bdr
 * goes on from there.
 */
extern BdrSequenceState bdr_sequence_shown(BdrSequence *seq);

/* The redirected function for one of the server's; InvalidOid: it is not redirected. */
extern Oid	bdr_sequence_redirect(Oid function);

/* All functions of the server that are; InvalidOid: not in this version. */
extern int	bdr_sequence_redirections(void);
extern Oid	bdr_sequence_redirected(int i);

/* Is nextval of this database redirected? */
extern bool bdr_sequence_is_installed(void);

extern void bdr_sequence_function_init(void);

#endif							/* BDR_SESSION_SEQUENCE_FUNCTION_H */
