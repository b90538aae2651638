/*-------------------------------------------------------------------------
 * output/owner.h
 *		Who owns a relation that is sent.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_OWNER_H
#define BDR_OUTPUT_OWNER_H

#include "postgres.h"

#include "output/output.h"

extern void bdr_sent_owner(Oid relation, Oid then, BdrSentOwner *owner);

#endif							/* BDR_OUTPUT_OWNER_H */
