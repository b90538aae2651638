/*-------------------------------------------------------------------------
 * session/ddl/locking.h
 *		The global locks of a statement that runs on every node.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_LOCKING_H
#define BDR_SESSION_DDL_LOCKING_H

#include "postgres.h"

#include "nodes/nodes.h"

/*
 * Before it runs.  Setting is one of bdr.ddl_locking; about_temporary says that
 * all it names is temporary.
 */
extern void bdr_locking_take(Node *statement, int setting, bool about_temporary);

/* What a user calls a value of bdr.ddl_locking. */
extern int	bdr_locking_setting(const char *name);

#endif							/* BDR_SESSION_DDL_LOCKING_H */
