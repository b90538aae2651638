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

/* As that, for a node that is no member, or is not one any more, too. */
extern bool bdr_is_node(Oid *node);

/* The number of a node in ids that are made from the time. */
extern int	bdr_node_number(Oid node);

/* How many nodes are members, the local one among them. */
extern int	bdr_count_members(void);

#endif							/* BDR_BASE_MEMBERSHIP_H */
