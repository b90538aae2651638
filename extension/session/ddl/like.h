/*-------------------------------------------------------------------------
 * session/ddl/like.h
 *		CREATE TABLE (LIKE ...) of a table that other nodes do not have.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_LIKE_H
#define BDR_SESSION_DDL_LIKE_H

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"

/*
 * The statement with the columns of temporary tables in the place of LIKE; NULL:
 * it has none.  To be called before it runs.
 */
extern char *bdr_like_text(const PlannedStmt *pstmt, const char *query);

#endif							/* BDR_SESSION_DDL_LIKE_H */
