/*-------------------------------------------------------------------------
 * base/form.c
 *		The form in which a type travels.
 *
 * NOTES
 *		A sender chooses by this, and a receiver takes nothing better than
 *		this: the list is one, and linked into both modules.
 *
 *		Internal form is the fastest and the least checked: what is stored is
 *		what came.  So it is for the types on this list, each with what is
 *		checked inside (row/check.c), and for arrays of them.  It has the types
 *		that tables are made of.  The rest of the server's own types travel in
 *		send/recv form: their receive functions check what only they know.
 *		Values that hold OIDs of anything mean nothing elsewhere and go as
 *		text, with names; so do types that users and extensions made, whose
 *		OIDs differ.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/form.h"
#include "bdr_wire.h"

static bool is_among(Oid type, const Oid *types, int ntypes);
static bool can_be_received(Oid type);

static const struct
{
	Oid			type;
	BdrInside	inside;
}			internal_types[] =
{
	{BOOLOID, BDR_INSIDE_BOOL},
	{INT2OID, BDR_INSIDE_ANY},
	{INT4OID, BDR_INSIDE_ANY},
	{INT8OID, BDR_INSIDE_ANY},
	{FLOAT4OID, BDR_INSIDE_ANY},
	{FLOAT8OID, BDR_INSIDE_ANY},
	{NUMERICOID, BDR_INSIDE_NUMERIC},
	{MONEYOID, BDR_INSIDE_ANY},
	{OIDOID, BDR_INSIDE_ANY},	/* a number here, the name of nothing */
	{TEXTOID, BDR_INSIDE_TEXT},
	{VARCHAROID, BDR_INSIDE_TEXT},
	{BPCHAROID, BDR_INSIDE_TEXT},
	{NAMEOID, BDR_INSIDE_NAME},
	{CHAROID, BDR_INSIDE_ANY},
	{REFCURSOROID, BDR_INSIDE_TEXT},
	{BYTEAOID, BDR_INSIDE_ANY},
	{UUIDOID, BDR_INSIDE_ANY},
	{DATEOID, BDR_INSIDE_DATE},
	{TIMEOID, BDR_INSIDE_TIME},
	{TIMETZOID, BDR_INSIDE_TIMETZ},
	{TIMESTAMPOID, BDR_INSIDE_TIMESTAMP},
	{TIMESTAMPTZOID, BDR_INSIDE_TIMESTAMP},
	{INTERVALOID, BDR_INSIDE_ANY},
	{JSONBOID, BDR_INSIDE_JSONB},
	{JSONOID, BDR_INSIDE_JSON},
	{XMLOID, BDR_INSIDE_XML},
	{INETOID, BDR_INSIDE_INET},
	{CIDROID, BDR_INSIDE_CIDR},
	{MACADDROID, BDR_INSIDE_ANY},
	{MACADDR8OID, BDR_INSIDE_ANY},
};

/* Types that hold OIDs, and some that cannot be received. */
static const Oid text_only_types[] =
{
	REGPROCOID,
	REGPROCEDUREOID,
	REGOPEROID,
	REGOPERATOROID,
	REGCLASSOID,
	REGCOLLATIONOID,
	REGTYPEOID,
	REGROLEOID,
	REGNAMESPACEOID,
	REGCONFIGOID,
	REGDICTIONARYOID,
	ACLITEMOID,
	PG_NODE_TREEOID,
	PG_NDISTINCTOID,
	PG_DEPENDENCIESOID,
	PG_MCV_LISTOID,
	PG_BRIN_BLOOM_SUMMARYOID,
	PG_BRIN_MINMAX_MULTI_SUMMARYOID,
	INT2VECTOROID,				/* these refuse to receive an empty one */
	OIDVECTOROID,
	TSQUERYOID,
	PG_SNAPSHOTOID,				/* these receive what they do not read */
	TXID_SNAPSHOTOID,
};

/* Of these, types whose values the server reads from nobody. */
static const Oid unreadable_types[] =
{
	PG_NODE_TREEOID,
	PG_NDISTINCTOID,
	PG_DEPENDENCIESOID,
	PG_MCV_LISTOID,
	PG_BRIN_BLOOM_SUMMARYOID,
	PG_BRIN_MINMAX_MULTI_SUMMARYOID,
	GTSVECTOROID,
};

/*
 * The best form, BDR_FORMAT_*, for values of a type that is no domain.  Arrays
 * with a type modifier are left to array_recv, which applies it to each
 * element.
 */
char
bdr_form_best(Oid type, int32 typmod)
{
	Oid			element = bdr_form_element(type);
	bool		is_array = OidIsValid(element);

	if (!is_array)
		element = type;
	if (type >= FirstUnpinnedObjectId || element >= FirstUnpinnedObjectId)
		return BDR_FORMAT_TEXT;
	if (bdr_form_inside(element) != BDR_INSIDE_UNKNOWN && !(is_array && typmod >= 0))
		return BDR_FORMAT_INTERNAL;
	if (is_among(element, text_only_types, lengthof(text_only_types)) || !can_be_received(element) || !can_be_received(type))
		return BDR_FORMAT_TEXT;
	return BDR_FORMAT_BINARY;
}

/*
 * What is checked inside a type that is no array.
 */
BdrInside
bdr_form_inside(Oid type)
{
	for (int i = 0; i < lengthof(internal_types); i++)
	{
		if (internal_types[i].type == type)
			return internal_types[i].inside;
	}
	return BDR_INSIDE_UNKNOWN;
}

/*
 * The element of an array.  int2vector and oidvector are types of their own.
 */
Oid
bdr_form_element(Oid type)
{
	Oid			element = get_element_type(type);

	return OidIsValid(element) && get_array_type(element) == type ? element : InvalidOid;
}

bool
bdr_form_is_unreadable(Oid type)
{
	return is_among(type, unreadable_types, lengthof(unreadable_types));
}

static bool
is_among(Oid type, const Oid *types, int ntypes)
{
	for (int i = 0; i < ntypes; i++)
	{
		if (types[i] == type)
			return true;
	}
	return false;
}

/*
 * A composite type, also one of the server's own, is read by its columns'
 * types; as text it is the same everywhere.
 */
static bool
can_be_received(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Form_pg_type form;
	bool		received;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_type) GETSTRUCT(tuple);
	received = form->typisdefined && OidIsValid(form->typsend) && OidIsValid(form->typreceive) &&
		(form->typtype == TYPTYPE_BASE || form->typtype == TYPTYPE_RANGE || form->typtype == TYPTYPE_MULTIRANGE);
	ReleaseSysCache(tuple);
	return received;
}
