/*-------------------------------------------------------------------------
 * base/membership.h
 *		Is this database a node of a group?
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_MEMBERSHIP_H
#define BDR_BASE_MEMBERSHIP_H

#include "postgres.h"

/* Then *node is its id. */
extern bool bdr_is_member(Oid *node);

#endif							/* BDR_BASE_MEMBERSHIP_H */
