/*-------------------------------------------------------------------------
 * output/frame.h
 *		Bytes of each change, and the frames that collect them.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_FRAME_H
#define BDR_OUTPUT_FRAME_H

#include "postgres.h"

#include "output/output.h"

extern void bdr_wire_init(BdrOutput *output);
extern void bdr_wire_check_delay(BdrOutput *output);
extern void bdr_wire_finish_change(BdrOutput *output);
extern void bdr_wire_finish_transaction(BdrOutput *output, XLogRecPtr end_lsn);
extern void bdr_wire_close_frame(BdrOutput *output, bool ends_transaction);
extern void bdr_frame_seal(BdrFrame *frame);
extern void bdr_frame_reset(BdrFrame *frame);
extern bool bdr_frame_is_empty(const BdrFrame *frame);
extern bool bdr_frame_is_overdue(const BdrFrame *frame);

extern void bdr_wire_write_startup(BdrOutput *output);
extern void bdr_wire_write_relation(BdrOutput *output, BdrSentRelation *sent);
extern void bdr_wire_write_forget(BdrOutput *output, int n, const Oid *relids);
extern void bdr_wire_write_origin_progress(BdrOutput *output);
extern void bdr_wire_write_watermark(BdrOutput *output, const char *content);
extern void bdr_wire_write_begin(BdrOutput *output, ReorderBufferTXN *txn);
extern void bdr_wire_write_commit(BdrOutput *output, ReorderBufferTXN *txn);
extern void bdr_wire_write_insert(BdrOutput *output, BdrSentRelation *sent,
								  TupleDesc desc, HeapTuple new_tuple);
extern void bdr_wire_write_update(BdrOutput *output, BdrSentRelation *sent,
								  TupleDesc desc, HeapTuple old_tuple,
								  HeapTuple new_tuple);
extern void bdr_wire_write_delete(BdrOutput *output, BdrSentRelation *sent,
								  TupleDesc desc, HeapTuple old_tuple);
extern void bdr_wire_write_truncate(BdrOutput *output, uint8 flags, int ntables,
									const BdrTruncated *tables);
extern void bdr_wire_write_message(BdrOutput *output, XLogRecPtr lsn,
								   Size size, const char *content);
extern void bdr_wire_write_statement(BdrOutput *output, const char *role, bool is_superuser,
									 ArrayType *sets, ArrayType *settings, text *statement);
extern void bdr_wire_write_tombstone(BdrOutput *output, Oid relid, char what,
								  const char *index, ArrayType *values);
extern void bdr_wire_append_name(StringInfo buf, const char *name);

#endif							/* BDR_OUTPUT_FRAME_H */
