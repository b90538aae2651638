/*-------------------------------------------------------------------------
 * ddl/queue.c
 *		bdr.queue: what puts a statement between the rows around it.
 *
 * NOTES
 *		A row of the table is a statement; the output plugin sends it when it
 *		meets the insert in WAL.  The row is deleted at once: nobody needs it
 *		any more.  Only this file writes to the table, whoever's transaction it
 *		is, so that a statement is what its role has really done
 *		(docs/decisions/0027-ddl-queue.md).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/tables.h"
#include "ddl/queue.h"

PG_FUNCTION_INFO_V1(bdr_internal_refuse_queue);

static void insert(char type, const BdrStatement *statement, ItemPointer row);
static Datum sets_array(const BdrStatement *statement);
static Datum settings_array(const BdrStatement *statement);

void
bdr_queue_insert(const BdrStatement *statement, ItemPointer row)
{
	insert(BDR_QUEUE_DDL, statement, row);
}

static void
insert(char type, const BdrStatement *statement, ItemPointer row)
{
	Relation	queue = bdr_catalog_open("queue", RowExclusiveLock);
	Datum		values[BDR_QUEUE_COLUMNS];
	bool		nulls[BDR_QUEUE_COLUMNS] = {false};
	NameData	role;
	HeapTuple	tuple;

	namestrcpy(&role, statement->role);
	values[BDR_QUEUE_QUEUED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[BDR_QUEUE_ROLE - 1] = NameGetDatum(&role);
	nulls[BDR_QUEUE_REPLICATION_SETS - 1] = statement->nsets == 0;
	values[BDR_QUEUE_REPLICATION_SETS - 1] = statement->nsets == 0 ? (Datum) 0 : sets_array(statement);
	values[BDR_QUEUE_MESSAGE_TYPE - 1] = CharGetDatum(type);
	values[BDR_QUEUE_MESSAGE - 1] = CStringGetTextDatum(type == BDR_QUEUE_DDL ? statement->text : "");
	values[BDR_QUEUE_SETTINGS - 1] = settings_array(statement);
	values[BDR_QUEUE_ROLE_SUPERUSER - 1] = BoolGetDatum(statement->is_superuser);
	tuple = heap_form_tuple(RelationGetDescr(queue), values, nulls);
	/* the transaction that a CONCURRENTLY ends in has none */
	PushActiveSnapshot(GetTransactionSnapshot());
	simple_heap_insert(queue, tuple);
	PopActiveSnapshot();
	*row = tuple->t_self;
	heap_freetuple(tuple);
	table_close(queue, NoLock);
}

static Datum
sets_array(const BdrStatement *statement)
{
	Datum	   *texts = palloc(statement->nsets * sizeof(Datum));

	for (int i = 0; i < statement->nsets; i++)
		texts[i] = CStringGetTextDatum(statement->sets[i]);
	return PointerGetDatum(construct_array(texts, statement->nsets, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Name, value, name, value. */
static Datum
settings_array(const BdrStatement *statement)
{
	Datum	   *texts = palloc(2 * statement->nsettings * sizeof(Datum));

	for (int i = 0; i < statement->nsettings; i++)
	{
		texts[2 * i] = CStringGetTextDatum(statement->settings[i].name);
		texts[2 * i + 1] = CStringGetTextDatum(statement->settings[i].value);
	}
	return PointerGetDatum(construct_array(texts, 2 * statement->nsettings, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * A long statement lies in the TOAST table, of which a snapshot is asked for.
 */
void
bdr_queue_remove(ItemPointer row)
{
	Relation	queue = bdr_catalog_open("queue", RowExclusiveLock);

	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	simple_heap_delete(queue, row);
	PopActiveSnapshot();
	table_close(queue, NoLock);
	CommandCounterIncrement();
}

void
bdr_queue_add(const BdrStatement *statement)
{
	ItemPointerData row;

	bdr_queue_insert(statement, &row);
	bdr_queue_remove(&row);
}

/* Scripts of extensions fill tables. */
bool
bdr_queue_is_opened_by(Node *statement)
{
	return IsA(statement, CreateExtensionStmt) || IsA(statement, AlterExtensionStmt);
}

void
bdr_queue_open(const BdrStatement *statement)
{
	ItemPointerData row;

	insert(BDR_QUEUE_PART, statement, &row);
	bdr_queue_remove(&row);
}

/* A trigger; what this file does fires none. */
Datum
bdr_internal_refuse_queue(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot write to table \"bdr.queue\""),
			 errdetail("What is in it runs on all nodes."),
			 errhint("Use bdr.replicate_ddl_command().")));
}
