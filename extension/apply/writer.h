/*-------------------------------------------------------------------------
 * apply/writer.h
 *		The life of a writer.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_WRITER_H
#define BDR_APPLY_WRITER_H

#include "postgres.h"

/* bgw_main_arg is the database's oid, bgw_extra a BdrWriterExtra. */
extern PGDLLEXPORT void bdr_writer_main(Datum arg);

#endif							/* BDR_APPLY_WRITER_H */
