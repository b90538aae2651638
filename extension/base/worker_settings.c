/*-------------------------------------------------------------------------
 * base/worker_settings.c
 *		The settings of our background workers, which nothing that is set for
 *		the server, a database or a role can move.
 *
 * NOTES
 *		The owner of a database may set for it whatever an ordinary user may
 *		set: a search_path with names in it that we call, a role, a read-only
 *		default.  All of that has been applied when a background worker gets
 *		to run; here it is taken back, for good.
 *
 *		gosrc/stream/settings.go has the same list for our connections.  Names
 *		without a schema in statements of ours mean those of pg_catalog by it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/guc.h"

#include "base/worker_settings.h"

typedef struct Pinned
{
	const char *name;
	const char *value;
} Pinned;

static const Pinned common[] = {
	{"role", "none"},
	{"session_replication_role", "origin"},
	{"search_path", "pg_catalog, pg_temp"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"row_security", "off"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"transaction_timeout", "0"},
	{"restrict_nonsystem_relation_kind", "view, foreign-table"},
	{"standard_conforming_strings", "on"},
	{"quote_all_identifiers", "off"},
	{"transform_null_equals", "off"},
	{"array_nulls", "on"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "GMT"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"lc_monetary", "C"},
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"xmloption", "content"},
	{"xmlbinary", "base64"},
	{"jit", "off"},
	{"exit_on_error", "off"},
	{"timezone_abbreviations", "Default"},
};

/* Each kind's differences. */
static const Pinned manager[] = {
	{"synchronous_commit", "local"},
	{NULL}
};

/* What reads views of users in a writer does so with their rights. */
static const Pinned writer[] = {
	{"session_replication_role", "replica"},
	{"synchronous_commit", "off"},
	{"search_path", "pg_catalog"},
	{"restrict_nonsystem_relation_kind", ""},
	{NULL}
};

static const Pinned *const differences[] = {
	[BDR_SESSION_MANAGER] = manager,
	[BDR_SESSION_WRITER] = writer,
};

static bool is_writer = false;

static void become_superuser(void);
static void pin(const Pinned *setting);

void
bdr_worker_pin_settings(BdrSession kind)
{
	is_writer = kind == BDR_SESSION_WRITER;
	become_superuser();
	for (int i = 0; i < lengthof(common); i++)
		pin(&common[i]);
	for (const Pinned *p = differences[kind]; p->name != NULL; p++)
		pin(p);
	SetClientEncoding(GetDatabaseEncoding());
}

/*
 * A background worker without a user name is the bootstrap superuser, unless a
 * setting made it somebody else.
 */
static void
become_superuser(void)
{
	StartTransactionCommand();
	SetConfigOption("session_authorization", GetUserNameFromId(BOOTSTRAP_SUPERUSERID, false),
					PGC_SUSET, PGC_S_OVERRIDE);
	CommitTransactionCommand();
}

/* Not every version has every setting. */
static void
pin(const Pinned *setting)
{
	if (GetConfigOption(setting->name, true, false) != NULL)
		SetConfigOption(setting->name, setting->value, PGC_SUSET, PGC_S_OVERRIDE);
}

bool
bdr_is_writer(void)
{
	return is_writer;
}

void
bdr_worker_handle_signals(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}
