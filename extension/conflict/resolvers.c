/*-------------------------------------------------------------------------
 * conflict/resolvers.c
 *		Have users chosen other resolvers?
 *
 * NOTES
 *		A trigger of bdr.node_conflict_resolvers sends an invalidation.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"

#include "base/tables.h"
#include "conflict/resolvers.h"

PG_FUNCTION_INFO_V1(bdr_internal_resolvers_changed);

static uint32 generation = 1;
static Oid	resolvers;			/* bdr.node_conflict_resolvers, when known */

static void table_changed(Datum arg, Oid relid);

void
bdr_resolvers_init(void)
{
	CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
}

/* Until we know its oid, any table may be the one with the resolvers. */
static void
table_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == resolvers || resolvers == InvalidOid)
		generation++;
}

uint32
bdr_resolvers_generation(void)
{
	if (!OidIsValid(resolvers))
		resolvers = bdr_catalog_relation("node_conflict_resolvers");
	return generation;
}

/* Has the writers ask again once the caller's transaction has committed. */
Datum
bdr_internal_resolvers_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"bdr.internal_resolvers_changed\" was not called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
