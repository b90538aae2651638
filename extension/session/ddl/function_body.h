/*-------------------------------------------------------------------------
 * session/ddl/function_body.h
 *		Functions that cannot be called where rows are applied.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_FUNCTION_BODY_H
#define BDR_SESSION_DDL_FUNCTION_BODY_H

#include "postgres.h"

#include "catalog/objectaccess.h"

/* An error where an index, a check or a generated column calls one; to be called by the server's hook. */
extern void bdr_function_body_check(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);

#endif							/* BDR_SESSION_DDL_FUNCTION_BODY_H */
