/*-------------------------------------------------------------------------
 * session/sequence/define.h
 *		What DDL does to sequences that are not local.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_DEFINE_H
#define BDR_SESSION_SEQUENCE_DEFINE_H

#include "postgres.h"

extern void bdr_sequence_define_init(void);

#endif							/* BDR_SESSION_SEQUENCE_DEFINE_H */
