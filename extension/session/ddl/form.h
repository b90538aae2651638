/*-------------------------------------------------------------------------
 * session/ddl/form.h
 *		Forms of commands that are not what the table of commands says.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DDL_FORM_H
#define BDR_SESSION_DDL_FORM_H

#include "postgres.h"

#include "nodes/parsenodes.h"

#include "ddl/statement.h"

/* Does this one stay on this node? */
extern bool bdr_form_is_local(Node *statement);

/* Does it drop an index that other nodes may not have? */
extern bool bdr_form_drops_odd_index(DropStmt *drop);

/*
 * An error for one that would do something else on each node; what makes it do the
 * same is added to its description.
 */
extern void bdr_form_check(Node *statement, const char *query, BdrStatement *described);

#endif							/* BDR_SESSION_DDL_FORM_H */
