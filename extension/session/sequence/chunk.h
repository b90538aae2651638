/*-------------------------------------------------------------------------
 * session/sequence/chunk.h
 *		bdr.sequence_chunk: which values of galloc sequences the nodes may make.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_CHUNK_H
#define BDR_SESSION_SEQUENCE_CHUNK_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

typedef struct BdrChunk
{
	int64		first;
	int64		last;
} BdrChunk;

/* Those of a sequence that a node has, in ascending order. */
extern List *bdr_chunks_of(const char *key, Oid node, Snapshot snapshot);

#endif							/* BDR_SESSION_SEQUENCE_CHUNK_H */
