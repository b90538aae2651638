/*-------------------------------------------------------------------------
 * conflict/constraint.c
 *		A constraint under which an incoming version has values that can collide.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/index.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "conflict/constraint.h"
#include "row/lookup.h"
#include "bdr_compat.h"

static void set_operator(BdrConstraint *constraint, Relation index, IndexInfo *info, int i);
static Oid	value_type(BdrRelation *rel, IndexInfo *info, int i);
static void set_value(BdrConstraint *constraint, int i, Datum value);
static void take_text(BdrConstraint *constraint, BdrRelation *rel, BdrLookup *lookup, int i, char *text);

void
bdr_constraint_of_key(BdrConstraint *key, BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row)
{
	memset(key, 0, sizeof(*key));
	key->place = -1;
	key->name = "";
	key->index = lookup->index;
	if (!lookup->usable || !OidIsValid(lookup->index))
		return;
	for (int i = 0; i < rel->result->ri_NumIndices; i++)
	{
		if (rel->index_oids[i] == lookup->index)
			key->place = i;
	}
	key->nkeys = lookup->nkeys;
	key->keys = palloc(lookup->nkeys * sizeof(ScanKeyData));
	key->types = palloc(lookup->nkeys * sizeof(Oid));
	memcpy(key->keys, lookup->keys, lookup->nkeys * sizeof(ScanKeyData));
	slot_getallattrs(row);
	for (int i = 0; i < lookup->nkeys; i++)
	{
		int			att = lookup->attnums[i] - 1;

		/* NULL is equal to nothing */
		if (row->tts_isnull[att])
			return;
		key->types[i] = getBaseType(TupleDescAttr(rel->desc, att)->atttypid);
		set_value(key, i, row->tts_values[att]);
	}
	key->by_value = true;
}

/*
 * The constraint of an index, for a row whose generated columns are computed;
 * of the deferrable ones, or of the others.  Returns false when the row cannot
 * collide there.
 */
bool
bdr_constraint_of_index(BdrConstraint *constraint, BdrRelation *rel, TupleTableSlot *row, int place, bool deferrable)
{
	Relation	index = rel->result->ri_IndexRelationDescs[place];
	IndexInfo  *info = rel->result->ri_IndexRelationInfo[place];
	ExprContext *econtext = GetPerTupleExprContext(rel->estate);
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if ((!info->ii_Unique && info->ii_ExclusionOps == NULL) ||
		!info->ii_ReadyForInserts || index->rd_index->indimmediate == deferrable)
		return false;
	econtext->ecxt_scantuple = row;
	if (info->ii_Predicate != NIL)
	{
		if (info->ii_PredicateState == NULL)
			info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, rel->estate);
		if (!ExecQual(info->ii_PredicateState, econtext))
			return false;
	}
	FormIndexDatum(info, row, rel->estate, values, isnull);

	memset(constraint, 0, sizeof(*constraint));
	constraint->place = place;
	constraint->index = RelationGetRelid(index);
	constraint->name = RelationGetRelationName(index);
	constraint->is_exclusion = info->ii_ExclusionOps != NULL;
	constraint->is_deferrable = !index->rd_index->indimmediate;
	constraint->by_value = true;
	constraint->nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	constraint->keys = palloc0(constraint->nkeys * sizeof(ScanKeyData));
	constraint->types = palloc(constraint->nkeys * sizeof(Oid));
	for (int i = 0; i < constraint->nkeys; i++)
	{
		if (isnull[i] && (constraint->is_exclusion || !info->ii_NullsNotDistinct))
			return false;
		set_operator(constraint, index, info, i);
		constraint->types[i] = getBaseType(value_type(rel, info, i));
		if (isnull[i])
			constraint->keys[i].sk_flags |= SK_ISNULL | SK_SEARCHNULL;
		else
			set_value(constraint, i, values[i]);
	}
	return true;
}

static void
set_operator(BdrConstraint *constraint, Relation index, IndexInfo *info, int i)
{
	if (constraint->is_exclusion)
		ScanKeyEntryInitialize(&constraint->keys[i], 0, i + 1, info->ii_ExclusionStrats[i], InvalidOid,
							   index->rd_indcollation[i], info->ii_ExclusionProcs[i], (Datum) 0);
	else if (!bdr_lookup_scan_key(&constraint->keys[i], index, i))
		elog(ERROR, "unique index \"%s\" has no equality operator", RelationGetRelationName(index));
}

static Oid
value_type(BdrRelation *rel, IndexInfo *info, int i)
{
	int			nexpressions = 0;

	if (info->ii_IndexAttrNumbers[i] != InvalidAttrNumber)
		return TupleDescAttr(rel->desc, info->ii_IndexAttrNumbers[i] - 1)->atttypid;
	for (int k = 0; k < i; k++)
		nexpressions += info->ii_IndexAttrNumbers[k] == InvalidAttrNumber ? 1 : 0;
	return exprType(list_nth(info->ii_Expressions, nexpressions));
}

/*
 * Keep the value: the row may be read again.
 */
static void
set_value(BdrConstraint *constraint, int i, Datum value)
{
	int16		len;
	bool		byval;

	get_typlenbyval(constraint->types[i], &len, &byval);
	constraint->keys[i].sk_argument = datumCopy(value, byval, len);
}

/*
 * The same for values that a peer remembers as texts.  Returns false when there
 * is no such constraint here.
 */
bool
bdr_constraint_of_texts(BdrConstraint *constraint, BdrRelation *rel, BdrLookup *lookup,
						const char *index, int n, char **texts)
{
	bool		is_key = index[0] == '\0';
	int			place = -1;

	memset(constraint, 0, sizeof(*constraint));
	for (int i = 0; i < rel->result->ri_NumIndices; i++)
	{
		Relation	candidate = rel->result->ri_IndexRelationDescs[i];

		if (is_key ? RelationGetRelid(candidate) == lookup->index :
			strcmp(RelationGetRelationName(candidate), index) == 0)
			place = i;
	}
	if (is_key ? !lookup->usable || !OidIsValid(lookup->index) || lookup->nkeys != n :
		place < 0 || IndexRelationGetNumberOfKeyAttributes(rel->result->ri_IndexRelationDescs[place]) != n)
		return false;
	constraint->place = place;
	constraint->name = index;
	constraint->by_value = true;
	constraint->nkeys = n;
	constraint->keys = palloc0(n * sizeof(ScanKeyData));
	constraint->types = palloc(n * sizeof(Oid));
	if (is_key)
		memcpy(constraint->keys, lookup->keys, n * sizeof(ScanKeyData));
	else
		constraint->is_exclusion = rel->result->ri_IndexRelationInfo[place]->ii_ExclusionOps != NULL;
	for (int i = 0; i < n; i++)
		take_text(constraint, rel, is_key ? lookup : NULL, i, texts[i]);
	return true;
}

static void
take_text(BdrConstraint *constraint, BdrRelation *rel, BdrLookup *lookup, int i, char *text)
{
	Oid			input;
	Oid			param;

	if (lookup != NULL)
		constraint->types[i] = getBaseType(TupleDescAttr(rel->desc, lookup->attnums[i] - 1)->atttypid);
	else
	{
		IndexInfo  *info = rel->result->ri_IndexRelationInfo[constraint->place];

		set_operator(constraint, rel->result->ri_IndexRelationDescs[constraint->place], info, i);
		constraint->types[i] = getBaseType(value_type(rel, info, i));
	}
	if (text == NULL)
	{
		constraint->keys[i].sk_flags |= SK_ISNULL | SK_SEARCHNULL;
		return;
	}
	getTypeInputInfo(constraint->types[i], &input, &param);
	set_value(constraint, i, OidInputFunctionCall(input, text, param, -1));
}

/*
 * Do these values of another row collide with those of the incoming one?
 */
bool
bdr_constraint_matches(BdrConstraint *constraint, const Datum *values, const bool *isnull)
{
	for (int i = 0; i < constraint->nkeys; i++)
	{
		ScanKey		key = &constraint->keys[i];
		bool		wants_null = (key->sk_flags & SK_ISNULL) != 0;

		if (isnull[i] || wants_null)
		{
			if (isnull[i] != wants_null)
				return false;
			continue;
		}
		if (!DatumGetBool(FunctionCall2Coll(&key->sk_func, key->sk_collation, values[i], key->sk_argument)))
			return false;
	}
	return true;
}

/*
 * Of all values together; 0 where equal ones may not have equal hashes.
 */
int64
bdr_constraint_hash(BdrConstraint *constraint)
{
	uint64		hash = 0;

	if (constraint->hash != 0 || constraint->is_exclusion)
		return constraint->hash;
	for (int i = 0; i < constraint->nkeys; i++)
	{
		ScanKey		key = &constraint->keys[i];
		TypeCacheEntry *type = lookup_type_cache(constraint->types[i],
												 TYPECACHE_EQ_OPR_FINFO | TYPECACHE_HASH_EXTENDED_PROC_FINFO);

		if (!OidIsValid(type->hash_extended_proc) || type->eq_opr_finfo.fn_oid != key->sk_func.fn_oid)
			return 0;
		hash = hash_combine64(hash, (key->sk_flags & SK_ISNULL) != 0 ? 0 :
							  DatumGetUInt64(FunctionCall2Coll(&type->hash_extended_proc_finfo, key->sk_collation,
															   key->sk_argument, UInt64GetDatum(0))));
	}
	return constraint->hash = (int64) hash;
}
