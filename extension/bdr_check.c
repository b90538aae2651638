/*-------------------------------------------------------------------------
 * bdr_check.c
 *		Values that arrived as bytes: is their inside sound, and does a
 *		domain accept them?
 *
 * NOTES
 *		A value in internal form is stored as it came.  PostgreSQL's own
 *		functions then follow the counts and offsets inside it without a
 *		second look, so a damaged one would bring down whoever reads it, on
 *		every node that got it.  Each type whose functions do that is checked
 *		here, or travels in another form (bdr_output.c, needs_parsing).
 *
 *		The checks are about memory: nothing is followed beyond the value.
 *		Whether the value makes sense is not asked, damage in flight is what
 *		the checksum of a frame is for (docs/decisions/0008).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "tsearch/ts_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/geo_decls.h"
#include "utils/inet.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/varbit.h"

#include "bdr_apply.h"
#include "bdr_compat.h"

/* The highest item of a multirange with an offset instead of a length. */
#define MULTIRANGE_OFFSET_BIT	0x80000000

/*
 * How values of a type are checked.  is_sound gets the value with a four-byte
 * header, aligned as the type wants it.
 */
struct BdrCheck
{
	bool		(*is_sound) (const BdrCheck *check, const char *value, Size size);
	Oid			type;

	/* elements of an array, bounds of a range */
	Oid			part;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	const BdrCheck *inside;		/* NULL: the parts need none */
};

static bool numeric_is_sound(const BdrCheck *check, const char *value, Size size);
static bool bits_are_sound(const BdrCheck *check, const char *value, Size size);
static bool inet_is_sound(const BdrCheck *check, const char *value, Size size);
static bool path_is_sound(const BdrCheck *check, const char *value, Size size);
static bool polygon_is_sound(const BdrCheck *check, const char *value, Size size);
static bool tsvector_is_sound(const BdrCheck *check, const char *value, Size size);
static bool jsonb_is_sound(const BdrCheck *check, const char *value, Size size);
static bool container_is_sound(const char *container, Size size);
static bool entry_is_sound(JEntry entry, const char *data, Size start, Size end);
static bool vector_is_sound(const BdrCheck *check, const char *value, Size size);
static bool array_is_sound(const BdrCheck *check, const char *value, Size size);
static bool elements_are_sound(const BdrCheck *check, const char *value, Size size, Size at, int count);
static bool range_is_sound(const BdrCheck *check, const char *value, Size size);
static bool multirange_is_sound(const BdrCheck *check, const char *value, Size size);
static bool bounds_are_sound(const BdrCheck *check, const char *value, Size at, Size end, uint8 flags);
static bool part_is_sound(const BdrCheck *check, const char *value, Size *at, Size end);
static bool varlena_is_sound(const BdrCheck *check, const char *value, Size size);

static const struct
{
	Oid			type;
	bool		(*is_sound) (const BdrCheck *check, const char *value, Size size);
}			simple_checks[] =
{
	{NUMERICOID, numeric_is_sound},
	{BITOID, bits_are_sound},
	{VARBITOID, bits_are_sound},
	{INETOID, inet_is_sound},
	{CIDROID, inet_is_sound},
	{PATHOID, path_is_sound},
	{POLYGONOID, polygon_is_sound},
	{TSVECTOROID, tsvector_is_sound},
	{JSONBOID, jsonb_is_sound},
};

/* ---------------------------------------------------------------------
 * Which check
 * ---------------------------------------------------------------------
 */

/*
 * The check of a built-in type of variable length, made in the current
 * context.  NULL: any bytes will do.
 */
const BdrCheck *
bdr_check_make(Oid type)
{
	BdrCheck   *check = palloc0(sizeof(BdrCheck));

	check->type = type;
	for (int i = 0; i < lengthof(simple_checks); i++)
	{
		if (simple_checks[i].type == type)
			check->is_sound = simple_checks[i].is_sound;
	}
	if (check->is_sound != NULL)
		return check;

	if (type == INT2VECTOROID || type == OIDVECTOROID)
		check->is_sound = vector_is_sound;
	else if (OidIsValid(get_element_type(type)))
		check->is_sound = array_is_sound;
	else if (type_is_range(type))
		check->is_sound = range_is_sound;
	else if (type_is_multirange(type))
		check->is_sound = multirange_is_sound;
	else
	{
		pfree(check);
		return NULL;
	}

	if (type_is_range(type))
		check->part = get_range_subtype(type);
	else if (type_is_multirange(type))
		check->part = get_range_subtype(get_multirange_range(type));
	else
		check->part = get_element_type(type);
	get_typlenbyvalalign(check->part, &check->typlen, &check->typbyval, &check->typalign);
	if (check->typlen == -1)
		check->inside = bdr_check_make(check->part);
	return check;
}

/*
 * Is the inside of a value sound?  Its header is, and it is not compressed.
 */
bool
bdr_check_value(const BdrCheck *check, const struct varlena *value)
{
	return varlena_is_sound(check, (const char *) value, VARSIZE_ANY(value));
}

/*
 * A value with a short header is copied to where the type's functions would
 * have it: behind a long one.
 */
static bool
varlena_is_sound(const BdrCheck *check, const char *value, Size size)
{
	union
	{
		double		force_align;
		char		bytes[VARHDRSZ + VARATT_SHORT_MAX];
	}			copy;

	if (!VARATT_IS_1B(value))
		return check->is_sound(check, value, size);
	memcpy(copy.bytes + VARHDRSZ, value + VARHDRSZ_SHORT, size - VARHDRSZ_SHORT);
	size += VARHDRSZ - VARHDRSZ_SHORT;
	SET_VARSIZE(copy.bytes, size);
	return check->is_sound(check, copy.bytes, size);
}

/* ---------------------------------------------------------------------
 * Types without parts
 * ---------------------------------------------------------------------
 */

/*
 * The two high bits are set in the form without a separate weight.
 */
static bool
numeric_is_sound(const BdrCheck *check, const char *value, Size size)
{
	uint16		header;

	if (size < VARHDRSZ + sizeof(header))
		return false;
	memcpy(&header, value + VARHDRSZ, sizeof(header));
	return (header & 0x8000) != 0 || size >= VARHDRSZ + 2 * sizeof(uint16);
}

/*
 * The bits behind the last one must be zero, or equal values would differ.
 */
static bool
bits_are_sound(const BdrCheck *check, const char *value, Size size)
{
	const VarBit *bits = (const VarBit *) value;
	int			rest;

	if (size < VARHDRSZ + VARBITHDRSZ || bits->bit_len < 0 || bits->bit_len > VARBITMAXLEN ||
		size != VARBITTOTALLEN(bits->bit_len))
		return false;
	rest = bits->bit_len % BITS_PER_BYTE;
	return rest == 0 || (((uint8) value[size - 1]) & (BITMASK >> rest)) == 0;
}

static bool
inet_is_sound(const BdrCheck *check, const char *value, Size size)
{
	const inet_struct *address = (const inet_struct *) (value + VARHDRSZ);
	Size		bytes;

	if (size < VARHDRSZ + offsetof(inet_struct, ipaddr))
		return false;
	bytes = address->family == PGSQL_AF_INET ? 4 : address->family == PGSQL_AF_INET6 ? 16 : 0;
	return bytes != 0 && address->bits <= bytes * BITS_PER_BYTE &&
		size == VARHDRSZ + offsetof(inet_struct, ipaddr) + bytes;
}

static bool
path_is_sound(const BdrCheck *check, const char *value, Size size)
{
	const PATH *path = (const PATH *) value;

	return size >= offsetof(PATH, p) && path->npts >= 0 &&
		size == offsetof(PATH, p) + (Size) path->npts * sizeof(Point);
}

static bool
polygon_is_sound(const BdrCheck *check, const char *value, Size size)
{
	const POLYGON *polygon = (const POLYGON *) value;

	return size >= offsetof(POLYGON, p) && polygon->npts >= 0 &&
		size == offsetof(POLYGON, p) + (Size) polygon->npts * sizeof(Point);
}

/*
 * Lexemes and their positions lie behind the entries.
 */
static bool
tsvector_is_sound(const BdrCheck *check, const char *value, Size size)
{
	const TSVectorData *vector = (const TSVectorData *) value;
	const char *data;
	Size		left;

	if (size < DATAHDRSIZE || vector->size < 0 ||
		(Size) vector->size > (size - DATAHDRSIZE) / sizeof(WordEntry))
		return false;
	data = value + DATAHDRSIZE + vector->size * sizeof(WordEntry);
	left = value + size - data;
	for (int i = 0; i < vector->size; i++)
	{
		WordEntry	entry = vector->entries[i];
		Size		end = (Size) entry.pos + entry.len;
		uint16		npos;

		if (entry.haspos)
		{
			end = SHORTALIGN(end);
			if (end + sizeof(npos) > left)
				return false;
			memcpy(&npos, data + end, sizeof(npos));
			if (npos > MAXNUMPOS)
				return false;
			end += sizeof(npos) + npos * sizeof(WordEntryPos);
		}
		if (end > left)
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------
 * jsonb
 * ---------------------------------------------------------------------
 */
static bool
jsonb_is_sound(const BdrCheck *check, const char *value, Size size)
{
	return container_is_sound(value + VARHDRSZ, size - VARHDRSZ);
}

/*
 * A header, an entry per child, the children's data.  An entry has the length
 * of its child or the end of it.
 */
static bool
container_is_sound(const char *container, Size size)
{
	const JsonbContainer *json = (const JsonbContainer *) container;
	const char *data;
	Size		count;
	Size		left;
	Size		start = 0;
	bool		is_object;

	check_stack_depth();
	if (size < sizeof(json->header))
		return false;
	is_object = JsonContainerIsObject(json);
	count = JsonContainerSize(json);
	if (is_object == JsonContainerIsArray(json) ||
		(JsonContainerIsScalar(json) && (is_object || count != 1)))
		return false;
	if (is_object)
		count *= 2;
	left = size - sizeof(json->header);
	if (count > left / sizeof(JEntry))
		return false;
	left -= count * sizeof(JEntry);
	data = (const char *) &json->children[count];
	for (Size i = 0; i < count; i++)
	{
		JEntry		entry = json->children[i];
		Size		end = JBE_OFFLENFLD(entry);

		if (!JBE_HAS_OFF(entry))
			end += start;
		if (end < start || end > left || !entry_is_sound(entry, data, start, end))
			return false;
		if ((is_object && i < count / 2 && !JBE_ISSTRING(entry)) ||
			(JsonContainerIsScalar(json) && JBE_ISCONTAINER(entry)))
			return false;
		start = end;
	}
	return true;
}

/*
 * Numbers and containers are aligned inside their room.
 */
static bool
entry_is_sound(JEntry entry, const char *data, Size start, Size end)
{
	Size		at = INTALIGN(start);

	if (JBE_ISSTRING(entry))
		return true;
	if (JBE_ISNULL(entry) || JBE_ISBOOL(entry))
		return start == end;
	if (at > end)
		return false;
	if (JBE_ISCONTAINER(entry))
		return container_is_sound(data + at, end - at);
	return JBE_ISNUMERIC(entry) && end - at >= VARHDRSZ && VARATT_IS_4B_U(data + at) &&
		VARSIZE_4B(data + at) == end - at && numeric_is_sound(NULL, data + at, end - at);
}

/* ---------------------------------------------------------------------
 * Arrays
 * ---------------------------------------------------------------------
 */

/*
 * int2vector and oidvector: their functions take one dimension for granted.
 */
static bool
vector_is_sound(const BdrCheck *check, const char *value, Size size)
{
	const ArrayType *array = (const ArrayType *) value;

	return size >= sizeof(ArrayType) && array->ndim == 1 && array->dataoffset == 0 &&
		array_is_sound(check, value, size);
}

static bool
array_is_sound(const BdrCheck *check, const char *value, Size size)
{
	const ArrayType *array = (const ArrayType *) value;
	int64		count = 1;
	Size		least;

	if (size < sizeof(ArrayType) || array->ndim < 0 || array->ndim > MAXDIM ||
		array->elemtype != check->part || array->dataoffset < 0)
		return false;
	if (array->ndim == 0)
		return array->dataoffset == 0;
	if (size < ARR_OVERHEAD_NONULLS(array->ndim))
		return false;
	for (int i = 0; i < array->ndim; i++)
	{
		if (ARR_DIMS(array)[i] < 0)
			return false;
		count *= ARR_DIMS(array)[i];
		if (count > MaxArraySize)
			return false;
	}
	least = ARR_HASNULL(array) ? ARR_OVERHEAD_WITHNULLS(array->ndim, count) : ARR_OVERHEAD_NONULLS(array->ndim);
	if (least > size || (ARR_HASNULL(array) &&
						 (array->dataoffset < least || array->dataoffset != MAXALIGN(array->dataoffset))))
		return false;
	return elements_are_sound(check, value, size, ARR_DATA_OFFSET(array), count);
}

static bool
elements_are_sound(const BdrCheck *check, const char *value, Size size, Size at, int count)
{
	const bits8 *present = ARR_NULLBITMAP((ArrayType *) unconstify(char *, value));

	if (at > size)
		return false;
	/* the usual array needs no look at its elements */
	if (present == NULL && check->typlen > 0 && check->part != NAMEOID)
		return count == 0 || size - at >= check->typlen +
			(Size) (count - 1) * att_align_nominal((Size) check->typlen, check->typalign);
	for (int i = 0; i < count; i++)
	{
		if (present != NULL && !(present[i / BITS_PER_BYTE] & (1 << (i % BITS_PER_BYTE))))
			continue;
		if (!part_is_sound(check, value, &at, size))
			return false;
		at = att_align_nominal(at, check->typalign);
	}
	return true;
}

/* ---------------------------------------------------------------------
 * Ranges
 * ---------------------------------------------------------------------
 */

/*
 * The type's own oid, the bounds, a byte of flags.
 */
static bool
range_is_sound(const BdrCheck *check, const char *value, Size size)
{
	if (size < sizeof(RangeType) + 1 || RangeTypeGetOid((const RangeType *) value) != check->type)
		return false;
	return bounds_are_sound(check, value, sizeof(RangeType), size - 1, (uint8) value[size - 1]);
}

/*
 * Oid and count; for each range but the first its place or the length of the
 * one before; the flags of each; the bounds.
 */
static bool
multirange_is_sound(const BdrCheck *check, const char *value, Size size)
{
	const MultirangeType *ranges = (const MultirangeType *) value;
	const uint32 *items = (const uint32 *) (value + sizeof(MultirangeType));
	const uint8 *flags;
	Size		count;
	Size		begin;
	Size		offset = 0;

	if (size < sizeof(MultirangeType) || MultirangeTypeGetOid(ranges) != check->type)
		return false;
	count = ranges->rangeCount;
	if (count == 0)
		return true;
	if (count > (size - sizeof(MultirangeType) + sizeof(uint32)) / (sizeof(uint32) + 1))
		return false;
	flags = (const uint8 *) &items[count - 1];
	begin = att_align_nominal((Size) ((const char *) flags + count - value), check->typalign);
	for (Size i = 0; i < count; i++)
	{
		if (i > 0)
			offset = (items[i - 1] & MULTIRANGE_OFFSET_BIT) ?
				(items[i - 1] & ~MULTIRANGE_OFFSET_BIT) : offset + items[i - 1];
		if (offset != att_align_nominal(offset, check->typalign) || offset > size || (flags[i] & RANGE_EMPTY) ||
			!bounds_are_sound(check, value, begin + offset, size, flags[i]))
			return false;
	}
	return true;
}

static bool
bounds_are_sound(const BdrCheck *check, const char *value, Size at, Size end, uint8 flags)
{
	if (flags & (RANGE_LB_NULL | RANGE_UB_NULL | RANGE_CONTAIN_EMPTY))
		return false;
	if (RANGE_HAS_LBOUND(flags) && !part_is_sound(check, value, &at, end))
		return false;
	if (!RANGE_HAS_UBOUND(flags))
		return true;
	/* a byte other than zero is the header of a value, not padding */
	if (check->typlen != -1 || at >= end || value[at] == 0)
		at = att_align_nominal(at, check->typalign);
	return part_is_sound(check, value, &at, end);
}

/*
 * One element or bound, at *at; moves *at behind it.
 */
static bool
part_is_sound(const BdrCheck *check, const char *value, Size *at, Size end)
{
	const char *part = value + *at;
	Size		left = *at < end ? end - *at : 0;
	Size		size;

	if (check->typlen > 0)
	{
		*at += check->typlen;
		return left >= check->typlen &&
			(check->part != NAMEOID || memchr(part, '\0', NAMEDATALEN) != NULL);
	}
	if (check->typlen != -1 || left < VARHDRSZ_SHORT)
		return false;
	if (VARATT_IS_1B(part))
		size = VARATT_IS_1B_E(part) ? 0 : VARSIZE_1B(part);
	else if (left < VARHDRSZ || !VARATT_IS_4B_U(part))
		return false;
	else
		size = VARSIZE_4B(part);
	*at += size;
	return size >= (VARATT_IS_1B(part) ? VARHDRSZ_SHORT : VARHDRSZ) && size <= left &&
		(check->inside == NULL || varlena_is_sound(check->inside, part, size));
}

/* ---------------------------------------------------------------------
 * Domains
 * ---------------------------------------------------------------------
 */

/*
 * Check the values of a new row against the domains of their columns.
 *
 * NULL is left alone: a domain that refuses it can still hold it (an outer
 * join makes such values), and what the origin has is to be had here too.
 */
void
bdr_check_domains(BdrRelation *rel, TupleTableSlot *slot)
{
	for (int i = 0; i < rel->ncolumns; i++)
	{
		BdrColumn  *column = &rel->columns[i];
		int			att = column->attnum - 1;

		if (att >= 0 && OidIsValid(column->domain) && !slot->tts_isnull[att])
			domain_check(slot->tts_values[att], false, column->domain,
						 &rel->domain_caches[i], rel->exec_context);
	}
}
