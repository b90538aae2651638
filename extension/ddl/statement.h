/*-------------------------------------------------------------------------
 * ddl/statement.h
 *		A statement that runs on every node, and what its meaning depends on.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_DDL_STATEMENT_H
#define BDR_DDL_STATEMENT_H

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"

typedef struct BdrSetting
{
	const char *name;
	const char *value;
} BdrSetting;

typedef struct BdrStatement
{
	const char *role;			/* whose rights it has */
	bool		is_superuser;	/* where it ran first */
	int			nsettings;
	BdrSetting *settings;
	const char *text;			/* of one statement */
	int			nsets;
	const char **sets;			/* the replication sets that it goes with; none: the default one */
} BdrStatement;

/*
 * What a new column has in the rows that are there, by the default that is not the
 * same on each node; NULL: it is NULL.
 */
extern void bdr_statement_add_value(BdrStatement *statement, const char *column, const char *value);

/* false: there is none. */
extern bool bdr_statement_value_of(const BdrStatement *statement, const char *column, const char **value);

/* As whom, and under which settings, a statement would run now. */
extern void bdr_statement_describe(BdrStatement *statement, const char *text);

/* What it must come behind, in the words of gosrc/globallock; NULL: nothing. */
extern void bdr_statement_set_earlier(BdrStatement *statement, const char *earlier);
extern const char *bdr_statement_earlier(const BdrStatement *statement);

/*
 * CREATE INDEX CONCURRENTLY is two statements: one where the index has been made,
 * one where it has been built.  NULL: it is neither.
 */
extern void bdr_statement_set_index(BdrStatement *statement, const char *index, bool is_built);
extern const char *bdr_statement_index(const BdrStatement *statement, bool *is_built);

/* One that was parsed, to be given to ProcessUtility under a snapshot. */
extern PlannedStmt *bdr_statement_plan(RawStmt *raw, const char *text);

/* May a statement come with this setting? */
extern bool bdr_statement_knows_setting(const char *name);

/* Until the nest level of settings ends. */
extern void bdr_statement_set_settings(const BdrStatement *statement);

#endif							/* BDR_DDL_STATEMENT_H */
