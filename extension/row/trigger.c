/*-------------------------------------------------------------------------
 * row/trigger.c
 *		Triggers of a table, around a change of it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/user_context.h"
#include "row/trigger.h"

/* In a writer. */
bool
bdr_trigger_fires(const Trigger *trigger)
{
	return trigger->tgenabled == TRIGGER_FIRES_ON_REPLICA ||
		trigger->tgenabled == TRIGGER_FIRES_ALWAYS;
}

/*
 * rel was opened.  PostgreSQL looks a trigger's function up when it calls it
 * for the first time, and keeps that for as long as the table is open; so does
 * the function with what it finds out.  That must not lie in
 * the context in which changes are applied.
 */
void
bdr_trigger_prepare(BdrRelation *rel)
{
	TriggerDesc *triggers = rel->result->ri_TrigDesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (bdr_trigger_fires(&triggers->triggers[i]))
			fmgr_info_cxt(triggers->triggers[i].tgfoid, &rel->result->ri_TrigFunctions[i],
						  rel->estate->es_query_cxt);
	}
}

/*
 * Triggers see what came before them.
 */
void
bdr_change_begin(BdrRelation *rel)
{
	bdr_user_switch(rel->owner);
	if (!rel->fires_triggers)
		return;
	CommandCounterIncrement();
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
	rel->estate->es_snapshot = GetActiveSnapshot();
	rel->estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
}

void
bdr_change_fire(BdrRelation *rel)
{
	MemoryContext old;

	if (!rel->fires_triggers)
		return;
	old = MemoryContextSwitchTo(rel->estate->es_query_cxt);
	AfterTriggerEndQuery(rel->estate);
	MemoryContextSwitchTo(old);
	CommandCounterIncrement();
}
