/*-------------------------------------------------------------------------
 * base/form.h
 *		Which types travel in which form.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_FORM_H
#define BDR_BASE_FORM_H

/* What is checked inside a value in internal form; row/check.c has how. */
typedef enum BdrInside
{
	BDR_INSIDE_UNKNOWN,			/* the type never comes in internal form */
	BDR_INSIDE_ANY,				/* all bytes are values */
	BDR_INSIDE_BOOL,
	BDR_INSIDE_NAME,
	BDR_INSIDE_DATE,
	BDR_INSIDE_TIME,
	BDR_INSIDE_TIMETZ,
	BDR_INSIDE_TIMESTAMP,
	BDR_INSIDE_TEXT,
	BDR_INSIDE_JSON,
	BDR_INSIDE_XML,
	BDR_INSIDE_NUMERIC,
	BDR_INSIDE_INET,
	BDR_INSIDE_CIDR,
	BDR_INSIDE_JSONB,
	BDR_INSIDE_ARRAY,
	BDR_INSIDE_KINDS
} BdrInside;

/*
 * Both modules have their own copy: a walsender that has loaded a newer
 * bdr_output must not end up in an older bdr.
 */
#define BDR_OWN_COPY __attribute__((visibility("hidden")))

extern BDR_OWN_COPY char bdr_form_best(Oid type, int32 typmod);
extern BDR_OWN_COPY BdrInside bdr_form_inside(Oid type);
extern BDR_OWN_COPY Oid bdr_form_element(Oid type);

/* Can no value of it come from a peer? */
extern BDR_OWN_COPY bool bdr_form_is_unreadable(Oid type);

#endif							/* BDR_BASE_FORM_H */
