/*-------------------------------------------------------------------------
 * output/relation.c
 *		Relations as they are sent: which columns, in which form, under which
 *		names.
 *
 * NOTES
 *		An entry is made from the catalogs as they were at the change at hand,
 *		and made anew after an invalidation.  The subscriber hears of it only
 *		when that changes what it was told.
 *
 *		Tables come and go.  Those that were dropped are forgotten, and those
 *		that were not met for long once there are too many; the subscriber is
 *		told, and forgets them too.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/bdr.h"
#include "base/form.h"
#include "base/tables.h"
#include "output/frame.h"
#include "output/owner.h"
#include "output/relation.h"
#include "output/replication_set.h"
#include "output/tombstone.h"
#include "bdr_compat.h"

/* Relations that are remembered from one transaction to the next. */
#define BDR_SENT_MAX			4096

/* New ones after which it is looked for those that are gone. */
#define BDR_SENT_NEW_MAX		128

typedef bool (*IsConcerned) (const BdrSentRelation *sent, uint32 hash);

static void relation_build(BdrOutput *output, BdrSentRelation *sent, Relation relation);
static void relation_build_root(BdrOutput *output, BdrSentRelation *sent,
								Relation relation);
static char *schema_name(Oid schema, uint32 *hash);
static void relation_build_columns(BdrOutput *output, BdrSentRelation *sent,
								   Relation relation);
static void relation_build_column(BdrOutput *output, BdrSentRelation *sent,
								  Form_pg_attribute att);
static Oid	owner_then(Oid relid);
static void note_owner_of_then(const BdrOutput *output, BdrSentRelation *sent, BdrSentOwner *owner, uint8 flag);
static void relation_describe(BdrSentRelation *sent, TupleDesc desc, StringInfo buf);
static char column_format(const BdrOutput *output, Oid base_type, int32 typmod);
static void remember_type(BdrSentRelation *sent, Oid type);

static void relation_forget(BdrOutput *output, BdrSentRelation *sent);

static void relation_changed(Datum arg, Oid relid);
static void type_changed(Datum arg, int cache, uint32 hash);
static void schema_changed(Datum arg, int cache, uint32 hash);
static void role_changed(Datum arg, int cache, uint32 hash);
static void invalidate(IsConcerned is_concerned, uint32 hash);
static bool is_root(const BdrSentRelation *sent, uint32 relid);
static bool has_type(const BdrSentRelation *sent, uint32 hash);
static bool is_in_schema(const BdrSentRelation *sent, uint32 hash);

/* The session whose cache invalidations concern; there is never a second. */
static BdrOutput *current_session = NULL;

/*
 * Callbacks cannot be taken back, so each is registered once per process.
 */
void
bdr_sent_start(BdrOutput *output)
{
	static bool registered = false;
	HASHCTL		control = {.hcxt = output->cache_context};

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(BdrSentRelation);
	output->relations = hash_create("bdr sent relations", 128, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	current_session = output;
	if (registered)
		return;
	registered = true;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, type_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, role_changed, (Datum) 0);
}

void
bdr_sent_end(BdrOutput *output)
{
	if (current_session == output)
		current_session = NULL;
}

/*
 * What is known about a relation, up to date with respect to the snapshot of
 * the change at hand.  The answer lives until the session ends, its contents
 * until the next call.
 */
BdrSentRelation *
bdr_sent_find(BdrOutput *output, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	BdrSentRelation *sent = output->last_relation;
	bool		found;

	if (sent != NULL && sent->relid == relid && sent->valid)
		return sent;

	sent = hash_search(output->relations, &relid, HASH_ENTER, &found);
	if (!found)
	{
		memset(sent, 0, sizeof(BdrSentRelation));
		sent->relid = relid;
		output->new_relations++;
	}
	sent->used = ++output->relation_looks;
	if (!sent->valid)
		relation_build(output, sent, relation);
	output->last_relation = sent;
	return sent;
}

/*
 * valid is set first, so that an invalidation during the work makes the next
 * change do it again.
 */
static void
relation_build(BdrOutput *output, BdrSentRelation *sent, Relation relation)
{
	MemoryContext previous;
	Form_pg_class form = relation->rd_rel;

	if (sent->context == NULL)
		sent->context = AllocSetContextCreate(output->cache_context, "bdr sent relation",
											  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(sent->context);
	previous = MemoryContextSwitchTo(sent->context);

	sent->valid = true;
	sent->schema = schema_name(form->relnamespace, &sent->schema_hash);
	sent->name = pstrdup(NameStr(form->relname));
	sent->identity = form->relreplident;
	sent->is_truncated = (form->relkind == RELKIND_RELATION ||
						  form->relkind == RELKIND_PARTITIONED_TABLE) &&
		form->relpersistence == RELPERSISTENCE_PERMANENT &&
		strcmp(sent->schema, BDR_SCHEMA) != 0;
	sent->is_sent = sent->is_truncated && form->relkind == RELKIND_RELATION;
	sent->tombstone = output->all_origins && strcmp(sent->schema, BDR_SCHEMA) == 0 && bdr_catalog_has(sent->relid) ?
		bdr_tombstone_kind(sent) : '\0';
	sent->is_queue = strcmp(sent->schema, BDR_SCHEMA) == 0 && strcmp(sent->name, "queue") == 0 && bdr_catalog_has(sent->relid);
	sent->ncolumns = 0;
	sent->ntypes = 0;
	relation_build_root(output, sent, relation);
	if (sent->is_truncated || sent->is_queue)
		bdr_sets_build(output, sent, relation);
	if (sent->is_truncated)
	{
		relation_build_columns(output, sent, relation);
		sent->is_sent &= (sent->actions & BDR_SENT_ROWS) != 0;
		sent->is_truncated = (sent->actions & BDR_SENT_TRUNCATE) != 0;
	}
	MemoryContextSwitchTo(previous);
}

/*
 * Which table this one is a partition of, in the end.  A peer that does not
 * have this partition finds the place of its rows from there.
 */
static void
relation_build_root(BdrOutput *output, BdrSentRelation *sent, Relation relation)
{
	Oid			identity;

	sent->flags = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
		BDR_RELATION_PARTITIONED : 0;
	sent->ancestors = NIL;
	sent->root = InvalidOid;
	sent->root_schema_hash = 0;
	sent->root_schema = "";
	sent->root_name = "";
	sent->root_owner.name[0] = '\0';
	if (!sent->is_truncated)
		return;
	bdr_sent_owner(sent->relid, relation->rd_rel->relowner, &sent->owner);
	if (sent->owner.is_superuser)
		sent->flags |= BDR_RELATION_OWNER_SUPERUSER;
	note_owner_of_then(output, sent, &sent->owner, BDR_RELATION_OWNER_OF_THEN);
	if (!relation->rd_rel->relispartition)
		return;
	output->has_partitions = true;
	sent->ancestors = get_partition_ancestors(sent->relid);
	if (sent->ancestors == NIL) /* being detached */
		return;

	sent->root = llast_oid(sent->ancestors);
	sent->root_schema = schema_name(get_rel_namespace(sent->root), &sent->root_schema_hash);
	sent->root_name = get_rel_name(sent->root);
	if (sent->root_name == NULL)
		elog(ERROR, "cache lookup failed for relation %u", sent->root);
	bdr_sent_owner(sent->root, owner_then(sent->root), &sent->root_owner);
	if (sent->root_owner.is_superuser)
		sent->flags |= BDR_RELATION_ROOT_OWNER_SUPERUSER;
	note_owner_of_then(output, sent, &sent->root_owner, BDR_RELATION_ROOT_OWNER_OF_THEN);
	identity = RelationGetReplicaIndex(relation);
	if (OidIsValid(identity) &&
		list_length(get_partition_ancestors(identity)) == list_length(sent->ancestors))
		sent->flags |= BDR_RELATION_UNIQUE_IN_ROOT;
}

static Oid
owner_then(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Where ALTER TABLE ... OWNER TO comes behind this in the stream, the table of the
 * peer is still that of the owner before.
 */
static void
note_owner_of_then(const BdrOutput *output, BdrSentRelation *sent, BdrSentOwner *owner, uint8 flag)
{
	if (output->protocol >= BDR_WIRE_VERSION_STATEMENT && owner->name_then[0] != '\0')
		sent->flags |= flag;
}

static char *
schema_name(Oid schema, uint32 *hash)
{
	char	   *name = get_namespace_name(schema);

	if (name == NULL)
		elog(ERROR, "cache lookup failed for schema %u", schema);
	*hash = GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(schema));
	return name;
}

static void
relation_build_columns(BdrOutput *output, BdrSentRelation *sent, Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);
	Bitmapset  *key = RelationGetIdentityKeyBitmap(relation);
	bool		is_full = sent->identity == REPLICA_IDENTITY_FULL;
	StringInfoData described;

	sent->columns = palloc0(desc->natts * sizeof(BdrSentColumn));
	sent->type_hashes = palloc(2 * desc->natts * sizeof(uint32));
	sent->has_identity = is_full;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		BdrSentColumn *column = &sent->columns[sent->ncolumns];
		bool		in_key = bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, key);

		/* a generated column is sent only where rows are found by it */
		if (att->attisdropped || (att->attgenerated != '\0' && (is_full || !in_key)))
			continue;
		if (!sent->all_columns && !bms_is_member(att->attnum, sent->listed))
			continue;
		relation_build_column(output, sent, att);
		column->is_key = is_full || in_key;
		sent->has_identity |= column->is_key;
	}

	initStringInfo(&described);
	relation_describe(sent, desc, &described);
	if (sent->described == NULL)
	{
		MemoryContextSwitchTo(output->cache_context);
		sent->described = makeStringInfo();
		MemoryContextSwitchTo(sent->context);
	}
	if (sent->described->len == described.len &&
		memcmp(sent->described->data, described.data, described.len) == 0)
		return;
	resetStringInfo(sent->described);
	appendBinaryStringInfo(sent->described, described.data, described.len);
	sent->announced = false;
}

/*
 * Append one column, with its form chosen.
 */
static void
relation_build_column(BdrOutput *output, BdrSentRelation *sent,
					  Form_pg_attribute att)
{
	BdrSentColumn *column = &sent->columns[sent->ncolumns++];
	int32		typmod = att->atttypmod;
	Oid			base_type = getBaseTypeAndTypmod(att->atttypid, &typmod);
	Oid			function = InvalidOid;
	bool		is_varlena;

	column->index = att->attnum - 1;
	column->byval = att->attbyval;
	column->length = att->attlen;
	column->format = column_format(output, base_type, typmod);
	if (column->format == BDR_FORMAT_BINARY)
		getTypeBinaryOutputInfo(base_type, &function, &is_varlena);
	else if (base_type == XMLOID && column->format == BDR_FORMAT_TEXT)
		function = F_TEXTOUT;	/* it is stored as a text */
	else if (column->format == BDR_FORMAT_TEXT)
		getTypeOutputInfo(base_type, &function, &is_varlena);
	if (OidIsValid(function))
		fmgr_info_cxt(function, &column->function, sent->context);
	remember_type(sent, att->atttypid);
	remember_type(sent, base_type);
}

/*
 * The form in which a column travels.  Without internal form, OIDs above
 * FirstGenbkiObjectId are not the same either: they are drawn anew in each
 * major version.  An infinite interval has the bytes of the largest one of older
 * servers; as text it is refused there, and that one here.  The functions of xml
 * leave out the XML declaration, with which xml_in stores a document.
 */
static char
column_format(const BdrOutput *output, Oid base_type, int32 typmod)
{
	Oid			element = get_element_type(base_type);
	char		best = bdr_form_best(base_type, typmod);

	if (best == BDR_FORMAT_TEXT || output->best_format == BDR_FORMAT_INTERNAL)
		return best;
	if (base_type >= FirstGenbkiObjectId || element >= FirstGenbkiObjectId)
		return BDR_FORMAT_TEXT;
	if ((base_type == INTERVALOID || element == INTERVALOID) &&
		BDR_HAS_INFINITE_INTERVALS(output->server_version) != BDR_HAS_INFINITE_INTERVALS(PG_VERSION_NUM))
		return BDR_FORMAT_TEXT;
	return base_type == XMLOID ? BDR_FORMAT_TEXT : BDR_FORMAT_BINARY;
}

/* The server's own types never change. */
static void
remember_type(BdrSentRelation *sent, Oid type)
{
	if (type >= FirstUnpinnedObjectId)
		sent->type_hashes[sent->ntypes++] =
			GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(type));
}

/*
 * The body of RELATION.  A domain is described as its base type: that is what
 * the form of its values depends on.
 */
static void
relation_describe(BdrSentRelation *sent, TupleDesc desc, StringInfo buf)
{
	pq_sendint32(buf, sent->relid);
	pq_sendbyte(buf, sent->identity);
	pq_sendbyte(buf, sent->flags);
	bdr_wire_append_name(buf, sent->schema);
	bdr_wire_append_name(buf, sent->name);
	bdr_wire_append_name(buf, sent->root_schema);
	bdr_wire_append_name(buf, sent->root_name);
	bdr_wire_append_name(buf, sent->owner.name);
	bdr_wire_append_name(buf, sent->root_owner.name);
	if (sent->flags & BDR_RELATION_OWNER_OF_THEN)
		bdr_wire_append_name(buf, sent->owner.name_then);
	if (sent->flags & BDR_RELATION_ROOT_OWNER_OF_THEN)
		bdr_wire_append_name(buf, sent->root_owner.name_then);
	pq_sendint16(buf, sent->ncolumns);
	for (int i = 0; i < sent->ncolumns; i++)
	{
		BdrSentColumn *column = &sent->columns[i];
		Form_pg_attribute att = TupleDescAttr(desc, column->index);
		int32		typmod = att->atttypmod;
		Oid			type = getBaseTypeAndTypmod(att->atttypid, &typmod);
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
		Form_pg_type form;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for type %u", type);
		form = (Form_pg_type) GETSTRUCT(tuple);
		pq_sendbyte(buf, column->is_key ? BDR_COLUMN_KEY : 0);
		pq_sendbyte(buf, column->format);
		pq_sendint32(buf, type);
		pq_sendint32(buf, typmod);
		pq_sendint16(buf, column->length);
		bdr_wire_append_name(buf, NameStr(att->attname));
		bdr_wire_append_name(buf, get_namespace_name(form->typnamespace));
		bdr_wire_append_name(buf, NameStr(form->typname));
		ReleaseSysCache(tuple);
	}
}

void
bdr_sent_announce(BdrOutput *output, BdrSentRelation *sent)
{
	if (sent->announced)
		return;
	bdr_wire_write_relation(output, sent);
	sent->announced = true;
}

/*-------------------------------------------------------------------------
 * Forgetting.
 *-------------------------------------------------------------------------
 */

/*
 * To be called between transactions, with the catalogs at hand.  Entries are
 * numbered by their last use, so those above the limit are above a number.
 */
void
bdr_sent_trim(BdrOutput *output)
{
	uint64		oldest = 0;
	HASH_SEQ_STATUS status;
	BdrSentRelation *sent;
	Oid		   *announced;
	int			nannounced = 0;

	if (likely(output->new_relations < BDR_SENT_NEW_MAX))
		return;
	output->new_relations = 0;
	output->last_relation = NULL;
	if (hash_get_num_entries(output->relations) > BDR_SENT_MAX)
		oldest = output->relation_looks - Min(output->relation_looks, BDR_SENT_MAX * 3 / 4);
	announced = palloc(hash_get_num_entries(output->relations) * sizeof(Oid));
	hash_seq_init(&status, output->relations);
	while ((sent = hash_seq_search(&status)) != NULL)
	{
		if (sent->used > oldest && (sent->valid || SearchSysCacheExists1(RELOID, ObjectIdGetDatum(sent->relid))))
			continue;
		if (sent->announced)
			announced[nannounced++] = sent->relid;
		relation_forget(output, sent);
	}
	if (nannounced > 0)
		bdr_wire_write_forget(output, nannounced, announced);
	pfree(announced);
}

static void
relation_forget(BdrOutput *output, BdrSentRelation *sent)
{
	if (sent->context != NULL)
		MemoryContextDelete(sent->context);
	if (sent->described != NULL)
	{
		pfree(sent->described->data);
		pfree(sent->described);
	}
	hash_search(output->relations, &sent->relid, HASH_REMOVE, NULL);
}

/*-------------------------------------------------------------------------
 * Invalidation.
 *-------------------------------------------------------------------------
 */

/*
 * relid may be InvalidOid: every relation.  So may be what one of the tables about
 * replication sets says.  A partition carries the name of its root, which may be what
 * has changed.
 */
static void
relation_changed(Datum arg, Oid relid)
{
	BdrSentRelation *sent;

	if (current_session == NULL)
		return;
	if (unlikely(bdr_sets_are_in(current_session, relid)))
		relid = InvalidOid;
	if (OidIsValid(relid))
	{
		sent = hash_search(current_session->relations, &relid, HASH_FIND, NULL);
		if (sent != NULL)
			sent->valid = false;
		if (!current_session->has_partitions)
			return;
	}
	invalidate(is_root, relid);
}

static void
type_changed(Datum arg, int cache, uint32 hash)
{
	invalidate(has_type, hash);
}

static void
schema_changed(Datum arg, int cache, uint32 hash)
{
	invalidate(is_in_schema, hash);
}

/* Roles change rarely, and the subscriber hears of what concerns it only. */
static void
role_changed(Datum arg, int cache, uint32 hash)
{
	invalidate(NULL, 0);
}

/* A hash, or an oid, of 0 means all there are. */
static void
invalidate(IsConcerned is_concerned, uint32 hash)
{
	HASH_SEQ_STATUS status;
	BdrSentRelation *sent;

	if (current_session == NULL)
		return;
	hash_seq_init(&status, current_session->relations);
	while ((sent = hash_seq_search(&status)) != NULL)
		if (hash == 0 || is_concerned(sent, hash))
			sent->valid = false;
}

static bool
is_root(const BdrSentRelation *sent, uint32 relid)
{
	return sent->root == relid;
}

static bool
has_type(const BdrSentRelation *sent, uint32 hash)
{
	for (int i = 0; i < sent->ntypes; i++)
		if (sent->type_hashes[i] == hash)
			return true;
	return false;
}

static bool
is_in_schema(const BdrSentRelation *sent, uint32 hash)
{
	return sent->schema_hash == hash || sent->root_schema_hash == hash;
}
