/*-------------------------------------------------------------------------
 * row/decode.c
 *		Bytes of a change to rows.
 *
 * NOTES
 *		Values in internal form are used where they lie in the frame when
 *		their alignment allows, so a slot that was read is valid until the
 *		frame or the change context goes away.
 *
 *		Nothing here trusts the bytes: lengths are checked against the
 *		frame, headers against lengths, and the inside by row/check.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/user_context.h"
#include "row/decode.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

static void read_value(BdrReader *reader, BdrRelation *rel, BdrColumn *column, TupleTableSlot *slot, bool is_new);
static Datum convert(BdrColumn *column, uint8 kind, const char *bytes, uint32 len);
static Datum internal_value(BdrColumn *column, uint8 kind, const char *bytes, uint32 len);
pg_noreturn static void unsound_value(const BdrColumn *column);
static Datum fit_value(BdrColumn *column, Datum value);
static Datum fixed_value(BdrColumn *column, const char *bytes);
static Datum varlena_value(BdrColumn *column, const char *bytes, uint32 len);
static Datum receive_value(BdrColumn *column, const char *bytes, uint32 len, int32 typmod);
static void refuse_new_infinity(const char *text);
static Datum input_text(BdrColumn *column, char *text);
static char *copy_text(BdrColumn *column, const char *bytes, uint32 len);
static void complete_from_old(BdrRelation *rel, TupleTableSlot *slot, TupleTableSlot *old);
static uint8 read_old(BdrReader *reader, BdrRelation *rel);
static Datum point_to(struct varlena *value);

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

/*
 * Read a tuple into slot: the new row, or the old one (rel->key_slot).
 *
 * Local columns that the peer does not send are NULL afterwards, unchanged
 * TOAST values too; the latter are marked in rel->unchanged.  rel->unmapped is
 * a column of a new row that has a value but no place here.
 */
void
bdr_tuple_read(BdrReader *reader, BdrRelation *rel, TupleTableSlot *slot)
{
	uint16		ncolumns = bdr_read_uint16(reader);
	bool		is_new = slot != rel->key_slot;

	if (ncolumns != rel->ncolumns)
		bdr_frame_error("A row of relation \"%s.%s\" has %u columns instead of %d.",
						rel->schema, rel->name, ncolumns, rel->ncolumns);
	if (!TTS_EMPTY(slot))
		ExecClearTuple(slot);
	memset(slot->tts_isnull, true, rel->desc->natts);
	rel->unmapped = NULL;
	if (rel->nunchanged > 0)
	{
		memset(rel->unchanged, false, rel->desc->natts);
		rel->nunchanged = 0;
	}
	for (int i = 0; i < ncolumns; i++)
		read_value(reader, rel, &rel->columns[i], slot, is_new);
	ExecStoreVirtualTuple(slot);
	if (unlikely(rel->has_domains) && is_new)
		bdr_check_domains(rel, slot);
}

static void
read_value(BdrReader *reader, BdrRelation *rel, BdrColumn *column, TupleTableSlot *slot, bool is_new)
{
	int			att = column->attnum - 1;
	uint8		kind = bdr_read_uint8(reader);
	uint32		len = 0;
	uint8		padding;
	const char *bytes;

	switch (kind)
	{
		case BDR_VALUE_NULL:
			return;
		case BDR_VALUE_UNCHANGED:
			if (!is_new)
				bdr_frame_error("An old row has an unchanged value.");
			if (column->conversion == BDR_CONVERT_MISSING)
				rel->unmapped = column;
			if (att >= 0)
			{
				rel->unchanged[att] = true;
				rel->nunchanged++;
			}
			return;
		case BDR_VALUE_FIXED:
			if (column->format != BDR_FORMAT_INTERNAL || column->attlen <= 0)
				bdr_frame_error("Column \"%s\" has no fixed length.", column->name);
			len = column->attlen;
			break;
		case BDR_VALUE_SHORT:
			len = bdr_read_uint8(reader);
			break;
		case BDR_VALUE_LONG:
			len = bdr_read_uint32(reader);
			break;
		case BDR_VALUE_ALIGNED:
			len = bdr_read_uint32(reader);
			padding = bdr_read_uint8(reader);
			(void) bdr_read_bytes(reader, padding);
			break;
		default:
			bdr_frame_error("Column \"%s\" has a value of unknown kind %u.", column->name, kind);
	}
	bytes = bdr_read_bytes(reader, len);
	if (att < 0)
	{
		if (is_new && column->conversion == BDR_CONVERT_MISSING)
			rel->unmapped = column;
		return;
	}
	rel->apply->column = column->name;
	slot->tts_values[att] = convert(column, kind, bytes, len);
	rel->apply->column = NULL;
	slot->tts_isnull[att] = false;
	if (unlikely(kind == BDR_VALUE_ALIGNED) && TupleDescAttr(rel->desc, att)->attlen == -1)
		slot->tts_values[att] = point_to((struct varlena *) DatumGetPointer(slot->tts_values[att]));
}

static Datum
convert(BdrColumn *column, uint8 kind, const char *bytes, uint32 len)
{
	Datum		value;
	char	   *text;

	switch (column->conversion)
	{
		case BDR_CONVERT_NONE:
			value = internal_value(column, kind, bytes, len);
			return OidIsValid(column->fit.fn_oid) ? fit_value(column, value) : value;
		case BDR_CONVERT_INTERNAL_TEXT:
			value = internal_value(column, kind, bytes, len);
			return input_text(column, OutputFunctionCall(&column->output, value));
		case BDR_CONVERT_RECEIVE:
			return receive_value(column, bytes, len, column->local_typmod);
		case BDR_CONVERT_RECEIVE_TEXT:
			value = receive_value(column, bytes, len, -1);
			return input_text(column, OutputFunctionCall(&column->output, value));
		default:
			text = copy_text(column, bytes, len);
			if (column->type == INTERVALOID || column->type == INTERVALARRAYOID)
				refuse_new_infinity(text);
			return input_text(column, text);
	}
}

/*
 * Intervals come as text where one of the two servers knows infinite ones and the
 * other does not (output/relation.c).  The latter's two ends are finite there, and
 * are read as infinite here.
 */
static void
refuse_new_infinity(const char *text)
{
	static const char *const ends[] = {
		"178956970 years 7 mons 2147483647 days 2562047788:00:54.775807",
		"-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808",
	};

	for (int i = 0; i < lengthof(ends); i++)
		if (strstr(text, ends[i]) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("interval out of range: \"%s\"", ends[i]),
					 errdetail("It is finite on the peer, and would be infinite here.")));
}

static Datum
internal_value(BdrColumn *column, uint8 kind, const char *bytes, uint32 len)
{
	if ((kind == BDR_VALUE_FIXED) != (column->typlen > 0))
		bdr_frame_error("Column \"%s\" has a value of kind %u.", column->name, kind);
	if (kind != BDR_VALUE_FIXED)
		return varlena_value(column, bytes, len);
	if (column->check != NULL && !bdr_check_fixed(column->check, bytes, len))
		unsound_value(column);
	return fixed_value(column, bytes);
}

static void
unsound_value(const BdrColumn *column)
{
	bdr_frame_error("Column \"%s\" has bytes that are no value of type %s.",
					column->name, format_type_be(column->typeid));
}

/*
 * Keep to the type modifier, as an assignment would: what is too long is an
 * error.  The peer says that it has the same one, so there is nothing to do.
 */
static Datum
fit_value(BdrColumn *column, Datum value)
{
	if (bdr_check_fits(column->typeid, column->local_typmod, value))
		return value;
	/* those with two arguments take no notice of the third */
	return FunctionCall3(&column->fit, value, Int32GetDatum(column->local_typmod), BoolGetDatum(false));
}

static Datum
fixed_value(BdrColumn *column, const char *bytes)
{
	char	   *copy;

	if (column->typbyval)
	{
		int16		v2;
		int32		v4;
		int64		v8;

		switch (column->typlen)
		{
			case 1:
				return CharGetDatum(*bytes);
			case 2:
				memcpy(&v2, bytes, sizeof(v2));
				return Int16GetDatum(v2);
			case 4:
				memcpy(&v4, bytes, sizeof(v4));
				return Int32GetDatum(v4);
			default:
				memcpy(&v8, bytes, sizeof(v8));
				return Int64GetDatum(v8);
		}
	}
	if ((char *) att_align_nominal(bytes, column->typalign) == bytes)
		return PointerGetDatum(bytes);
	copy = palloc(column->typlen);
	memcpy(copy, bytes, column->typlen);
	return PointerGetDatum(copy);
}

/*
 * A value with a one-byte header needs no alignment and is used in place.
 */
static Datum
varlena_value(BdrColumn *column, const char *bytes, uint32 len)
{
	struct varlena *value;

	if (len >= 1 && VARATT_IS_1B(bytes))
	{
		if (VARATT_IS_1B_E(bytes) || VARSIZE_1B(bytes) != len)
			bdr_frame_error("Column \"%s\" has a value of %u bytes with another length inside.",
							column->name, len);
		value = (struct varlena *) bytes;
	}
	else
	{
		if (len < VARHDRSZ || len > MaxAllocSize)
			bdr_frame_error("Column \"%s\" has a value of %u bytes.", column->name, len);
		if ((char *) att_align_nominal(bytes, TYPALIGN_DOUBLE) == bytes)
			value = (struct varlena *) bytes;
		else
		{
			value = palloc(len);
			memcpy(value, bytes, len);
		}
		if (!VARATT_IS_4B_U(value) || VARSIZE_4B(value) != len)
			bdr_frame_error("Column \"%s\" has a value of %u bytes with another length inside.",
							column->name, len);
	}
	if (column->check != NULL && !bdr_check_value(column->check, value))
		unsound_value(column);
	return PointerGetDatum(value);
}

/*
 * Receive functions may look one byte past the end, so they get a copy.
 */
static Datum
receive_value(BdrColumn *column, const char *bytes, uint32 len, int32 typmod)
{
	StringInfoData buf;
	Datum		value;

	buf.data = copy_text(NULL, bytes, len);
	buf.len = len;
	buf.maxlen = len + 1;
	buf.cursor = 0;
	value = ReceiveFunctionCall(&column->receive, &buf, column->receive_param, typmod);
	if (buf.cursor != buf.len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("incorrect binary data format in column \"%s\"", column->name)));
	return value;
}

static Datum
input_text(BdrColumn *column, char *text)
{
	return InputFunctionCall(&column->input, text, column->input_param, column->local_typmod);
}

/*
 * A terminated copy.  With a column it is text: checked for zero bytes and
 * for the encoding.
 */
static char *
copy_text(BdrColumn *column, const char *bytes, uint32 len)
{
	char	   *copy;

	if (column != NULL)
	{
		if (memchr(bytes, '\0', len) != NULL)
			bdr_frame_error("Column \"%s\" has text with a zero byte.", column->name);
		(void) pg_verifymbstr(bytes, len, false);
	}
	if (len >= MaxAllocSize)
		bdr_frame_error("A value has %u bytes.", len);
	copy = palloc((Size) len + 1);
	memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

/*
 * Defaults for the columns that the peer does not have.
 */
void
bdr_tuple_fill_defaults(BdrRelation *rel, TupleTableSlot *slot)
{
	if (!rel->has_defaults)
		return;
	for (int i = 0; i < rel->desc->natts; i++)
	{
		Oid			before;

		if (rel->defaults[i] == NULL)
			continue;
		before = bdr_user_switch(rel->default_roles[i]);
		slot->tts_values[i] = ExecEvalExpr(rel->defaults[i], GetPerTupleExprContext(rel->estate),
										   &slot->tts_isnull[i]);
		bdr_user_switch(before);
	}
}

/*
 * What the peer did not send stays as it is in the local row.
 */
void
bdr_tuple_fill_from(BdrRelation *rel, TupleTableSlot *slot, TupleTableSlot *local)
{
	if (rel->all_supplied && rel->nunchanged == 0)
		return;
	slot_getallattrs(local);
	for (int i = 0; i < rel->desc->natts; i++)
	{
		if (rel->supplied[i] && !rel->unchanged[i])
			continue;
		slot->tts_values[i] = local->tts_values[i];
		slot->tts_isnull[i] = local->tts_isnull[i];
	}
}

/*
 * An old row, or a key that lies in a TOAST table, has what the new row leaves
 * out.
 */
static void
complete_from_old(BdrRelation *rel, TupleTableSlot *slot, TupleTableSlot *old)
{
	for (int i = 0; rel->nunchanged > 0 && i < rel->desc->natts; i++)
	{
		if (!rel->unchanged[i] || old->tts_isnull[i])
			continue;
		slot->tts_values[i] = old->tts_values[i];
		slot->tts_isnull[i] = false;
		rel->unchanged[i] = false;
		rel->nunchanged--;
	}
}

/* ---------------------------------------------------------------------
 * Updates and deletes
 * ---------------------------------------------------------------------
 */

/*
 * Read what belongs to an update of update->rel.
 */
void
bdr_tuple_read_update(BdrUpdate *update, BdrReader *reader)
{
	BdrRelation *rel = update->rel;
	uint8		old;

	update->body = *reader;
	update->row = rel->new_slot;
	old = read_old(reader, rel);
	bdr_tuple_read(reader, rel, update->row);
	if (old != BDR_OLD_NONE)
		complete_from_old(rel, update->row, rel->key_slot);
	update->key = old == BDR_OLD_NONE ? update->row : rel->key_slot;
	update->lookup = old == BDR_OLD_FULL ? &rel->by_row : &rel->by_key;
	for (int i = 0; old == BDR_OLD_NONE && rel->nunchanged > 0 && i < rel->desc->natts; i++)
	{
		if (rel->unchanged[i] && update->lookup->compare[i])
			bdr_frame_error("An updated row has an unchanged value in its key.");
	}
}

void
bdr_tuple_read_delete(BdrUpdate *update, BdrReader *reader)
{
	BdrRelation *rel = update->rel;
	uint8		old;

	update->body = *reader;
	update->row = NULL;
	old = read_old(reader, rel);
	if (old == BDR_OLD_NONE)
		bdr_frame_error("A delete has no old row.");
	update->key = rel->key_slot;
	update->lookup = old == BDR_OLD_FULL ? &rel->by_row : &rel->by_key;
}

/*
 * Which old row comes next; a key or a full one is read into key_slot.
 */
static uint8
read_old(BdrReader *reader, BdrRelation *rel)
{
	uint8		old = bdr_read_uint8(reader);

	if (old == BDR_OLD_KEY || old == BDR_OLD_FULL)
		bdr_tuple_read(reader, rel, rel->key_slot);
	else if (old != BDR_OLD_NONE)
		bdr_frame_error("An old row has the unknown kind %u.", old);
	return old;
}

/* ---------------------------------------------------------------------
 * Values that are larger than a frame
 * ---------------------------------------------------------------------
 */

/*
 * A pointer to a large value, for a slot.
 */
static Datum
point_to(struct varlena *value)
{
	struct varatt_indirect redirect = {value};
	struct varlena *pointer = palloc(INDIRECT_POINTER_SIZE);

	SET_VARTAG_EXTERNAL(pointer, VARTAG_INDIRECT);
	memcpy(VARDATA_EXTERNAL(pointer), &redirect, sizeof(redirect));
	return PointerGetDatum(pointer);
}

/*
 * Make slot independent of the pieces: it has its own copies of large values,
 * in the current memory context.
 */
void
bdr_tuple_keep_large_values(TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		struct varlena *value = (struct varlena *) DatumGetPointer(slot->tts_values[i]);

		if (!slot->tts_isnull[i] && TupleDescAttr(slot->tts_tupleDescriptor, i)->attlen == -1 &&
			VARATT_IS_EXTERNAL_INDIRECT(value))
			slot->tts_values[i] = point_to(detoast_external_attr(value));
	}
}

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
		Oid			before;

		if (att < 0 || !OidIsValid(column->domain) || slot->tts_isnull[att])
			continue;
		before = bdr_user_switch(rel->domain_roles[i]);
		domain_check(slot->tts_values[att], false, column->domain,
					 &rel->domain_caches[i], rel->exec_context);
		bdr_user_switch(before);
	}
}
