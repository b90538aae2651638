/*-------------------------------------------------------------------------
 * session/unchanged_toast.h
 *		Large values that an update leaves alone, where a peer wrote the row.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_UNCHANGED_TOAST_H
#define BDR_SESSION_UNCHANGED_TOAST_H

#include "postgres.h"

#include "nodes/execnodes.h"

/*
 * The statement that has just been started may update rows of the result
 * relation with this index in the range table.
 */
extern void bdr_unchanged_watch(EState *estate, Index index);

#endif							/* BDR_SESSION_UNCHANGED_TOAST_H */
