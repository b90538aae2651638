/*-------------------------------------------------------------------------
 * session/ddl/capture.h
 *		Statements that run on every node, where they run first.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_CAPTURE_H
#define BDR_SESSION_DDL_CAPTURE_H

#include "postgres.h"

extern void bdr_capture_init(void);

#endif							/* BDR_SESSION_DDL_CAPTURE_H */
