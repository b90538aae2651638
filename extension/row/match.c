/*-------------------------------------------------------------------------
 * row/match.c
 *		May changes of a peer's table go to the local table of that name?
 *
 * NOTES
 *		Names are all that tables have in common, and whoever may create a
 *		table on one node can take a name there.  He must not read what others
 *		write to their table on another node, nor feed it.  So a table matches
 *		that is permanent and has the same owner, by name; one of a superuser
 *		matches one of another superuser.
 *
 *		A leaf that a row is routed to was put below its root by the root's
 *		owner, so that one counts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/bdr.h"
#include "base/settings.h"
#include "base/user_context.h"
#include "row/match.h"

static void check_ours(BdrRelation *rel, Relation local);
static void check_kind(BdrRelation *rel, Relation local);
static void check_permanence(BdrRelation *rel, Relation local);
static char *sql_name(Oid relid);

/*
 * local is what rel stands for, or a leaf of it.
 */
void
bdr_match_check(BdrRelation *rel, Relation local)
{
	check_kind(rel, local);
	check_ours(rel, local);
	check_permanence(rel, local);
	if (!OidIsValid(rel->leaf_relid))
		bdr_match_owner(rel, RelationGetRelid(local), rel->via_root ? &rel->root_owner : &rel->owner_there);
}

/*
 * The tables that the server, and we, live on are nobody's to send.
 */
static void
check_ours(BdrRelation *rel, Relation local)
{
	char	   *schema;

	if (!IsCatalogRelation(local))
	{
		schema = get_namespace_name(RelationGetNamespace(local));
		if (schema == NULL || strcmp(schema, BDR_SCHEMA) != 0)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot apply changes to system table \"%s.%s\"", rel->schema, rel->name),
			 errdetail("Node \"%s\" must not send changes of it.", rel->apply->peer.name)));
}

static void
check_kind(BdrRelation *rel, Relation local)
{
	char		relkind = local->rd_rel->relkind;

	if (relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("cannot apply changes to relation \"%s.%s\"", rel->schema, rel->name),
			 errdetail("It is not a table here, but it is one on node \"%s\".", rel->apply->peer.name),
			 errhint("Define it in the same way on all nodes.")));
}

static void
check_permanence(BdrRelation *rel, Relation local)
{
	bool		is_unlogged = local->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED;

	if (local->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot apply changes to %s table \"%s.%s\"", is_unlogged ? "unlogged" : "temporary",
					get_namespace_name(RelationGetNamespace(local)), RelationGetRelationName(local)),
			 errdetail("It is a permanent table on node \"%s\"; here its rows would be gone after a crash.", rel->apply->peer.name),
			 is_unlogged ?
			 errhint("Use ALTER TABLE %s SET LOGGED; replication then continues by itself.",
					 sql_name(RelationGetRelid(local))) :
			 errhint("Drop it, and create a permanent table; replication then continues by itself.")));
}

/*
 * there is the owner of the peer's table of that name.
 */
void
bdr_match_owner(BdrRelation *rel, Oid relid, const BdrOwnerThere *there)
{
	Oid			here = bdr_owner_of(relid);
	char	   *name;

	if (!OidIsValid(here))
		return;
	name = GetUserNameFromId(here, false);
	if (bdr_match_is_owner(name, superuser_arg(here), there))
	{
		pfree(name);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("table \"%s.%s\" has another owner on node \"%s\"",
					get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid), rel->apply->peer.name),
			 errdetail("It belongs to %s\"%s\" there, and to %s\"%s\" here.",
					   there->is_superuser ? "superuser " : "", there->name,
					   superuser_arg(here) ? "superuser " : "", name),
			 errhint("Use ALTER TABLE %s OWNER TO ... on one of the nodes, or set \"bdr.match_table_owner\" to off in the configuration here; replication then continues by itself.",
					 sql_name(relid))));
}

/*
 * Is an owner of this name as good as the peer's?
 */
bool
bdr_match_is_owner(const char *name, bool is_superuser, const BdrOwnerThere *there)
{
	return !bdr_match_table_owner || (is_superuser && there->is_superuser) || strcmp(name, there->name) == 0 ||
		(there->name_then != NULL && strcmp(name, there->name_then) == 0);
}

static char *
sql_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}
