/*-------------------------------------------------------------------------
 * conflict/constraint.h
 *		A constraint under which an incoming version has values that can collide.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_CONSTRAINT_H
#define BDR_CONFLICT_CONSTRAINT_H

#include "postgres.h"

#include "access/skey.h"

#include "row/relation.h"

/* A constraint under which the incoming version has values that can collide. */
typedef struct BdrConstraint
{
	int			place;			/* of its index in the ResultRelInfo; -1: none */
	Oid			index;
	const char *name;			/* in bdr.remembered_version; "": the key */
	bool		is_exclusion;
	bool		is_deferrable;
	bool		by_value;		/* it has values; else only the lookup finds rows */
	int			nkeys;
	ScanKey		keys;			/* "existing operator value", with the values */
	Oid		   *types;			/* of the values; base types */
	int64		hash;			/* of the values; see conflict/tombstone.c */
	bool		taken;			/* a row that is here has equal values */
	bool		remember;		/* decided: the version took values that no row shows */
} BdrConstraint;

extern void bdr_constraint_of_key(BdrConstraint *key, BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row);
extern bool bdr_constraint_of_index(BdrConstraint *constraint, BdrRelation *rel, TupleTableSlot *row, int place,
									bool deferrable);
extern bool bdr_constraint_of_texts(BdrConstraint *constraint, BdrRelation *rel, BdrLookup *lookup,
									const char *index, int n, char **texts);
extern bool bdr_constraint_matches(BdrConstraint *constraint, const Datum *values, const bool *isnull);
extern int64 bdr_constraint_hash(BdrConstraint *constraint);

#endif							/* BDR_CONFLICT_CONSTRAINT_H */
