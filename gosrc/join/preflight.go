package join

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"bdr/gosrc/catalog"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/release"
)

// The checks of this file are pure: they look at facts and refuse with a
// reason, a detail and a way out. Nothing has been changed when they do.

var (
	nodeNameForm  = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)
	groupNameForm = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)
)

// outputPlugin must be allowed by output_plugin_libraries where that exists.
const outputPlugin = "bdr_output"

// CheckNodeName refuses a malformed name.
func CheckNodeName(name string) *pgerr.Error {
	if nodeNameForm.MatchString(name) {
		return nil
	}
	return pgerr.New(pgerr.InvalidName, "invalid node name %q", name).
		WithDetail("A node name has 1 to 63 lower-case letters, digits, hyphens and underscores.").
		WithHint("Choose a name such as \"node_a\".")
}

// CheckGroupName refuses a malformed name.
func CheckGroupName(name string) *pgerr.Error {
	if groupNameForm.MatchString(name) {
		return nil
	}
	return pgerr.New(pgerr.InvalidName, "invalid node group name %q", name).
		WithDetail("A group name has 1 to 63 lower-case letters, digits and underscores.").
		WithHint("Choose a name such as \"my_group\".")
}

// CheckNodeKind refuses what is not implemented.
func CheckNodeKind(kind string) *pgerr.Error {
	switch kind {
	case "", "data":
		return nil
	case "standby", "subscriber-only", "subscriber_only", "witness":
		return pgerr.New(pgerr.FeatureNotSupported, "node kind %q is not supported yet", kind).
			WithHint("Use node kind \"data\", or leave it out.")
	default:
		return pgerr.New(pgerr.InvalidParameter, "unknown node kind %q", kind).
			WithHint("Use node kind \"data\", or leave it out.")
	}
}

// Need is how much of the server's limits a step takes.
type Need struct {
	Slots, Senders, Origins, Workers int
	Purpose                          string
}

// HoldSlots is what keeps dead rows, once in each database that has peers.
const HoldSlots = 1

// CheckServer refuses a server whose configuration cannot serve a node.
func CheckServer(f catalog.Facts, n Need, where string) *pgerr.Error {
	if f.WALLevel != "logical" {
		return pgerr.New(pgerr.WrongState, "wal_level must be \"logical\"%s", where).
			WithDetail("It is %q.", f.WALLevel).
			WithHint("Set wal_level = logical in postgresql.conf and restart the server.")
	}
	if !f.TrackCommitTimestamp {
		return pgerr.New(pgerr.WrongState, "track_commit_timestamp must be on%s", where).
			WithDetail("Conflicts are decided by the time of commit.").
			WithHint("Set track_commit_timestamp = on in postgresql.conf and restart the server.")
	}
	if f.HasPluginSetting && !listsPlugin(f.PluginLibraries) {
		return pgerr.New(pgerr.WrongState, "output_plugin_libraries must contain \"%s\"%s", outputPlugin, where).
			WithDetail("It is %q.", f.PluginLibraries).
			WithHint("Set output_plugin_libraries = '%s' in postgresql.conf and reload the configuration.", withPlugin(f.PluginLibraries))
	}
	return checkQuotas(f, n, where)
}

// WarnIdle says what a server does to a node that is away, "" if nothing.
func WarnIdle(f catalog.Facts, where string) (message, detail, hint string) {
	if f.IdleSlotTimeout == "0" {
		return "", "", ""
	}
	return fmt.Sprintf("idle_replication_slot_timeout is %s%s", f.IdleSlotTimeout, where),
		"A peer that is away or paused for longer loses its slot, and has to join again with an empty database.",
		"Set idle_replication_slot_timeout = 0 in postgresql.conf and reload the configuration."
}

func checkQuotas(f catalog.Facts, n Need, where string) *pgerr.Error {
	originSetting := "max_replication_slots"
	if f.VersionNum >= 180000 {
		originSetting = "max_active_replication_origins"
	}
	for _, q := range []struct {
		setting, what string
		quota         catalog.Quota
		needed        int
	}{
		{"max_replication_slots", "replication slots", f.Slots, n.Slots},
		{"max_wal_senders", "WAL senders", f.Senders, n.Senders},
		{originSetting, "replication origins", f.Origins, n.Origins},
		{"max_worker_processes", "background workers", f.Workers, n.Workers},
	} {
		if missing := q.needed - q.quota.Free(); missing > 0 {
			return pgerr.New(pgerr.ConfigLimit, "%s is too small%s", q.setting, where).
				WithDetail("%s needs %d %s; %d of %d are in use.", n.Purpose, q.needed, q.what, q.quota.Used, q.quota.Max).
				WithHint("Set %s to at least %d in postgresql.conf and restart the server.", q.setting, q.quota.Max+missing)
		}
	}
	return nil
}

// pluginList splits a list setting as the server does.
func pluginList(value string) []string {
	var names []string
	for _, part := range strings.Split(value, ",") {
		if name := strings.Trim(strings.TrimSpace(part), `"`); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func listsPlugin(value string) bool {
	for _, name := range pluginList(value) {
		if name == outputPlugin || name == "$libdir/"+outputPlugin {
			return true
		}
	}
	return false
}

func withPlugin(value string) string {
	return strings.Join(append(pluginList(value), outputPlugin), ", ")
}

// CheckSameDatabase refuses a DSN that leads to another database than this.
func CheckSameDatabase(here, there catalog.Facts, dsn string) *pgerr.Error {
	var reason string
	switch {
	case here.SystemIdentifier != there.SystemIdentifier:
		reason = fmt.Sprintf("It reaches another server, with system identifier %s instead of %s.", there.SystemIdentifier, here.SystemIdentifier)
	case here.PostmasterStart != there.PostmasterStart:
		reason = "It reaches a physical copy of this server."
	case here.DatabaseOID != there.DatabaseOID:
		reason = fmt.Sprintf("It reaches database %q of this server, instead of %q.", there.Database, here.Database)
	default:
		return nil
	}
	return pgerr.New(pgerr.InvalidParameter, "local_dsn does not reach this database: %q", pgerr.MaskDSN(dsn)).
		WithDetail("%s", reason).
		WithHint("Give the connection string by which the other nodes reach database %q of this server.", here.Database)
}

// CheckRole refuses a connection string whose role cannot do what peers must.
func CheckRole(f catalog.Facts, dsn string) *pgerr.Error {
	if f.Superuser {
		return nil
	}
	return pgerr.New(pgerr.InsufficientPrivilege, "role %q must be a superuser", f.Role).
		WithDetail("It is the role of connection string %q.", pgerr.MaskDSN(dsn)).
		WithHint("Name a superuser in the connection string.")
}

// CheckPair refuses to join two databases that cannot hold the same data.
func CheckPair(joiner, source catalog.Facts) *pgerr.Error {
	if joiner.SystemIdentifier == source.SystemIdentifier && joiner.DatabaseOID == source.DatabaseOID &&
		joiner.PostmasterStart == source.PostmasterStart {
		return pgerr.New(pgerr.InvalidParameter, "cannot join the local node to itself").
			WithDetail("The join target is this database.").
			WithHint("Give the connection string of a node that is a member of the group.")
	}
	if source.Extension == "" {
		return pgerr.New(pgerr.WrongState, "the join target has no extension bdr").
			WithDetail("Database %q of the join target is not a node.", source.Database).
			WithHint("Give the connection string of a node that is a member of the group.")
	}
	if joiner.VersionNum/10000 < source.VersionNum/10000 {
		return pgerr.New(pgerr.WrongState, "the join target runs a newer major version of PostgreSQL").
			WithDetail("It runs %s, this server runs %s, whose pg_dump cannot read it.", source.Version, joiner.Version).
			WithHint("Join through a node whose major version is not newer.")
	}
	return checkText(joiner, source)
}

// CheckBuild refuses to join a group with a member that this node could not work
// with. What the member's database has was made for its SQL objects, so those of
// this one must be as new; and all of them are here only after an update.
func CheckBuild(joiner, member release.Build, who string) *pgerr.Error {
	if joiner.Extension != joiner.Version {
		return pgerr.New(pgerr.WrongState, "the SQL objects of this database are those of bdr %s, the server has loaded bdr %s", joiner.Extension, joiner.Version).
			WithDetail("A node joins with all that its version has.").
			WithHint("Run ALTER EXTENSION bdr UPDATE in this database.")
	}
	if release.Newer(member.Extension, joiner.Version) {
		return pgerr.New(pgerr.WrongState, "%s has a newer version of bdr", who).
			WithDetail("Its SQL objects are those of bdr %s, this server has bdr %s.", member.Extension, joiner.Version).
			WithHint("Install bdr %s or later on this server, restart it, and run ALTER EXTENSION bdr UPDATE.", member.Extension)
	}
	for _, p := range []struct {
		what         string
		here, theirs release.Range
	}{
		{"the replication protocol", joiner.Frames, member.Frames},
		{"the managers' protocol", joiner.Managers, member.Managers},
	} {
		if _, ok := p.here.Common(p.theirs); !ok {
			return pgerr.New(pgerr.WrongState, "%s has no version of %s in common with this node", who, p.what).
				WithDetail("It speaks %s, this node speaks %s.", p.theirs, p.here).
				WithHint("%s", whoUpdates(p.here, p.theirs, who))
		}
	}
	return nil
}

// whoUpdates names the side that is behind.
func whoUpdates(here, theirs release.Range, who string) string {
	if here.Max < theirs.Min {
		return "Install a newer version of bdr on this server."
	}
	return "Install a newer version of bdr on " + who + "."
}

func checkText(joiner, source catalog.Facts) *pgerr.Error {
	for _, p := range []struct{ what, here, there string }{
		{"encoding", joiner.Encoding, source.Encoding},
		{"collation (LC_COLLATE)", joiner.Collate, source.Collate},
		{"character type (LC_CTYPE)", joiner.Ctype, source.Ctype},
		{"locale provider", joiner.LocaleProvider, source.LocaleProvider},
		{"locale", localeTag(joiner), localeTag(source)},
	} {
		if p.here != p.there {
			return pgerr.New(pgerr.WrongState, "the join target's database has another %s", p.what).
				WithDetail("It has %q, this database has %q.", p.there, p.here).
				WithHint("Create the database again with the encoding and locale of the join target's.")
		}
	}
	return nil
}

// localeTag is the name of a database's locale for comparison: since 16 a server
// writes one of ICU as a language tag, en-US for en_US.
func localeTag(f catalog.Facts) string {
	if f.LocaleProvider != "i" {
		return f.Locale
	}
	return strings.ToLower(strings.ReplaceAll(f.Locale, "_", "-"))
}

// CheckEmpty refuses to copy a schema on top of another.
func CheckEmpty(relations []string) *pgerr.Error {
	if len(relations) == 0 {
		return nil
	}
	return pgerr.New(pgerr.WrongState, "the database is not empty").
		WithDetail("It has %s.", strings.Join(relations, ", ")).
		WithHint("Join with an empty database, or with synchronize_structure := 'none' if it has the schema of the group but no rows.")
}

// CheckPlace refuses what is here in a table's place.
func CheckPlace(p catalog.Place, t catalog.Table) *pgerr.Error {
	if !p.Ordinary {
		return pgerr.New(pgerr.WrongState, "%s is not an ordinary permanent table here", t.Name).
			WithDetail("It is one on the source of the join.").
			WithHint("Drop it and create the table that the source has.")
	}
	if p.Matching && p.Owner != t.Owner {
		return pgerr.New(pgerr.WrongState, "table %s belongs to %q here", t.Name, p.Owner).
			WithDetail("On the source of the join it belongs to %q.", t.Owner).
			WithHint("ALTER TABLE %s OWNER TO %s;", t.Name, catalog.QuoteIdentifier(t.Owner))
	}
	return nil
}

// CheckMissing refuses when the source refers to things that are not here.
func CheckMissing(what, hint string, names []string) *pgerr.Error {
	if len(names) == 0 {
		return nil
	}
	return pgerr.New(pgerr.UndefinedObject, "the schema of the join target needs %s that are missing here", what).
		WithDetail("Missing: %s.", strings.Join(names, ", ")).
		WithHint("%s", hint)
}

// FactsOf reads the facts of the database that a runner reaches.
func FactsOf(ctx context.Context, runner catalog.Runner) (catalog.Facts, error) {
	results, err := runner.Run(ctx, catalog.SelectFacts())
	if err != nil {
		return catalog.Facts{}, err
	}
	return catalog.FactsOf(results[0])
}
