/*-------------------------------------------------------------------------
 * conflict/origin_progress.c
 *		What the sender had seen of other nodes' changes when it made those
 *		that come in.
 *
 * NOTES
 *		output/origin_progress.c says where it comes from.  A node that the sender
 *		has not told about counts as not seen.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "conflict/origin_progress.h"

/* More nodes than this are not remembered. */
#define SEEN_NODES_MAX		1024

typedef struct Seen
{
	uint32		node;
	TimestampTz time;
} Seen;

static Seen *nodes;
static int	nnodes;

static void note_progress(uint32 node, TimestampTz time);

/*
 * ORIGIN_PROGRESS.
 */
void
bdr_origin_progress_read(BdrReader *body)
{
	uint16		n = bdr_read_uint16(body);

	for (int i = 0; i < n; i++)
	{
		uint32		node = bdr_read_uint32(body);
		TimestampTz time = (TimestampTz) bdr_read_uint64(body);

		if (node == 0 || !IS_VALID_TIMESTAMP(time))
			bdr_frame_error("What the sender has seen of node %u has no valid time.", node);
		note_progress(node, time);
	}
}

static void
note_progress(uint32 node, TimestampTz time)
{
	for (int i = 0; i < nnodes; i++)
	{
		if (nodes[i].node != node)
			continue;
		nodes[i].time = Max(nodes[i].time, time);
		return;
	}
	if (nnodes == SEEN_NODES_MAX)
		return;
	if (nodes == NULL)
		nodes = MemoryContextAlloc(TopMemoryContext, SEEN_NODES_MAX * sizeof(Seen));
	nodes[nnodes++] = (Seen)
	{
		node, time
	};
}

/*
 * Had the sender this version before it made the incoming transaction?
 */
bool
bdr_origin_progress_has(const BdrVersion *version)
{
	for (int i = 0; i < nnodes; i++)
	{
		if (nodes[i].node == version->node)
			return version->time <= nodes[i].time;
	}
	return false;
}
