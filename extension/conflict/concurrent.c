/*-------------------------------------------------------------------------
 * conflict/concurrent.c
 *		Had the sender a row when it changed it?
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "conflict/concurrent.h"
#include "conflict/origin_progress.h"
#include "row/row_version.h"

static bool is_concurrent(const BdrVersion *version);

/* Has the row that was found a version that the peer had not seen? */
bool
bdr_conflict_with_update(BdrRelation *rel, TupleTableSlot *row)
{
	BdrVersion	version;

	if (rel->apply->peer.trusted)
		return false;
	bdr_version_of(bdr_version_xmin(row), &version);
	return is_concurrent(&version);
}

/* A deletion is in conflict with a row that is newer. */
bool
bdr_conflict_with_delete(BdrRelation *rel, TupleTableSlot *row)
{
	BdrVersion	version;

	if (rel->apply->peer.trusted)
		return false;
	bdr_version_of(bdr_version_xmin(row), &version);
	return bdr_version_compare(&version, bdr_version_incoming()) > 0;
}

/*
 * Had the sender this row when it changed it?  A deletion asks only for the
 * row's own version: an older row goes in any case.
 */
bool
bdr_conflict_is_seen(BdrCase *c, BdrFound *found)
{
	if (c->update == NULL || c->key_changed || found->row == NULL || !bms_is_member(0, found->on) ||
		(c->rel->row_version != InvalidAttrNumber && bdr_row_version_differs(c->update, c->rel, found->row)))
		return false;
	return (c->operation == BDR_OP_DELETE && !c->leaves) || !is_concurrent(&found->version);
}

/*
 * Is an update of a row of this version a conflict?
 *
 * Not if the sender had that version already and updated it.  Its own must be
 * the newer one, though: a clock that is behind makes nodes disagree, and then
 * it is for the policy to choose.
 */
static bool
is_concurrent(const BdrVersion *version)
{
	const BdrVersion *incoming = bdr_version_incoming();

	if (!version->known || version->node == incoming->node)
		return false;
	return version->time >= incoming->time || !bdr_origin_progress_has(version);
}
