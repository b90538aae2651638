/*-------------------------------------------------------------------------
 * session/sequence/method.h
 *		Access methods of sequences: how each kind makes its values.
 *
 * NOTES
 *		What stock PostgreSQL calls nextval on comes to function.c, which finds
 *		the sequence's method (kind.c) and calls that.  A kind is one entry in
 *		method.c's table.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_METHOD_H
#define BDR_SESSION_SEQUENCE_METHOD_H

#include "postgres.h"

#include "catalog/pg_sequence.h"
#include "utils/uuid.h"

#include "base/sequence.h"

typedef struct BdrSequenceMethod BdrSequenceMethod;

/* Where currval's answer is. */
typedef enum BdrLastValue
{
	BDR_LAST_SERVER,			/* the server has it, or there is none */
	BDR_LAST_OURS
} BdrLastValue;

/* What a session knows of a sequence. */
typedef struct BdrSequence
{
	Oid			relid;			/* hash key */
	bool		valid;			/* what follows down to form is up to date */
	const BdrSequenceMethod *method;
	bool		has_row;		/* in bdr.sequence_kind */
	bool		settled;		/* the page is as the kind wants it */
	pg_uuid_t	stopped_by;		/* zero: nobody */
	BdrSequenceState local;		/* has_row: where the local kind goes on */
	char	   *key;			/* as the cluster knows it */
	FormData_pg_sequence form;

	LocalTransactionId locked;	/* the transaction that has our lock */
	LocalTransactionId checked; /* the transaction in which ... */
	Oid			user;			/* ... this user was found to have rights */

	BdrLastValue last_from;
	int64		last;			/* BDR_LAST_OURS */

	int64		chunk_first;	/* galloc: the chunk that is in use ... */
	int64		chunk_last;		/* ... goes up to here; 0: it is not known */
	int64		fetched;		/* ... CACHE: the value that was given last, ... */
	int64		fetched_last;	/* ... and the last that is ours */
} BdrSequence;

struct BdrSequenceMethod
{
	const char *name;
	char		letter;			/* in bdr.sequence_kind */

	/* Why a sequence cannot have this kind; NULL: it can. */
	const char *(*unfit) (const FormData_pg_sequence *form);
	/* NULL: the server does it all. */
	int64		(*nextval) (BdrSequence *seq);
	/* Values up to this one must not come any more. */
	void		(*setval) (BdrSequence *seq, int64 value);
	/* A value that is not below any that was made here; nobody makes some now. */
	int64		(*made) (BdrSequence *seq);
	/* A value that is beyond all that were made anywhere. */
	int64		(*describe) (BdrSequence *seq);
	/* Options of ALTER SEQUENCE, beside OWNED BY, that may be altered; NULL: none. */
	const char *const *alterable;
	/* The page's log_cnt of a sequence that takes this kind; values up to made are in use. */
	int64		(*begin) (BdrSequence *seq, int64 made);
};

extern const BdrSequenceMethod *bdr_sequence_method(char letter);
extern const BdrSequenceMethod *bdr_sequence_method_named(const char *name);
extern const BdrSequenceMethod *bdr_sequence_method_default(const FormData_pg_sequence *form);

/* clock.c, galloc.c */
extern const BdrSequenceMethod bdr_snowflakeid_method;
extern const BdrSequenceMethod bdr_timeshard_method;
extern const BdrSequenceMethod bdr_galloc_method;

#define bdr_sequence_is_local(method)	((method)->nextval == NULL)
#define bdr_sequence_makes_ids(method)	((method) == &bdr_snowflakeid_method || (method) == &bdr_timeshard_method)

/* log_cnt of a page of ours on which nothing is kept. */
#define BDR_PAGE_OURS	INT64CONST(-1)

#endif							/* BDR_SESSION_SEQUENCE_METHOD_H */
