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
#include "utils/guc.h"

#include "ddl/statement.h"

/* No setting of a server: where other nodes changed the schema before. */
#define EARLIER "bdr.ddl_earlier"

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
	"bdr.default_sequence_kind",
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

void
bdr_statement_describe(BdrStatement *statement, const char *text)
{
	statement->role = GetUserNameFromId(GetUserId(), false);
	statement->is_superuser = superuser();
	statement->text = text;
	statement->nsettings = 0;
	statement->settings = palloc(lengthof(known_settings) * sizeof(BdrSetting));
	for (int i = 0; i < lengthof(known_settings); i++)
	{
		const char *value = GetConfigOption(known_settings[i], true, false);
		BdrSetting *setting = &statement->settings[statement->nsettings];

		if (value == NULL)
			continue;
		if (strlen(value) > PG_UINT16_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("setting \"%s\" is too long for a statement that is replicated", known_settings[i])));
		setting->name = known_settings[i];
		setting->value = pstrdup(value);
		statement->nsettings++;
	}
}

/* There is room for each that is known, and the server does not know this one. */
void
bdr_statement_set_earlier(BdrStatement *statement, const char *earlier)
{
	BdrSetting	setting = {EARLIER, earlier};

	if (earlier != NULL)
		statement->settings[statement->nsettings++] = setting;
}

const char *
bdr_statement_earlier(const BdrStatement *statement)
{
	for (int i = 0; i < statement->nsettings; i++)
	{
		if (strcmp(statement->settings[i].name, EARLIER) == 0)
			return statement->settings[i].value;
	}
	return NULL;
}

bool
bdr_statement_knows_setting(const char *name)
{
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

		if (GetConfigOption(setting->name, true, false) != NULL)
			(void) set_config_option(setting->name, setting->value, PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
}
