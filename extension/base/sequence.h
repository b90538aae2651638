/*-------------------------------------------------------------------------
 * base/sequence.h
 *		What all layers must know of sequences whose values are not the server's
 *		own: their page, and identity columns.
 *
 * NOTES
 *		The page of such a sequence says that the maximum has been reached:
 *		whoever goes around our nextval gets an error and never a value twice.
 *		log_cnt, which the server never makes negative, marks it as ours and
 *		holds what session/sequence keeps there.  TRUNCATE RESTART IDENTITY and
 *		the like give a sequence another page.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_SEQUENCE_H
#define BDR_BASE_SEQUENCE_H

#include "postgres.h"

#include "commands/sequence.h"
#include "fmgr.h"
#include "nodes/primnodes.h"
#include "nodes/pg_list.h"
#include "storage/buf.h"
#include "utils/relcache.h"

/* In bdr.sequence_kind: the server's own values, again. */
#define BDR_SEQUENCE_LOCAL	'l'

/* What all layers look at in a row of bdr.sequence_kind. */
typedef struct BdrSequenceKind
{
	Oid			relid;
	char		letter;
	char	   *key;			/* as the cluster knows it */
} BdrSequenceKind;

/* All of them; NIL, too, where the extension or its version has no such table. */
extern List *bdr_sequence_kinds(void);

/* What is on the page. */
typedef struct BdrSequenceState
{
	int64		last_value;
	int64		log_cnt;
	bool		is_called;
} BdrSequenceState;

/* The page, locked exclusively until bdr_sequence_page_close. */
typedef struct BdrSequencePage
{
	Relation	rel;
	Buffer		buffer;
	HeapTupleData tuple;
} BdrSequencePage;

extern void bdr_sequence_page_open(BdrSequencePage *page, Relation rel, BdrSequenceState *state);
extern void bdr_sequence_page_close(BdrSequencePage *page);

/*
 * Write the page; a crash leaves what is logged, which NULL is what an earlier
 * call has said.
 */
extern void bdr_sequence_page_write(BdrSequencePage *page, const BdrSequenceState *state,
									const BdrSequenceState *logged);

/* Was the page logged after the last checkpoint began? */
extern bool bdr_sequence_page_is_logged(BdrSequencePage *page);

extern void bdr_sequence_read(Relation rel, BdrSequenceState *state);

/* Write and log the page of a sequence that nobody else uses. */
extern void bdr_sequence_set(Relation rel, const BdrSequenceState *state);

/*
 * As that, in a new file: when the (sub)transaction is rolled back, the sequence has
 * its old page again.  What changes together with a row is written like this.
 */
extern void bdr_sequence_replace(Relation rel, const BdrSequenceState *state);

/* The state of a page that is ours, of a sequence with this definition. */
extern BdrSequenceState bdr_sequence_exhausted(Oid relid, int64 log_cnt);

/* Is the page ours? */
#define bdr_sequence_is_exhausted(state)	((state)->log_cnt < 0)

/*
 * Around what may give sequences another page: the pages that are ours before,
 * and carrying over to the new ones what was on them.
 */
extern List *bdr_sequence_note_pages(void);
extern void bdr_sequence_carry_over(List *pages);

/*
 * The form of a call that we put into a query, and so checked who may do that.  The
 * grammar makes it for functions of the server only, and EXPLAIN shows a call of
 * any other as it shows all calls.
 */
#define BDR_CALL_IS_OURS	COERCE_SQL_SYNTAX

static inline bool
bdr_sequence_call_is_ours(const FmgrInfo *call)
{
	return call != NULL && call->fn_expr != NULL && IsA(call->fn_expr, FuncExpr) &&
		((const FuncExpr *) call->fn_expr)->funcformat == BDR_CALL_IS_OURS;
}

/* The call that makes a value of an identity column; NULL: as the server does it. */
extern Expr *bdr_sequence_identity_call(const NextValueExpr *value);

/* A column's default with that. */
extern Expr *bdr_sequence_default(Expr *expr);

#endif							/* BDR_BASE_SEQUENCE_H */
