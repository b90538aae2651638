/*-------------------------------------------------------------------------
 * apply/tombstone.c
 *		TOMBSTONE, in a writer that repeats what another node does: what that one
 *		remembers of versions that no row shows.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "apply/change.h"
#include "apply/state.h"
#include "apply/tombstone.h"
#include "conflict/resolve.h"
#include "conflict/tombstone.h"
#include "version/key_removal.h"
#include "bdr_wire.h"

static char **read_texts(BdrReader *body, int n);

void
bdr_tombstone_apply(BdrReader *body)
{
	BdrRelation *rel = bdr_change_open(body);
	uint8		what = bdr_read_uint8(body);
	char	   *index = bdr_read_name(body);
	int			n = bdr_read_uint16(body);
	char	  **texts = read_texts(body, n);
	BdrConstraint constraint;

	/* the order of changes is that of the peer */
	Assert(bdr_change_is_flushed());
	if (!bdr_apply.peer.catch_up || (what != BDR_TOMBSTONE_REMEMBERED && what != BDR_TOMBSTONE_EVICTED))
		bdr_frame_error("An unexpected version came that no row shows.");
	if (rel == NULL ||
		!bdr_constraint_of_texts(&constraint, rel, bdr_resolve_key_lookup(rel), index, n, texts))
		return;
	bdr_key_removal_begin(rel->local_relid);
	if (what == BDR_TOMBSTONE_REMEMBERED)
		bdr_tombstone_remember(rel, &constraint);
	else if (TransactionIdIsValid(bdr_apply.xact.deleted_by))
		bdr_tombstone_mark(rel, &constraint, bdr_apply.xact.deleted_by);
}

static char **
read_texts(BdrReader *body, int n)
{
	char	  **texts = palloc0(n * sizeof(char *) + 1);

	for (int i = 0; i < n; i++)
	{
		uint8		form = bdr_read_uint8(body);
		uint32		len;

		if (form == BDR_VALUE_NULL)
			continue;
		if (form != BDR_VALUE_LONG)
			bdr_frame_error("A remembered value has unknown form %u.", form);
		len = bdr_read_uint32(body);
		texts[i] = pnstrdup(bdr_read_bytes(body, len), len);
		if (strlen(texts[i]) != len || !pg_verifymbstr(texts[i], len, true))
			bdr_frame_error("A remembered value is no text.");
	}
	return texts;
}
