/*-------------------------------------------------------------------------
 * session/sequence/copy.h
 *		COPY FROM into tables with columns that sequences fill.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_COPY_H
#define BDR_SESSION_SEQUENCE_COPY_H

#include "base/hooks.h"

/* Runs the statement if it is one of those; false: the server shall. */
extern bool bdr_sequence_copy(const BdrUtility *statement);

#endif							/* BDR_SESSION_SEQUENCE_COPY_H */
