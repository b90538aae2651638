/*-------------------------------------------------------------------------
 * ddl/command.c
 *		What becomes of every command when DDL is replicated, and which global
 *		lock it takes.
 *
 * NOTES
 *		This table is the one place that says so, and bdr.ddl_commands() shows it.
 *		A command stands here by its tag's name, because servers do not number
 *		tags alike: the table has those of every server that we know, and a test
 *		fails on one that it lacks.
 *
 *		No command is refused as a whole; what is refused are forms of some.
 *		Tags that no command has, like ALTER CAST, are here like their kin.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "ddl/command.h"

#define COLUMNS		4			/* of bdr.ddl_commands() */

PG_FUNCTION_INFO_V1(bdr_ddl_commands);

static bool form_is_light(Node *statement);
static bool rows_have_name(const RenameStmt *rename);
static bool alter_is_light(const AlterTableCmd *command);
static bool column_is_light(const ColumnDef *column);
static bool is_constant(Node *expression);
static bool type_is_plain(const TypeName *name);
static int	compare_name(const void *name, const void *command);

/*
 * By name, as strcmp orders them.  Locks are the strongest that a form of the
 * command takes.
 */
static const BdrCommand commands[] = {
	{"?\?\?", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"no command"},
	{"ALTER ACCESS METHOD", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER AGGREGATE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER CAST", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER COLLATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER CONSTRAINT", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER CONVERSION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER DATABASE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"databases belong to a server"},
	{"ALTER DEFAULT PRIVILEGES", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER DOMAIN", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER EVENT TRIGGER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER EXTENSION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"what its script does is not replicated once more; bdr itself is local"},
	{"ALTER FOREIGN DATA WRAPPER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER FOREIGN TABLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER FUNCTION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER INDEX", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER LANGUAGE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER LARGE OBJECT", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"large objects belong to a node"},
	{"ALTER MATERIALIZED VIEW", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL | BDR_COMMAND_LOCK_DML},
	{"ALTER OPERATOR", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER OPERATOR CLASS", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER OPERATOR FAMILY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER POLICY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER PROCEDURE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER PUBLICATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER ROLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER ROUTINE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER RULE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER SCHEMA", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER SEQUENCE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL | BDR_COMMAND_LOCK_DML},
	{"ALTER SERVER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER STATISTICS", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER SUBSCRIPTION", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"on every node it would bring each row several times"},
	{"ALTER SYSTEM", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"settings belong to a server"},
	{"ALTER TABLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL | BDR_COMMAND_LOCK_DML},
	{"ALTER TABLESPACE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER TEXT SEARCH CONFIGURATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER TEXT SEARCH DICTIONARY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER TEXT SEARCH PARSER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER TEXT SEARCH TEMPLATE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER TRANSFORM", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER TRIGGER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER TYPE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER USER MAPPING", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ALTER VIEW", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ANALYZE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about the files and statistics of a node"},
	{"BEGIN", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"CALL", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"what it runs replicates by itself"},
	{"CHECKPOINT", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about the files and statistics of a node"},
	{"CLOSE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"CLOSE CURSOR", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"CLOSE CURSOR ALL", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"CLUSTER", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about the files and statistics of a node"},
	{"COMMENT", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"local: ON DATABASE, SUBSCRIPTION, TABLESPACE, LARGE OBJECT"},
	{"COMMIT", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"COMMIT PREPARED", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"COPY", BDR_COMMAND_ROWS, BDR_COMMAND_LOCK_NONE},
	{"COPY FROM", BDR_COMMAND_ROWS, BDR_COMMAND_LOCK_NONE},
	{"CREATE ACCESS METHOD", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE AGGREGATE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE CAST", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE COLLATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE CONSTRAINT", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE CONVERSION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE DATABASE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"databases belong to a server"},
	{"CREATE DOMAIN", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE EVENT TRIGGER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE EXTENSION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"what its script does is not replicated once more; bdr itself is local"},
	{"CREATE FOREIGN DATA WRAPPER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE FOREIGN TABLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE FUNCTION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE INDEX", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL | BDR_COMMAND_LOCK_DML},
	{"CREATE LANGUAGE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE MATERIALIZED VIEW", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE OPERATOR", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE OPERATOR CLASS", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE OPERATOR FAMILY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE POLICY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL | BDR_COMMAND_LOCK_DML},
	{"CREATE PROCEDURE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE PUBLICATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE ROLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE ROUTINE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE RULE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE SCHEMA", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE SEQUENCE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE SERVER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE STATISTICS", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE SUBSCRIPTION", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"on every node it would bring each row several times"},
	{"CREATE TABLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE TABLE AS", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"the table does; what fills it replicates as rows"},
	{"CREATE TABLESPACE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"the directory must be there on every server"},
	{"CREATE TEXT SEARCH CONFIGURATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE TEXT SEARCH DICTIONARY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE TEXT SEARCH PARSER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE TEXT SEARCH TEMPLATE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE TRANSFORM", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE TRIGGER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE TYPE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE USER MAPPING", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"CREATE VIEW", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DEALLOCATE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"DEALLOCATE ALL", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"DECLARE CURSOR", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"DELETE", BDR_COMMAND_ROWS, BDR_COMMAND_LOCK_NONE},
	{"DISCARD", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"DISCARD ALL", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"DISCARD PLANS", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"DISCARD SEQUENCES", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"DISCARD TEMP", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"DO", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"what it runs replicates by itself"},
	{"DROP ACCESS METHOD", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP AGGREGATE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP CAST", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP COLLATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP CONSTRAINT", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP CONVERSION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP DATABASE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"databases belong to a server"},
	{"DROP DOMAIN", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP EVENT TRIGGER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP EXTENSION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"what its script does is not replicated once more; bdr itself is local"},
	{"DROP FOREIGN DATA WRAPPER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP FOREIGN TABLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP FUNCTION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP INDEX", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP LANGUAGE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP MATERIALIZED VIEW", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP OPERATOR", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP OPERATOR CLASS", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP OPERATOR FAMILY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP OWNED", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP POLICY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP PROCEDURE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP PUBLICATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP ROLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP ROUTINE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP RULE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP SCHEMA", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP SEQUENCE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP SERVER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP STATISTICS", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP SUBSCRIPTION", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"on every node it would bring each row several times"},
	{"DROP TABLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL | BDR_COMMAND_LOCK_DML},
	{"DROP TABLESPACE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP TEXT SEARCH CONFIGURATION", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP TEXT SEARCH DICTIONARY", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP TEXT SEARCH PARSER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP TEXT SEARCH TEMPLATE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP TRANSFORM", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP TRIGGER", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP TYPE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP USER MAPPING", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"DROP VIEW", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"EXECUTE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"what it runs replicates by itself"},
	{"EXPLAIN", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"what it runs replicates by itself"},
	{"FETCH", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"GRANT", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"local: ON TABLESPACE, LARGE OBJECT, and ON DATABASE of another one than the node's"},
	{"GRANT ROLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"IMPORT FOREIGN SCHEMA", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"each node asks the foreign server"},
	{"INSERT", BDR_COMMAND_ROWS, BDR_COMMAND_LOCK_NONE},
	{"LISTEN", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"LOAD", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"LOCK TABLE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_DML,
	"the lock of PostgreSQL is held on this node only"},
	{"LOGIN", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"no command"},
	{"MERGE", BDR_COMMAND_ROWS, BDR_COMMAND_LOCK_NONE},
	{"MOVE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"NOTIFY", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about sessions of a node"},
	{"PREPARE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"PREPARE TRANSACTION", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"REASSIGN OWNED", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"REFRESH MATERIALIZED VIEW", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_NONE,
	"each node fills its own, from its rows; nothing else writes to it"},
	{"REINDEX", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about the files and statistics of a node"},
	{"RELEASE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"RESET", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"REVOKE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"local: ON TABLESPACE, LARGE OBJECT, and ON DATABASE of another one than the node's"},
	{"REVOKE ROLE", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL},
	{"ROLLBACK", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"ROLLBACK PREPARED", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"SAVEPOINT", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"SECURITY LABEL", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"local: ON DATABASE, SUBSCRIPTION, TABLESPACE, LARGE OBJECT"},
	{"SELECT", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"reads and locks rows of a node; what its functions do replicates by itself"},
	{"SELECT FOR KEY SHARE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"reads and locks rows of a node; what its functions do replicates by itself"},
	{"SELECT FOR NO KEY UPDATE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"reads and locks rows of a node; what its functions do replicates by itself"},
	{"SELECT FOR SHARE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"reads and locks rows of a node; what its functions do replicates by itself"},
	{"SELECT FOR UPDATE", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"reads and locks rows of a node; what its functions do replicates by itself"},
	{"SELECT INTO", BDR_COMMAND_REPLICATED, BDR_COMMAND_LOCK_DDL,
	"the table does; what fills it replicates as rows"},
	{"SET", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"SET CONSTRAINTS", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"SHOW", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"START TRANSACTION", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a transaction, which replicates when it commits"},
	{"TRUNCATE TABLE", BDR_COMMAND_ROWS, BDR_COMMAND_LOCK_DML},
	{"UNLISTEN", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about a session"},
	{"UPDATE", BDR_COMMAND_ROWS, BDR_COMMAND_LOCK_NONE},
	{"VACUUM", BDR_COMMAND_LOCAL, BDR_COMMAND_LOCK_NONE,
	"about the files and statistics of a node"}
};

const BdrCommand *
bdr_command_find(CommandTag tag)
{
	return bsearch(GetCommandTagName(tag), commands, lengthof(commands), sizeof(BdrCommand), compare_name);
}

bool
bdr_command_is_replicated(Node *statement)
{
	const BdrCommand *command = bdr_command_find(CreateCommandTag(statement));

	return command != NULL && command->fate == BDR_COMMAND_REPLICATED;
}

int
bdr_command_locks(Node *statement)
{
	const BdrCommand *command = bdr_command_find(CreateCommandTag(statement));

	if (command == NULL)
		return BDR_COMMAND_LOCK_DDL | BDR_COMMAND_LOCK_DML;
	if (command->locks == (BDR_COMMAND_LOCK_DDL | BDR_COMMAND_LOCK_DML) && form_is_light(statement))
		return BDR_COMMAND_LOCK_DDL;
	return command->locks;
}

/*
 * Rows that others write meanwhile mean the same before and after.
 */
static bool
form_is_light(Node *statement)
{
	ListCell   *cell;

	if (IsA(statement, RenameStmt))
		return !rows_have_name((RenameStmt *) statement);
	if (!IsA(statement, AlterTableStmt))
		return false;
	foreach(cell, ((AlterTableStmt *) statement)->cmds)
	{
		if (!alter_is_light(lfirst(cell)))
			return false;
	}
	return true;
}

/* They come with the names of their table and its columns. */
static bool
rows_have_name(const RenameStmt *rename)
{
	return rename->renameType == OBJECT_TABLE ||
		(rename->renameType == OBJECT_COLUMN && rename->relationType == OBJECT_TABLE);
}

/*
 * TYPE is not: whether it rewrites the table is not to be seen here.
 */
static bool
alter_is_light(const AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AttachPartition:
		case AT_ChangeOwner:
		case AT_ClusterOn:
		case AT_ColumnDefault:
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
		case AT_DisableTrig:
		case AT_DisableTrigAll:
		case AT_DisableTrigUser:
		case AT_DropCluster:
		case AT_EnableTrig:
		case AT_EnableTrigAll:
		case AT_EnableTrigUser:
		case AT_ResetOptions:
		case AT_ResetRelOptions:
		case AT_SetOptions:
		case AT_SetRelOptions:
		case AT_SetStatistics:
		case AT_ValidateConstraint:
			return true;
		case AT_AddColumn:
			return column_is_light(castNode(ColumnDef, command->def));
		case AT_AddConstraint:
			return castNode(Constraint, command->def)->skip_validation;
		default:
			return false;
	}
}

/* The rows that are there get one value, and none of them is looked at. */
static bool
column_is_light(const ColumnDef *column)
{
	ListCell   *cell;

	if (!type_is_plain(column->typeName))
		return false;
	foreach(cell, column->constraints)
	{
		Constraint *constraint = lfirst_node(Constraint, cell);

		if (constraint->contype != CONSTR_NULL &&
			(constraint->contype != CONSTR_DEFAULT || !is_constant(constraint->raw_expr)))
			return false;
	}
	return true;
}

static bool
is_constant(Node *expression)
{
	while (IsA(expression, TypeCast))
		expression = ((TypeCast *) expression)->arg;
	return IsA(expression, A_Const);
}

/* Serial ones have a default, domains may have one. */
static bool
type_is_plain(const TypeName *name)
{
	Type		type = LookupTypeName(NULL, name, NULL, true);
	bool		plain;

	if (type == NULL)
		return false;
	plain = ((Form_pg_type) GETSTRUCT(type))->typtype != TYPTYPE_DOMAIN;
	ReleaseSysCache(type);
	return plain;
}

static int
compare_name(const void *name, const void *command)
{
	return strcmp(name, ((const BdrCommand *) command)->tag);
}

/*
 * The whole table, whichever of the tags this server has.
 */
Datum
bdr_ddl_commands(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < lengthof(commands); i++)
	{
		const BdrCommand *command = &commands[i];
		bool		nulls[COLUMNS] = {false, false, false, command->reason == NULL};
		Datum		values[COLUMNS];

		values[0] = CStringGetTextDatum(command->tag);
		values[1] = CStringGetTextDatum(bdr_command_fate_name(command->fate));
		values[2] = CStringGetTextDatum(bdr_command_lock_name(command->locks));
		values[3] = command->reason == NULL ? (Datum) 0 : CStringGetTextDatum(command->reason);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

const char *
bdr_command_fate_name(BdrCommandFate fate)
{
	switch (fate)
	{
		case BDR_COMMAND_REPLICATED:
			return "replicated";
		case BDR_COMMAND_LOCAL:
			return "local";
		case BDR_COMMAND_ROWS:
			return "rows";
	}
	elog(ERROR, "unknown fate of a command: %d", (int) fate);
}

const char *
bdr_command_lock_name(int locks)
{
	switch (locks)
	{
		case BDR_COMMAND_LOCK_NONE:
			return "none";
		case BDR_COMMAND_LOCK_DDL:
			return "ddl";
		case BDR_COMMAND_LOCK_DML:
			return "dml";
	}
	return "ddl+dml";
}
