/*-------------------------------------------------------------------------
 * rebuild/dead_rows.h
 *		The versions that dead rows of a table show, for when the rows go.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_REBUILD_DEAD_ROWS_H
#define BDR_REBUILD_DEAD_ROWS_H

#include "postgres.h"

#include "access/htup.h"
#include "utils/rel.h"

/* Has the table dead rows that may tell a version? */
extern bool bdr_dead_rows_matter(Relation table);

/* The dead rows of a table that is being rewritten; rebuild/dead_rows.c. */
typedef struct BdrGraves BdrGraves;

/* table has its new rows and indexes; first is the first command of the ALTER. */
extern BdrGraves *bdr_dead_rows_open(Relation table, CommandId first, uint32 local_node);

/* Columns may have got other types. */
extern void bdr_dead_rows_convert_memory(BdrGraves *graves);

/* A row of the old file that is not visible; header is a stable copy of its own. */
extern void bdr_dead_rows_add(BdrGraves *graves, HeapTuple row, HeapTupleHeader header);
extern void bdr_dead_rows_close(BdrGraves *graves);

#endif							/* BDR_REBUILD_DEAD_ROWS_H */
