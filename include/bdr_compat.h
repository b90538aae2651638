/*-------------------------------------------------------------------------
 * bdr_compat.h
 *		Every test of PG_VERSION_NUM in the project.
 *
 * NOTES
 *		PostgreSQL 15 is the oldest version that is supported.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_COMPAT_H
#define BDR_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM >= 180000
#include "access/amapi.h"
#include "access/htup_details.h"
#endif
#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#if PG_VERSION_NUM >= 180000
#include "catalog/pg_constraint.h"
#endif
#include "executor/executor.h"
#include "miscadmin.h"
#if PG_VERSION_NUM >= 160000
#include "parser/parse_relation.h"
#endif
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/rel.h"

#if PG_VERSION_NUM < 150000
#error "bdr needs PostgreSQL 15 or newer"
#endif

/* Since 18 it stands before a declaration; compilers take it there for any. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* A wait event set that lives as long as the process. */
#if PG_VERSION_NUM >= 170000
#define BdrCreateWaitEventSet(nevents) CreateWaitEventSet(NULL, (nevents))
#else
#define BdrCreateWaitEventSet(nevents) CreateWaitEventSet(TopMemoryContext, (nevents))
#endif

/* The latch that each asynchronous commit may set; NULL where it takes care. */
#if PG_VERSION_NUM >= 170000
#define BdrWalWriterLatch() ((Latch *) NULL)
#else
#define BdrWalWriterLatch() (ProcGlobal->walwriterLatch)
#endif

/* A map for rows of one descriptor to another one; NULL when they are alike. */
#if PG_VERSION_NUM >= 160000
#define bdr_attribute_map(from, to) build_attrmap_by_name_if_req(from, to, false)
#else
#define bdr_attribute_map(from, to) build_attrmap_by_name_if_req(from, to)
#endif

/* A setting by its name, or NULL. */
static inline struct config_generic *
bdr_find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, 0);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
	{
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i];
	}
	return NULL;
#endif
}

/* Does the current user own the table? */
#if PG_VERSION_NUM >= 160000
#define bdr_owns_relation(relid)	object_ownercheck(RelationRelationId, (relid), GetUserId())
#else
#define bdr_owns_relation(relid)	pg_class_ownercheck((relid), GetUserId())
#endif

/* ... the schema? */
#if PG_VERSION_NUM >= 160000
#define bdr_owns_schema(schema)	object_ownercheck(NamespaceRelationId, (schema), GetUserId())
#else
#define bdr_owns_schema(schema)	pg_namespace_ownercheck((schema), GetUserId())
#endif

/* May the role look up names in the schema? */
#if PG_VERSION_NUM >= 160000
#define bdr_schema_aclcheck(schema, role, mode)	object_aclcheck(NamespaceRelationId, (schema), (role), (mode))
#else
#define bdr_schema_aclcheck(schema, role, mode)	pg_namespace_aclcheck((schema), (role), (mode))
#endif

/* ---------------------------------------------------------------------
 * Applying rows (row/relation.c, row/decode.c, apply/change.c)
 * ---------------------------------------------------------------------
 */

/* What a table update says about the indexes that need new entries. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes BdrUpdateIndexes;

#define bdr_updates_indexes(u)		((u) != TU_None)
#define bdr_insert_index_tuples(result, slot, estate, u) \
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL, (u) == TU_Summarizing)
#define bdr_insert_new_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false)
#else
typedef bool BdrUpdateIndexes;

#define bdr_updates_indexes(u)		(u)
#define bdr_insert_index_tuples(result, slot, estate, u) \
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL)
#define bdr_insert_new_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)
#endif

#if PG_VERSION_NUM >= 180000
#define bdr_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#define bdr_primary_key_index(rel)	RelationGetPrimaryKeyIndex(rel, false)
#else
#define bdr_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#define bdr_primary_key_index(rel)	RelationGetPrimaryKeyIndex(rel)
#endif

/* A descriptor's column was copied into it. */
#if PG_VERSION_NUM >= 180000
#define bdr_attribute_was_set(desc, i)	populate_compact_attribute((desc), (i))
#else
#define bdr_attribute_was_set(desc, i)	((void) 0)
#endif

/*
 * The strategy by which an index searches its column i, from 0, for equal
 * values; InvalidStrategy: it cannot.  Since 18 any index may tell.
 */
static inline StrategyNumber
bdr_equal_strategy(Relation index, int i)
{
#if PG_VERSION_NUM >= 180000
	return IndexAmTranslateCompareType(COMPARE_EQ, index->rd_rel->relam, index->rd_opfamily[i], true);
#else
	switch (index->rd_rel->relam)
	{
		case BTREE_AM_OID:
			return BTEqualStrategyNumber;
		case HASH_AM_OID:
			return HTEqualStrategyNumber;
		default:
			return InvalidStrategy;
	}
#endif
}

/* Since 18 NOT NULL may be NOT VALID: then a row may have NULL all the same. */
#if PG_VERSION_NUM >= 180000
#define bdr_is_never_null(desc, i) \
	(TupleDescAttr(desc, i)->attnotnull && TupleDescCompactAttr(desc, i)->attnullability != ATTNULLABLE_INVALID)
#else
#define bdr_is_never_null(desc, i)	(TupleDescAttr(desc, i)->attnotnull)
#endif

/* Computed when it is read, and NULL in every row that is stored; since 18. */
#ifdef ATTRIBUTE_GENERATED_VIRTUAL
#define bdr_is_virtual(att)	((att)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define bdr_is_virtual(att)	((void) (att), false)
#endif

/* Of a foreign key in pg_constraint, both since 18. */
#if PG_VERSION_NUM >= 180000
#define bdr_is_enforced(constraint)	((constraint)->conenforced)
#define bdr_has_period(constraint)	((constraint)->conperiod)
#else
#define bdr_is_enforced(constraint)	((void) (constraint), true)
#define bdr_has_period(constraint)	((void) (constraint), false)
#endif

#if PG_VERSION_NUM >= 170000
#define bdr_index_insert_cleanup(index, info)	index_insert_cleanup(index, info)
#else
#define bdr_index_insert_cleanup(index, info)	((void) 0)
#endif

#if PG_VERSION_NUM >= 160000
#define bdr_epq_init(epq, estate)	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL)
#define bdr_truncate_guts(rels, relids, logged, behavior, restart) \
	ExecuteTruncateGuts(rels, relids, logged, behavior, restart, false)
#define bdr_origin_session_setup(origin)	replorigin_session_setup(origin, 0)
#define bdr_define_unbuilt_index(relid, create) \
	DefineIndex(relid, create, InvalidOid, InvalidOid, InvalidOid, -1, false, true, true, true, false)
#else
#define bdr_epq_init(epq, estate)	EvalPlanQualInit(epq, estate, NULL, NIL, -1)
#define bdr_truncate_guts(rels, relids, logged, behavior, restart) \
	ExecuteTruncateGuts(rels, relids, logged, behavior, restart)
#define bdr_origin_session_setup(origin)	replorigin_session_setup(origin)
#define bdr_define_unbuilt_index(relid, create) \
	DefineIndex(relid, create, InvalidOid, InvalidOid, InvalidOid, false, true, true, true, false)
#endif

#if PG_VERSION_NUM >= 180000
#define bdr_before_update_triggers(estate, epq, result, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, result, tid, NULL, slot, NULL, NULL, false)
#define bdr_before_delete_triggers(estate, epq, result, tid) \
	ExecBRDeleteTriggers(estate, epq, result, tid, NULL, NULL, NULL, NULL, false)
#elif PG_VERSION_NUM >= 160000
#define bdr_before_update_triggers(estate, epq, result, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, result, tid, NULL, slot, NULL, NULL)
#define bdr_before_delete_triggers(estate, epq, result, tid) \
	ExecBRDeleteTriggers(estate, epq, result, tid, NULL, NULL, NULL, NULL)
#else
#define bdr_before_update_triggers(estate, epq, result, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, result, tid, NULL, slot, NULL)
#define bdr_before_delete_triggers(estate, epq, result, tid) \
	ExecBRDeleteTriggers(estate, epq, result, tid, NULL, NULL)
#endif

/*
 * Give *estate one range table entry for rel, with these updated columns
 * (offset as in pg_attribute bitmaps).  The caller owns the lock.
 */
static inline void
bdr_init_range_table(EState *estate, Relation rel, Bitmapset *updated)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
#if PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;
	RTEPermissionInfo *info;
#endif

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = AccessShareLock;
#if PG_VERSION_NUM >= 180000
	info = addRTEPermissionInfo(&permissions, rte);
	info->updatedCols = updated;
	ExecInitRangeTable(estate, list_make1(rte), permissions, bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	info = addRTEPermissionInfo(&permissions, rte);
	info->updatedCols = updated;
	ExecInitRangeTable(estate, list_make1(rte), permissions);
#else
	rte->updatedCols = updated;
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/*
 * The columns that the update in hand changes, of bdr_init_range_table's rel.
 */
static inline void
bdr_set_updated_columns(EState *estate, Bitmapset *updated)
{
#if PG_VERSION_NUM >= 160000
	linitial_node(RTEPermissionInfo, estate->es_rteperminfos)->updatedCols = updated;
#else
	linitial_node(RangeTblEntry, estate->es_range_table)->updatedCols = updated;
#endif
}

/*
 * The old and new row of a decoded change are bare HeapTuples since 17.
 * The argument is change->data.tp.oldtuple or .newtuple, which may be NULL.
 */
#if PG_VERSION_NUM >= 170000
#define BDR_DECODED_TUPLE(field) (field)
#else
#define BDR_DECODED_TUPLE(field) ((field) != NULL ? &(field)->tuple : NULL)
#endif

/* The xid argument went away in 16; it was never looked at. */
#if PG_VERSION_NUM >= 160000
#define BDR_DECODING_SNAPSHOT(builder) SnapBuildGetOrBuildSnapshot(builder)
#else
#define BDR_DECODING_SNAPSHOT(builder) \
	SnapBuildGetOrBuildSnapshot((builder), InvalidTransactionId)
#endif

/*
 * Until 15 an output plugin must report progress itself during a transaction
 * of which it sends little, or the receiver times out.
 */
#define BDR_PLUGIN_REPORTS_PROGRESS (PG_VERSION_NUM < 160000)

/* The n-th process, from 1, as far as statistics know; needs backend_status.h. */
#if PG_VERSION_NUM >= 160000
#define bdr_backend_entry(n)	pgstat_get_local_beentry_by_index(n)
#else
#define bdr_backend_entry(n)	pgstat_fetch_stat_local_beentry(n)
#endif

/* Varlena macros have a header of their own since 16. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Of the transaction of this process; needs storage/proc.h. */
#if PG_VERSION_NUM >= 170000
#define bdr_local_xid()		(MyProc->vxid.lxid)
#else
#define bdr_local_xid()		(MyProc->lxid)
#endif

/* Limits of transaction ids; needs access/transam.h. */
#if PG_VERSION_NUM >= 170000
#define BdrTransamVariables	TransamVariables
#else
#define BdrTransamVariables	ShmemVariableCache
#endif

/* Is this a worker of autovacuum?  Needs postmaster/autovacuum.h or miscadmin.h. */
#if PG_VERSION_NUM >= 170000
#define bdr_is_autovacuum_worker()	AmAutoVacuumWorkerProcess()
#else
#define bdr_is_autovacuum_worker()	IsAutoVacuumWorkerProcess()
#endif

/* A message in WAL, outside of any transaction; it is not flushed yet. */
#if PG_VERSION_NUM >= 170000
#define BDR_LOG_MESSAGE(prefix, content, size) \
	LogLogicalMessage((prefix), (content), (size), false, false)
#else
#define BDR_LOG_MESSAGE(prefix, content, size) \
	LogLogicalMessage((prefix), (content), (size), false)
#endif

/* A new physical slot, and one that is there; neither waits. */
#if PG_VERSION_NUM >= 170000
#define bdr_slot_create(name) \
	ReplicationSlotCreate((name), false, RS_PERSISTENT, false, false, false)
#else
#define bdr_slot_create(name) \
	ReplicationSlotCreate((name), false, RS_PERSISTENT, false)
#endif
#if PG_VERSION_NUM >= 180000
#define bdr_slot_acquire(name)	ReplicationSlotAcquire((name), true, false)
#else
#define bdr_slot_acquire(name)	ReplicationSlotAcquire((name), true)
#endif

/*
 * Do the standbys that synchronized_standby_slots names have the WAL up to
 * there?  And does the walsender wait for them before it sends?  Both since 17;
 * nothing is logged.  Need replication/slot.h.
 */
#if PG_VERSION_NUM >= 170000
#define bdr_standbys_have(lsn)	StandbySlotsHaveCaughtup((lsn), DEBUG5)
#define bdr_sender_waits_for_standbys(lsn) \
	(MyReplicationSlot != NULL && MyReplicationSlot->data.failover && !bdr_standbys_have(lsn))
#else
#define bdr_standbys_have(lsn)	(true)
#define bdr_sender_waits_for_standbys(lsn)	(false)
#endif

/* JSON is parsed without its escapes being kept. */
#if PG_VERSION_NUM >= 170000
#define bdr_json_lex(data, size) \
	makeJsonLexContextCstringLen(NULL, (data), (size), GetDatabaseEncoding(), false)
#define bdr_json_lex_free(lex)	freeJsonLexContext(lex)
#else
#define bdr_json_lex(data, size) \
	makeJsonLexContextCstringLen(unconstify(char *, (data)), (size), GetDatabaseEncoding(), false)
#define bdr_json_lex_free(lex)	pfree(lex)
#endif

#ifdef WORDS_BIGENDIAN
#define BDR_BYTE_ORDER "be"
#else
#define BDR_BYTE_ORDER "le"
#endif

/* A server of this version has intervals that are infinite, by bytes that are finite before. */
#define BDR_HAS_INFINITE_INTERVALS(version)	((version) >= 170000)

/*
 * What internal form of values depends on, besides the server's major version;
 * bdr.internal_architecture() and the output plugin compare it.  A test may say
 * something else; the setting is bdr.so's, of which the plugin knows nothing else.
 */
static inline const char *
bdr_architecture(char *text, Size size)
{
	const char *pretended = GetConfigOption("bdr.debug_architecture", true, false);

	if (pretended != NULL && pretended[0] != '\0')
	{
		strlcpy(text, pretended, size);
		return text;
	}
	snprintf(text, size, "%s:datum%d:float8%s:maxalign%d:toast%dk:blcksz%d:namedata%d",
			 BDR_BYTE_ORDER, (int) sizeof(Datum),
			 FLOAT8PASSBYVAL ? "byval" : "byref",
			 MAXIMUM_ALIGNOF, BLCKSZ / 4 / 1024, BLCKSZ, NAMEDATALEN);
	return text;
}

/* ---------------------------------------------------------------------
 * Sequences (base/sequence.c, session/sequence)
 * ---------------------------------------------------------------------
 */

/* Where the file of a relation is; mapped relations have none of these. */
#if PG_VERSION_NUM >= 160000
typedef RelFileLocator BdrLocator;

#define bdr_relation_locator(rel)			((rel)->rd_locator)
#define bdr_sequence_record_locator(record)	((record)->locator)
#define bdr_locators_equal(a, b)			RelFileLocatorEquals(a, b)
#else
typedef RelFileNode BdrLocator;

#define bdr_relation_locator(rel)			((rel)->rd_node)
#define bdr_sequence_record_locator(record)	((record)->node)
#define bdr_locators_equal(a, b)			RelFileNodeEquals(a, b)
#endif

static inline BdrLocator
bdr_locator_of(Form_pg_class form)
{
	BdrLocator	locator;

#if PG_VERSION_NUM >= 160000
	locator.spcOid = OidIsValid(form->reltablespace) ? form->reltablespace : MyDatabaseTableSpace;
	locator.dbOid = MyDatabaseId;
	locator.relNumber = form->relfilenode;
#else
	locator.spcNode = OidIsValid(form->reltablespace) ? form->reltablespace : MyDatabaseTableSpace;
	locator.dbNode = MyDatabaseId;
	locator.relNode = form->relfilenode;
#endif
	return locator;
}

/* What pg_dump reads the position of a sequence with; before 18, SELECT. */
#if PG_VERSION_NUM >= 180000
#define BDR_F_PG_GET_SEQUENCE_DATA	F_PG_GET_SEQUENCE_DATA
#else
#define BDR_F_PG_GET_SEQUENCE_DATA	InvalidOid
#endif

/* May the current user call the function? */
#if PG_VERSION_NUM >= 160000
#define bdr_may_execute(function)	(object_aclcheck(ProcedureRelationId, (function), GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#else
#define bdr_may_execute(function)	(pg_proc_aclcheck((function), GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* The expression that a COPY FROM may use for a column, from 0; NULL: there is none. */
#if PG_VERSION_NUM >= 160000
#define bdr_copy_default(cstate, i)	(&(cstate)->defexprs[i])
#else
#define bdr_copy_default(cstate, i) \
	bdr_copy_default_of((cstate)->defmap, (cstate)->defexprs, (cstate)->num_defaults, (i))

static inline ExprState **
bdr_copy_default_of(const int *columns, ExprState **states, int n, int column)
{
	for (int i = 0; i < n; i++)
	{
		if (columns[i] == column)
			return &states[i];
	}
	return NULL;
}
#endif

/* Rights on the table of a COPY FROM. */
#if PG_VERSION_NUM >= 160000
#define bdr_copy_inserted(nsitem)			((nsitem)->p_perminfo->insertedCols)
#define bdr_copy_required(nsitem)			((nsitem)->p_perminfo->requiredPerms)
#define bdr_copy_check(pstate, nsitem)		ExecCheckPermissions((pstate)->p_rtable, list_make1((nsitem)->p_perminfo), true)
#else
#define bdr_copy_inserted(nsitem)			((nsitem)->p_rte->insertedCols)
#define bdr_copy_required(nsitem)			((nsitem)->p_rte->requiredPerms)
#define bdr_copy_check(pstate, nsitem)		ExecCheckRTPerms((pstate)->p_rtable, true)
#endif

/* Whose rights count for a relation of a query; InvalidOid: the current user's. */
static inline Oid
bdr_check_as_user(const Query *query, const RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 160000
	return rte->perminfoindex > 0 ? getRTEPermissionInfo(query->rteperminfos, (RangeTblEntry *) rte)->checkAsUser : InvalidOid;
#else
	return rte->checkAsUser;
#endif
}

/* The name of the constraint that a column is not null by; NULL: it has none. */
static inline char *
bdr_not_null_name(Oid relid, AttrNumber attnum)
{
#if PG_VERSION_NUM >= 180000
	HeapTuple	tuple = findNotNullConstraintAttnum(relid, attnum);

	return HeapTupleIsValid(tuple) ? pstrdup(NameStr(((Form_pg_constraint) GETSTRUCT(tuple))->conname)) : NULL;
#else
	return NULL;
#endif
}

#endif							/* BDR_COMPAT_H */
