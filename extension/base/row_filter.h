/*-------------------------------------------------------------------------
 * base/row_filter.h
 *		Row filters of replication sets: which expressions are taken.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_ROW_FILTER_H
#define BDR_BASE_ROW_FILTER_H

#include "postgres.h"

#include "nodes/bitmapset.h"
#include "nodes/nodes.h"
#include "utils/relcache.h"

/*
 * The expression of a filter, whose variables are columns of rel; an error when it
 * is none.  columns gets their numbers.  No lock of the table is needed.
 */
extern Node *bdr_row_filter_parse(Relation rel, const char *text, Bitmapset **columns);

#endif							/* BDR_BASE_ROW_FILTER_H */
