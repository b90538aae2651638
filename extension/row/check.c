/*-------------------------------------------------------------------------
 * row/check.c
 *		Values that arrived as bytes: are they values of their type?
 *
 * NOTES
 *		A value in internal form is stored as it came.  PostgreSQL's own
 *		functions then follow the counts and offsets inside it without a
 *		second look, so whoever sends bytes that no function of the type would
 *		have made brings down each session that reads them.  A peer is not
 *		believed: what the type's receive function would ask is asked here, and
 *		what its other functions take for granted (docs/decisions/0015).  Types
 *		for which that is much work do not come in internal form (base/form.c).
 *
 *		Checks get the value without its header.  Those that look at more than
 *		bytes get it where the type's functions would have it: aligned, behind
 *		a header of four bytes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "datatype/timestamp.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/inet.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/form.h"
#include "row/check.h"
#include "bdr_compat.h"

/* The first word of a number; numeric.c has the same and keeps it to itself. */
#define NUMBER_FORM(word)		((word) & 0xC000)
#define NUMBER_FORM_SHORT		0x8000
#define NUMBER_FORM_SPECIAL		0xC000
#define NUMBER_NAN				0xC000
#define NUMBER_PLUS_INFINITY	0xD000
#define NUMBER_MINUS_INFINITY	0xF000
#define NUMBER_SCALE(word)		((word) & 0x3FFF)
#define NUMBER_NEGATIVE(word)	(((word) & 0xC000) == 0x4000)
#define NUMBER_SHORT_NEGATIVE(word) (((word) & 0x2000) != 0)
#define NUMBER_SHORT_SCALE(word) (((word) & 0x1F80) >> 7)
#define NUMBER_SHORT_WEIGHT(word) ((((word) & 0x40) ? ~0x3F : 0) | ((word) & 0x3F))
#define NUMBER_DIGIT_MAX		9999
#define NUMBER_DIGIT_DECIMALS	4

/* Longer texts are left to PostgreSQL, which looks at many bytes at once. */
#define SHORT_TEXT_BYTES		64

#define BYTES_OF_ONE			UINT64CONST(0x0101010101010101)
#define HIGH_BITS				UINT64CONST(0x8080808080808080)

/* A number taken apart. */
typedef struct Number
{
	bool		special;		/* NaN or infinite; the rest is not set */
	bool		negative;
	int			scale;
	int			weight;
	const char *digits;			/* uint16 each, not aligned */
	Size		ndigits;
} Number;

/* How values of a type are checked. */
struct BdrCheck
{
	bool		(*is_sound) (const BdrCheck *check, const char *data, Size size);
	bool		aligned;		/* is_sound looks at more than bytes */

	/* elements of an array */
	Oid			element;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	const BdrCheck *inside;		/* NULL: the elements need none */
};

static bool bool_is_sound(const BdrCheck *check, const char *data, Size size);
static bool name_is_sound(const BdrCheck *check, const char *data, Size size);
static bool date_is_sound(const BdrCheck *check, const char *data, Size size);
static bool time_is_sound(const BdrCheck *check, const char *data, Size size);
static bool timetz_is_sound(const BdrCheck *check, const char *data, Size size);
static bool timestamp_is_sound(const BdrCheck *check, const char *data, Size size);
static bool text_is_sound(const BdrCheck *check, const char *data, Size size);
static inline bool is_short_ascii(const char *data, Size size);
static inline bool is_ascii_word(uint64 word);
static inline uint64 short_word(const char *data, Size size);
static bool json_is_sound(const BdrCheck *check, const char *data, Size size);
static bool xml_is_sound(const BdrCheck *check, const char *data, Size size);
static bool numeric_is_sound(const BdrCheck *check, const char *data, Size size);
static bool inet_is_sound(const BdrCheck *check, const char *data, Size size);
static bool cidr_is_sound(const BdrCheck *check, const char *data, Size size);
static bool jsonb_is_sound(const BdrCheck *check, const char *data, Size size);
static bool array_is_sound(const BdrCheck *check, const char *data, Size size);
static bool read_number(const char *data, Size size, Number *number);
static uint16 number_digit(const Number *number, Size i);
static bool digits_are_sound(const Number *number);
static bool shows_last_digit(const Number *number);
static bool container_is_sound(const char *container, Size size, bool is_root);
static bool children_are_sound(const JsonbContainer *json, const char *data, Size size, Size count);
static bool entry_is_sound(JEntry entry, const char *data, Size start, Size end);
static bool keys_are_sorted(const JsonbContainer *json, const char *data, Size npairs);
static bool elements_are_sound(const BdrCheck *check, const char *value, Size size, Size at, int64 count);
static bool element_is_sound(const BdrCheck *check, const char *value, Size *at, Size size);

static const struct
{
	bool		(*is_sound) (const BdrCheck *check, const char *data, Size size);
	bool		aligned;
}			checks[BDR_INSIDE_KINDS] =
{
	[BDR_INSIDE_BOOL] = {bool_is_sound},
	[BDR_INSIDE_NAME] = {name_is_sound},
	[BDR_INSIDE_DATE] = {date_is_sound},
	[BDR_INSIDE_TIME] = {time_is_sound},
	[BDR_INSIDE_TIMETZ] = {timetz_is_sound},
	[BDR_INSIDE_TIMESTAMP] = {timestamp_is_sound},
	[BDR_INSIDE_TEXT] = {text_is_sound},
	[BDR_INSIDE_JSON] = {json_is_sound},
	[BDR_INSIDE_XML] = {xml_is_sound},
	[BDR_INSIDE_NUMERIC] = {numeric_is_sound},
	[BDR_INSIDE_INET] = {inet_is_sound},
	[BDR_INSIDE_CIDR] = {cidr_is_sound},
	[BDR_INSIDE_JSONB] = {jsonb_is_sound, true},
	[BDR_INSIDE_ARRAY] = {array_is_sound, true},
};

/* ---------------------------------------------------------------------
 * Which check
 * ---------------------------------------------------------------------
 */

/*
 * The check of a type that may come in internal form, made in the current
 * context.  NULL: any bytes will do.
 */
const BdrCheck *
bdr_check_make(Oid type)
{
	Oid			element = bdr_form_element(type);
	BdrInside	inside = OidIsValid(element) ? BDR_INSIDE_ARRAY : bdr_form_inside(type);
	BdrCheck   *check;

	Assert(inside != BDR_INSIDE_UNKNOWN);
	if (checks[inside].is_sound == NULL)
		return NULL;
	check = palloc0(sizeof(BdrCheck));
	check->is_sound = checks[inside].is_sound;
	check->aligned = checks[inside].aligned;
	if (inside == BDR_INSIDE_ARRAY)
	{
		check->element = element;
		get_typlenbyvalalign(element, &check->typlen, &check->typbyval, &check->typalign);
		check->inside = bdr_check_make(element);
	}
	return check;
}

/*
 * Is this a value of its type?  Its header is sound, and it is not compressed.
 */
bool
bdr_check_value(const BdrCheck *check, const struct varlena *value)
{
	union
	{
		double		force_align;
		char		bytes[VARHDRSZ + VARATT_SHORT_MAX];
	}			copy;
	Size		size = VARSIZE_ANY_EXHDR(value);

	if (!check->aligned || !VARATT_IS_1B(value))
		return check->is_sound(check, VARDATA_ANY(value), size);
	memcpy(copy.bytes + VARHDRSZ, VARDATA_ANY(value), size);
	SET_VARSIZE(copy.bytes, VARHDRSZ + size);
	return check->is_sound(check, copy.bytes + VARHDRSZ, size);
}

/*
 * The same for a type of fixed length.
 */
bool
bdr_check_fixed(const BdrCheck *check, const char *bytes, Size size)
{
	return check->is_sound(check, bytes, size);
}

/* ---------------------------------------------------------------------
 * Length limits
 * ---------------------------------------------------------------------
 */

/*
 * Does a value obviously keep to its column's type modifier?  Only asked for
 * speed; who gets "no" has the type's own function look.
 */
bool
bdr_check_fits(Oid type, int32 typmod, Datum value)
{
	struct varlena *varlena = (struct varlena *) DatumGetPointer(value);
	Number		number;
	int			precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	int			scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;

	if (type == VARCHAROID)
		return VARSIZE_ANY_EXHDR(varlena) <= typmod - VARHDRSZ;
	return type == NUMERICOID &&
		read_number(VARDATA_ANY(varlena), VARSIZE_ANY_EXHDR(varlena), &number) &&
		!number.special && number.scale == scale &&
		(number.weight + 1) * NUMBER_DIGIT_DECIMALS <= precision - scale;
}

/* ---------------------------------------------------------------------
 * Types of fixed length
 * ---------------------------------------------------------------------
 */
static bool
bool_is_sound(const BdrCheck *check, const char *data, Size size)
{
	return (uint8) *data <= 1;
}

static bool
name_is_sound(const BdrCheck *check, const char *data, Size size)
{
	const char *end = memchr(data, '\0', size);

	return end != NULL && text_is_sound(check, data, end - data);
}

static bool
date_is_sound(const BdrCheck *check, const char *data, Size size)
{
	DateADT		date;

	memcpy(&date, data, sizeof(date));
	return DATE_NOT_FINITE(date) || IS_VALID_DATE(date);
}

static bool
time_is_sound(const BdrCheck *check, const char *data, Size size)
{
	TimeADT		time;

	memcpy(&time, data, sizeof(time));
	return time >= 0 && time <= USECS_PER_DAY;
}

static bool
timetz_is_sound(const BdrCheck *check, const char *data, Size size)
{
	int32		zone;

	memcpy(&zone, data + offsetof(TimeTzADT, zone), sizeof(zone));
	return zone > -TZDISP_LIMIT && zone < TZDISP_LIMIT && time_is_sound(check, data, sizeof(TimeADT));
}

static bool
timestamp_is_sound(const BdrCheck *check, const char *data, Size size)
{
	Timestamp	timestamp;

	memcpy(&timestamp, data, sizeof(timestamp));
	return TIMESTAMP_NOT_FINITE(timestamp) || IS_VALID_TIMESTAMP(timestamp);
}

/* ---------------------------------------------------------------------
 * Texts and addresses
 * ---------------------------------------------------------------------
 */

/*
 * In the encoding of this database, and without zero bytes.
 */
static bool
text_is_sound(const BdrCheck *check, const char *data, Size size)
{
	return is_short_ascii(data, size) || pg_verify_mbstr(GetDatabaseEncoding(), data, size, true);
}

/*
 * Most texts are short and ASCII, which all encodings of servers have.  No
 * byte may be zero or have its high bit set; the last word overlaps the one
 * before.
 */
static inline bool
is_short_ascii(const char *data, Size size)
{
	uint64		bad = 0;

	if (size > SHORT_TEXT_BYTES)
		return false;
	if (size < sizeof(uint64))
		return is_ascii_word(short_word(data, size));
	for (Size i = 0; i < size; i += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, data + Min(i, size - sizeof(word)), sizeof(word));
		bad |= word | (word - BYTES_OF_ONE);
	}
	return (bad & HIGH_BITS) == 0;
}

static inline bool
is_ascii_word(uint64 word)
{
	return ((word | (word - BYTES_OF_ONE)) & HIGH_BITS) == 0;
}

/*
 * Fewer bytes than a word has, in any order and some of them twice.
 */
static inline uint64
short_word(const char *data, Size size)
{
	uint64		word = BYTES_OF_ONE;

	if (size >= sizeof(uint32))
	{
		memcpy(&word, data, sizeof(uint32));
		memcpy((char *) &word + sizeof(uint32), data + size - sizeof(uint32), sizeof(uint32));
	}
	else if (size > 0)
	{
		((char *) &word)[0] = data[0];
		((char *) &word)[1] = data[size / 2];
		((char *) &word)[2] = data[size - 1];
	}
	return word;
}

static bool
json_is_sound(const BdrCheck *check, const char *data, Size size)
{
	JsonLexContext *lex;
	bool		sound;

	if (!text_is_sound(check, data, size))
		return false;
	lex = bdr_json_lex(data, size);
	sound = pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
	bdr_json_lex_free(lex);
	return sound;
}

static bool
xml_is_sound(const BdrCheck *check, const char *data, Size size)
{
	MemoryContext old = CurrentMemoryContext;
	text	   *copy;
	Datum		sound;

	if (!text_is_sound(check, data, size))
		return false;
	copy = cstring_to_text_with_len(data, size);
	sound = DirectFunctionCall1(xml_is_well_formed_content, PointerGetDatum(copy));
	/* where it caught an error it leaves another one */
	MemoryContextSwitchTo(old);
	pfree(copy);
	return DatumGetBool(sound);
}

static bool
inet_is_sound(const BdrCheck *check, const char *data, Size size)
{
	const inet_struct *address = (const inet_struct *) data;
	Size		bytes;

	if (size < offsetof(inet_struct, ipaddr))
		return false;
	bytes = address->family == PGSQL_AF_INET ? 4 : address->family == PGSQL_AF_INET6 ? 16 : 0;
	return bytes != 0 && address->bits <= bytes * BITS_PER_BYTE &&
		size == offsetof(inet_struct, ipaddr) + bytes;
}

/*
 * A network has no bits set to the right of its mask.
 */
static bool
cidr_is_sound(const BdrCheck *check, const char *data, Size size)
{
	const inet_struct *network = (const inet_struct *) data;

	if (!inet_is_sound(check, data, size))
		return false;
	for (int bit = network->bits; bit < (size - offsetof(inet_struct, ipaddr)) * BITS_PER_BYTE; bit++)
	{
		if (network->ipaddr[bit / BITS_PER_BYTE] & (0x80 >> (bit % BITS_PER_BYTE)))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------
 * Numbers
 * ---------------------------------------------------------------------
 */

/*
 * Digits as make_result() of numeric.c leaves them: none beyond 9999, no zero
 * at either end, and zero itself is positive and has none; none behind the
 * decimals that are shown, which numeric_recv() cuts off.
 */
static bool
numeric_is_sound(const BdrCheck *check, const char *data, Size size)
{
	Number		number;

	return read_number(data, size, &number) && (number.special || digits_are_sound(&number));
}

/*
 * One word has all but the digits, or the weight has a word of its own.
 */
static bool
read_number(const char *data, Size size, Number *number)
{
	uint16		word;
	int16		weight;
	Size		header = sizeof(word);

	if (size < sizeof(word) || size % sizeof(uint16) != 0)
		return false;
	memcpy(&word, data, sizeof(word));
	number->special = NUMBER_FORM(word) == NUMBER_FORM_SPECIAL;
	/* once, NaN had a second word */
	if (number->special)
		return (word == NUMBER_NAN && size <= 2 * sizeof(word)) ||
			((word == NUMBER_PLUS_INFINITY || word == NUMBER_MINUS_INFINITY) && size == sizeof(word));
	if (NUMBER_FORM(word) == NUMBER_FORM_SHORT)
	{
		number->negative = NUMBER_SHORT_NEGATIVE(word);
		number->scale = NUMBER_SHORT_SCALE(word);
		number->weight = NUMBER_SHORT_WEIGHT(word);
	}
	else
	{
		header += sizeof(weight);
		if (size < header)
			return false;
		memcpy(&weight, data + sizeof(word), sizeof(weight));
		number->negative = NUMBER_NEGATIVE(word);
		number->scale = NUMBER_SCALE(word);
		number->weight = weight;
	}
	number->digits = data + header;
	number->ndigits = (size - header) / sizeof(uint16);
	return true;
}

static uint16
number_digit(const Number *number, Size i)
{
	uint16		digit;

	memcpy(&digit, number->digits + i * sizeof(digit), sizeof(digit));
	return digit;
}

static bool
digits_are_sound(const Number *number)
{
	if (number->ndigits == 0)
		return !number->negative && number->weight == 0;
	for (Size i = 0; i < number->ndigits; i++)
	{
		if (number_digit(number, i) > NUMBER_DIGIT_MAX)
			return false;
	}
	return number_digit(number, 0) != 0 && number_digit(number, number->ndigits - 1) != 0 &&
		shows_last_digit(number);
}

/*
 * Nothing lies behind the decimals that are shown.
 */
static bool
shows_last_digit(const Number *number)
{
	static const uint16 powers[NUMBER_DIGIT_DECIMALS] = {1, 10, 100, 1000};
	int			decimals = ((int) number->ndigits - 1 - number->weight) * NUMBER_DIGIT_DECIMALS;
	int			hidden = decimals - number->scale;

	if (hidden <= 0)
		return true;
	return hidden < NUMBER_DIGIT_DECIMALS &&
		number_digit(number, number->ndigits - 1) % powers[hidden] == 0;
}

/* ---------------------------------------------------------------------
 * jsonb
 * ---------------------------------------------------------------------
 */
static bool
jsonb_is_sound(const BdrCheck *check, const char *data, Size size)
{
	return container_is_sound(data, size, true);
}

/*
 * A header, an entry per child, the children's data.  A single value is an
 * array of one, and only at the root.
 */
static bool
container_is_sound(const char *container, Size size, bool is_root)
{
	const JsonbContainer *json = (const JsonbContainer *) container;
	Size		count;

	check_stack_depth();
	if (size < sizeof(json->header))
		return false;
	count = JsonContainerSize(json);
	if (JsonContainerIsObject(json) == JsonContainerIsArray(json) ||
		(JsonContainerIsScalar(json) && (!is_root || JsonContainerIsObject(json) || count != 1)))
		return false;
	if (JsonContainerIsObject(json))
		count *= 2;
	size -= sizeof(json->header);
	if (count > size / sizeof(JEntry))
		return false;
	return children_are_sound(json, (const char *) &json->children[count], size - count * sizeof(JEntry), count);
}

/*
 * An entry has the length of its child or the end of it; the last child ends
 * where the container does.
 */
static bool
children_are_sound(const JsonbContainer *json, const char *data, Size size, Size count)
{
	Size		npairs = JsonContainerIsObject(json) ? count / 2 : 0;
	Size		start = 0;

	for (Size i = 0; i < count; i++)
	{
		JEntry		entry = json->children[i];
		Size		end = JBE_OFFLENFLD(entry);

		if (!JBE_HAS_OFF(entry))
			end += start;
		if (end < start || end > size || !entry_is_sound(entry, data, start, end))
			return false;
		if ((i < npairs && !JBE_ISSTRING(entry)) ||
			(JsonContainerIsScalar(json) && JBE_ISCONTAINER(entry)))
			return false;
		start = end;
	}
	return start == size && keys_are_sorted(json, data, npairs);
}

/*
 * Numbers and containers are aligned inside their room.  JSON has no NaN and
 * no infinity.
 */
static bool
entry_is_sound(JEntry entry, const char *data, Size start, Size end)
{
	Size		at = INTALIGN(start);
	Number		number;

	if (JBE_ISSTRING(entry))
		return text_is_sound(NULL, data + start, end - start);
	if (JBE_ISNULL(entry) || JBE_ISBOOL(entry))
		return start == end;
	if (at > end)
		return false;
	if (JBE_ISCONTAINER(entry))
		return container_is_sound(data + at, end - at, false);
	return JBE_ISNUMERIC(entry) && end - at >= VARHDRSZ && VARATT_IS_4B_U(data + at) &&
		VARSIZE_4B(data + at) == end - at &&
		read_number(data + at + VARHDRSZ, end - at - VARHDRSZ, &number) &&
		!number.special && digits_are_sound(&number);
}

/*
 * Keys are searched by halves: shorter ones first, each once.
 */
static bool
keys_are_sorted(const JsonbContainer *json, const char *data, Size npairs)
{
	Size		start = 0;
	Size		last_start = 0;
	Size		last_length = 0;

	for (Size i = 0; i < npairs; i++)
	{
		JEntry		entry = json->children[i];
		Size		length = JBE_HAS_OFF(entry) ? JBE_OFFLENFLD(entry) - start : JBE_OFFLENFLD(entry);

		if (i > 0 && (length < last_length ||
					  (length == last_length && memcmp(data + last_start, data + start, length) >= 0)))
			return false;
		last_start = start;
		last_length = length;
		start += length;
	}
	return true;
}

/* ---------------------------------------------------------------------
 * Arrays
 * ---------------------------------------------------------------------
 */

/*
 * The elements fill the value to its end: functions copy all that is there.
 */
static bool
array_is_sound(const BdrCheck *check, const char *data, Size size)
{
	const char *value = data - VARHDRSZ;
	const ArrayType *array = (const ArrayType *) value;
	int64		count = 1;

	size += VARHDRSZ;
	if (size < sizeof(ArrayType) || array->ndim < 0 || array->ndim > MAXDIM || array->elemtype != check->element)
		return false;
	if (array->ndim == 0)
		return array->dataoffset == 0 && size == sizeof(ArrayType);
	if (size < ARR_OVERHEAD_NONULLS(array->ndim))
		return false;
	for (int i = 0; i < array->ndim; i++)
	{
		int			dimension = ARR_DIMS(array)[i];

		if (dimension < 0 || (int64) ARR_LBOUND(array)[i] + dimension > PG_INT32_MAX)
			return false;
		count *= dimension;
		if (count > MaxArraySize)
			return false;
	}
	if (ARR_HASNULL(array) && array->dataoffset != ARR_OVERHEAD_WITHNULLS(array->ndim, count))
		return false;
	return ARR_DATA_OFFSET(array) <= size && elements_are_sound(check, value, size, ARR_DATA_OFFSET(array), count);
}

static bool
elements_are_sound(const BdrCheck *check, const char *value, Size size, Size at, int64 count)
{
	const bits8 *present = ARR_NULLBITMAP((ArrayType *) unconstify(char *, value));

	/* the usual array needs no look at its elements */
	if (present == NULL && check->typlen > 0 && check->inside == NULL)
		return size - at == count * att_align_nominal((Size) check->typlen, check->typalign);
	for (int64 i = 0; i < count; i++)
	{
		if (present != NULL && !(present[i / BITS_PER_BYTE] & (1 << (i % BITS_PER_BYTE))))
			continue;
		if (!element_is_sound(check, value, &at, size))
			return false;
		at = att_align_nominal(at, check->typalign);
	}
	return at == size;
}

/*
 * The element at *at; moves *at behind it.  In an array all headers are long.
 */
static bool
element_is_sound(const BdrCheck *check, const char *value, Size *at, Size size)
{
	const char *element = value + *at;
	Size		left = *at < size ? size - *at : 0;
	Size		length = check->typlen;

	if (check->typlen > 0)
	{
		*at += length;
		return left >= length && (check->inside == NULL || check->inside->is_sound(check->inside, element, length));
	}
	if (left < VARHDRSZ || !VARATT_IS_4B_U(element))
		return false;
	length = VARSIZE_4B(element);
	*at += length;
	return length >= VARHDRSZ && length <= left &&
		(check->inside == NULL || check->inside->is_sound(check->inside, element + VARHDRSZ, length - VARHDRSZ));
}

/* ---------------------------------------------------------------------
 * Domains
 * ---------------------------------------------------------------------
 */

