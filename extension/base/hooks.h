/*-------------------------------------------------------------------------
 * base/hooks.h
 *		Hooks of the server that several modules want.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_HOOKS_H
#define BDR_BASE_HOOKS_H

#include "postgres.h"

#include "catalog/objectaccess.h"
#include "executor/execdesc.h"
#include "tcop/utility.h"

/* A utility statement, on its way through those who asked for it. */
typedef struct BdrUtility
{
	PlannedStmt *pstmt;
	const char *query;
	bool		read_only_tree;
	ProcessUtilityContext context;
	ParamListInfo params;
	QueryEnvironment *environment;
	DestReceiver *dest;
	QueryCompletion *completion;
	int			handlers_left;
} BdrUtility;

/* Runs the statement by calling bdr_hooks_run_utility, once. */
typedef void (*BdrUtilityHandler) (const BdrUtility *statement);

/* Who comes last is called first. */
extern void bdr_hooks_on_utility(BdrUtilityHandler handler);

/* What comes behind the handler that calls this: at last, the server. */
extern void bdr_hooks_run_utility(const BdrUtility *statement);

/* A plan that the server has started: its tables are open and locked, nothing has run. */
typedef void (*BdrStartHandler) (QueryDesc *query, int eflags);

extern void bdr_hooks_on_start(BdrStartHandler handler);

/* Who comes first is called first. */
extern void bdr_hooks_on_access(object_access_hook_type handler);

/*
 * Called behind each statement with the oids of the relations that it has made, but
 * for those of statements inside of it, which have had calls of their own.  They
 * can be seen; some may be gone again.
 */
typedef void (*BdrCreatedHandler) (const List *relations);

extern void bdr_hooks_on_created(BdrCreatedHandler handler);

#endif							/* BDR_BASE_HOOKS_H */
