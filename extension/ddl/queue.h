/*-------------------------------------------------------------------------
 * ddl/queue.h
 *		bdr.queue: what puts a statement between the rows around it.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_DDL_QUEUE_H
#define BDR_DDL_QUEUE_H

#include "postgres.h"

#include "nodes/nodes.h"
#include "storage/itemptr.h"

#include "ddl/statement.h"

/* Its place is here.  The row stays until bdr_queue_remove, in a later command. */
extern void bdr_queue_insert(const BdrStatement *statement, ItemPointer row);
extern void bdr_queue_remove(ItemPointer row);

/* Both. */
extern void bdr_queue_add(const BdrStatement *statement);

/*
 * What this one writes until it is queued, each node writes for itself.  To be
 * called before it runs.
 */
extern void bdr_queue_open(const BdrStatement *statement);

/* Does this one write rows? */
extern bool bdr_queue_is_opened_by(Node *statement);

#endif							/* BDR_DDL_QUEUE_H */
