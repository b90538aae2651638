/*-------------------------------------------------------------------------
 * apply/pieces.h
 *		Rows that are too large for a frame: their pieces, put together.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_PIECES_H
#define BDR_APPLY_PIECES_H

#include "postgres.h"

#include "base/reader.h"

extern uint8 bdr_piece_read(const char *start, BdrReader *piece, BdrReader *whole);

/* Was this piece the last one of the row that is here? */
extern bool bdr_piece_is_last(const char *start);

/* Not all pieces of a row have come. */
extern bool bdr_piece_is_due(void);

/* Is there a row that the unit needs if it is applied again? */
extern bool bdr_piece_is_held(void);
extern void bdr_piece_forget(void);

#endif							/* BDR_APPLY_PIECES_H */
