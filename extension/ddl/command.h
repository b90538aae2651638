/*-------------------------------------------------------------------------
 * ddl/command.h
 *		What becomes of a command when DDL is replicated.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_DDL_COMMAND_H
#define BDR_DDL_COMMAND_H

#include "nodes/nodes.h"
#include "tcop/cmdtag.h"

typedef enum BdrCommandFate
{
	BDR_COMMAND_REPLICATED,		/* it runs on every node */
	BDR_COMMAND_LOCAL,			/* it runs on this node only */
	BDR_COMMAND_ROWS			/* the rows that it changes are sent */
} BdrCommandFate;

/* Global locks; a set. */
#define BDR_COMMAND_LOCK_NONE	0
#define BDR_COMMAND_LOCK_DDL	1
#define BDR_COMMAND_LOCK_DML	2	/* of the tables that it names */

typedef struct BdrCommand
{
	const char *tag;
	BdrCommandFate fate;
	int			locks;
	const char *reason;			/* NULL where the rest says it */
} BdrCommand;

/* NULL for a tag of a server that this version does not know. */
extern const BdrCommand *bdr_command_find(CommandTag tag);

/* By its tag; some forms are local nevertheless. */
extern bool bdr_command_is_replicated(Node *statement);

/*
 * The locks that this form of a command takes; statement is as it was parsed.
 * May look up types.
 */
extern int	bdr_command_locks(Node *statement);

extern const char *bdr_command_lock_name(int locks);
extern const char *bdr_command_fate_name(BdrCommandFate fate);

#endif							/* BDR_DDL_COMMAND_H */
