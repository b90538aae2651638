/*-------------------------------------------------------------------------
 * ddl/statement.c
 *		A statement that runs on every node, and what its meaning depends on.
 *
 * NOTES
 *		The settings are those that change what a statement does or stores.  Both
 *		sides know the same list: nobody else's setting can be changed by a
 *		statement that comes from a peer.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"

#include "ddl/statement.h"

/* No setting of a server: where other nodes changed the schema before. */
#define EARLIER "bdr.ddl_earlier"

/* Nor this: - or +, and the name of an index that is not built yet, or is. */
#define INDEX "bdr.index"
#define INDEX_BEGUN	'-'
#define INDEX_BUILT	'+'

/*
 * All may be set by everybody.  One that a server does not have is left out
 * there, and passed over.
 */
static const char *const known_settings[] = {
	"DateStyle",
	"IntervalStyle",
	"TimeZone",
	"array_nulls",
	"backslash_quote",
	EARLIER,
	"bdr.default_replica_identity",
	"bdr.default_sequence_kind",
	INDEX,
	"bytea_output",
	"check_function_bodies",
	"createrole_self_grant",	/* since 16 */
	"default_table_access_method",
	"default_tablespace",
	"default_text_search_config",
	"default_toast_compression",
	"extra_float_digits",
	"lc_monetary",
	"lc_numeric",
	"lc_time",
	"password_encryption",
	"quote_all_identifiers",
	"row_security",
	"search_path",
	"standard_conforming_strings",
	"timezone_abbreviations",
	"transform_null_equals",
	"xmlbinary",
	"xmloption",
};

/* Values of new columns go where settings go: the column behind this, = and the text, or nothing. */
#define VALUE_PREFIX	"bdr.value."

static void add_setting(BdrStatement *statement, const char *name, const char *value);
static void append_setting(BdrStatement *statement, const char *name, const char *value);
static BdrSetting *find_setting(const BdrStatement *statement, const char *name);
static bool is_value(const char *name);

void
bdr_statement_describe(BdrStatement *statement, const char *text)
{
	statement->role = GetUserNameFromId(GetUserId(), false);
	statement->is_superuser = superuser();
	statement->text = text;
	statement->nsets = 0;
	statement->sets = NULL;
	statement->nsettings = 0;
	statement->settings = palloc(lengthof(known_settings) * sizeof(BdrSetting));
	for (int i = 0; i < lengthof(known_settings); i++)
	{
		const char *value = GetConfigOption(known_settings[i], true, false);

		if (value != NULL)
			add_setting(statement, known_settings[i], pstrdup(value));
	}
}

static void
add_setting(BdrStatement *statement, const char *name, const char *value)
{
	BdrSetting *setting = &statement->settings[statement->nsettings];

	if (strlen(value) > PG_UINT16_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("\"%s\" is too long for a statement that is replicated", name)));
	setting->name = name;
	setting->value = value;
	statement->nsettings++;
}

/* One that is not among those that there is room for. */
static void
append_setting(BdrStatement *statement, const char *name, const char *value)
{
	statement->settings = repalloc(statement->settings, (statement->nsettings + 1) * sizeof(BdrSetting));
	add_setting(statement, name, value);
}

void
bdr_statement_add_value(BdrStatement *statement, const char *column, const char *value)
{
	if (statement->nsettings == PG_UINT16_MAX / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many columns in a statement that is replicated")));
	append_setting(statement, psprintf("%s%s", VALUE_PREFIX, column), value != NULL ? psprintf("=%s", value) : "");
}

bool
bdr_statement_value_of(const BdrStatement *statement, const char *column, const char **value)
{
	for (int i = 0; i < statement->nsettings; i++)
	{
		const BdrSetting *setting = &statement->settings[i];

		if (is_value(setting->name) && strcmp(setting->name + strlen(VALUE_PREFIX), column) == 0)
		{
			*value = setting->value[0] == '\0' ? NULL : setting->value + 1;
			return true;
		}
	}
	return false;
}

static bool
is_value(const char *name)
{
	return strncmp(name, VALUE_PREFIX, strlen(VALUE_PREFIX)) == 0;
}

void
bdr_statement_set_earlier(BdrStatement *statement, const char *earlier)
{
	if (earlier != NULL)
		append_setting(statement, EARLIER, earlier);
}

const char *
bdr_statement_earlier(const BdrStatement *statement)
{
	BdrSetting *setting = find_setting(statement, EARLIER);

	return setting != NULL ? setting->value : NULL;
}

static BdrSetting *
find_setting(const BdrStatement *statement, const char *name)
{
	for (int i = 0; i < statement->nsettings; i++)
	{
		if (strcmp(statement->settings[i].name, name) == 0)
			return &statement->settings[i];
	}
	return NULL;
}

void
bdr_statement_set_index(BdrStatement *statement, const char *index, bool is_built)
{
	BdrSetting *setting = find_setting(statement, INDEX);
	char	   *value = psprintf("%c%s", is_built ? INDEX_BUILT : INDEX_BEGUN, index);

	if (setting != NULL)
		setting->value = value;
	else
		append_setting(statement, INDEX, value);
}

const char *
bdr_statement_index(const BdrStatement *statement, bool *is_built)
{
	BdrSetting *setting = find_setting(statement, INDEX);

	if (setting == NULL || strlen(setting->value) < 2)
		return NULL;			/* a peer that lies */
	*is_built = setting->value[0] == INDEX_BUILT;
	return setting->value + 1;
}

PlannedStmt *
bdr_statement_plan(RawStmt *raw, const char *text)
{
	Query	   *query = linitial_node(Query, pg_analyze_and_rewrite_fixedparams(raw, text, NULL, 0, NULL));

	return linitial_node(PlannedStmt, pg_plan_queries(list_make1(query), text, 0, NULL));
}

bool
bdr_statement_knows_setting(const char *name)
{
	if (is_value(name))
		return true;
	for (int i = 0; i < lengthof(known_settings); i++)
	{
		if (strcmp(known_settings[i], name) == 0)
			return true;
	}
	return false;
}

void
bdr_statement_set_settings(const BdrStatement *statement)
{
	for (int i = 0; i < statement->nsettings; i++)
	{
		const BdrSetting *setting = &statement->settings[i];

		if (!is_value(setting->name) && GetConfigOption(setting->name, true, false) != NULL)
			(void) set_config_option(setting->name, setting->value, PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
}
