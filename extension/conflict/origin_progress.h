/*-------------------------------------------------------------------------
 * conflict/origin_progress.h
 *		What the sender had seen of other nodes when it made its changes.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_ORIGIN_PROGRESS_H
#define BDR_CONFLICT_ORIGIN_PROGRESS_H

#include "postgres.h"

#include "base/reader.h"
#include "version/version.h"

extern void bdr_origin_progress_read(BdrReader *body);
extern bool bdr_origin_progress_has(const BdrVersion *version);

#endif							/* BDR_CONFLICT_ORIGIN_PROGRESS_H */
