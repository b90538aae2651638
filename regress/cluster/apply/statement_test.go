package apply

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// A sentStatement is what a peer says that it has run.
type sentStatement struct {
	what     string
	flags    byte
	role     string
	sets     []string // where the flags say that they follow
	settings []string // name, value, and so on
	text     string
	cut      int // bytes that are missing at the end of the settings
	code     string
	says     string // in the message or its detail
}

const bySuperuser, withSets = 1, 2

var sentStatements = []sentStatement{
	{what: "what it may send", flags: bySuperuser, role: "postgres", settings: []string{"search_path", "public"}, text: "CREATE TABLE stated (a int)"},
	{what: "a setting as long as any", flags: bySuperuser, role: "postgres", settings: []string{"search_path", strings.Repeat("public, ", 8000) + "public"}, text: "CREATE TABLE stated (a int)"},
	{what: "a setting that is no text", flags: bySuperuser, role: "postgres", settings: []string{"search_path", "public\x00"}, text: "CREATE TABLE stated (a int)", code: "08P01", says: "no text"},
	{what: "replication sets", flags: bySuperuser | withSets, role: "postgres", sets: []string{"app_group", "none"}, text: "CREATE TABLE stated (a int)"},
	{what: "no replication set", flags: bySuperuser | withSets, role: "postgres", text: "CREATE TABLE stated (a int)", code: "08P01", says: "no replication set"},
	{what: "a set with a long name", flags: bySuperuser | withSets, role: "postgres", sets: []string{strings.Repeat("x", 64)}, text: "CREATE TABLE stated (a int)", code: "08P01", says: "64 bytes"},
	{what: "an unknown flag", flags: 4, role: "postgres", text: "CREATE TABLE stated (a int)", code: "08P01", says: "flags 4"},
	{what: "another role", flags: bySuperuser, role: "nobody", text: "CREATE TABLE stated (a int)", code: "42704", says: "nobody"},
	{what: "a role of more rights here", role: "postgres", text: "CREATE TABLE stated (a int)", code: "42501", says: "is a superuser here"},
	{what: "a setting for superusers", flags: bySuperuser, role: "postgres", settings: []string{"session_preload_libraries", "x"}, text: "CREATE TABLE stated (a int)", code: "08P01", says: "session_preload_libraries"},
	{what: "a setting of ours", role: "plain", settings: []string{"bdr.ddl_replication", "on"}, text: "CREATE TABLE stated (a int)", code: "08P01", says: "bdr.ddl_replication"},
	{what: "settings that end early", flags: bySuperuser, role: "postgres", settings: []string{"search_path", "public"}, cut: 3, code: "08P01"},
	{what: "two statements", flags: bySuperuser, role: "postgres", text: "CREATE TABLE stated (a int); DROP TABLE kept", code: "0A000", says: "several statements"},
	{what: "no statement", flags: bySuperuser, role: "postgres", text: ";", code: "0A000", says: "several statements"},
	{what: "only what comes before", role: "nobody"},
	{what: "a query", flags: bySuperuser, role: "postgres", text: "SELECT pg_read_file('PG_VERSION')", code: "0A000", says: "SELECT"},
	{what: "rows", flags: bySuperuser, role: "postgres", text: "DELETE FROM kept", code: "0A000", says: "DELETE"},
	{what: "a block", flags: bySuperuser, role: "postgres", text: "DO $$BEGIN DROP TABLE kept; END$$", code: "0A000", says: "DO"},
	{what: "a command for the server", flags: bySuperuser, role: "postgres", text: "ALTER SYSTEM SET fsync = off", code: "0A000", says: "ALTER SYSTEM"},
	{what: "a copy to a program", flags: bySuperuser, role: "postgres", text: "COPY kept TO PROGRAM 'true'", code: "0A000", says: "COPY"},
	{what: "no text", flags: bySuperuser, role: "postgres", text: "CREATE TABLE stated\x00 (a int)", code: "08P01", says: "no text"},
	{what: "another encoding", flags: bySuperuser, role: "postgres", text: "COMMENT ON TABLE kept IS '\xff'", code: "08P01", says: "no text"},
	{what: "more than the role may do", role: "plain", text: "DROP TABLE kept", code: "42501", says: "must be owner of table kept"},
	{what: "a value of no type", flags: bySuperuser, role: "postgres", settings: []string{"bdr.value.b", "=x"}, text: "ALTER TABLE kept ADD b int DEFAULT 1", code: "22P02", says: "invalid input syntax"},
	{what: "a value of no column", flags: bySuperuser, role: "postgres", settings: []string{"bdr.value.none", "=x"}, text: "ALTER TABLE kept ADD b int DEFAULT 1"},
	{what: "an index of another's table", role: "plain", settings: []string{"bdr.index", "-i"}, text: "CREATE INDEX ON kept (a)", code: "42501", says: "must be owner of table kept"},
	{what: "another's index, to be built", role: "plain", settings: []string{"bdr.index", "+kept_i"}, text: "CREATE INDEX ON kept (a)", code: "42501", says: "must be owner of table kept"},
	{what: "an index that was not begun", flags: bySuperuser, role: "postgres", settings: []string{"bdr.index", "+i"}, text: "CREATE INDEX ON kept (a)"},
	{what: "an index of another table", flags: bySuperuser, role: "postgres", settings: []string{"bdr.index", "+kept_i"}, text: "CREATE INDEX ON other (a)", code: "42P07", says: "kept_i"},
	{what: "an index of no name", flags: bySuperuser, role: "postgres", settings: []string{"bdr.index", "-"}, text: "CREATE INDEX ON kept (a)"},
	{what: "an index that is no index", flags: bySuperuser, role: "postgres", settings: []string{"bdr.index", "-i"}, text: "CREATE TABLE stated (a int)"},
}

// TestLiesInStatements exists because a peer that lies would have this server run
// whatever it likes, as whoever it likes.
func TestLiesInStatements(t *testing.T) {
	f := newForger(t)
	f.n.Exec("CREATE TABLE kept (a int)", "CREATE TABLE other (a int)", "CREATE INDEX kept_i ON kept (a)", "INSERT INTO kept VALUES (1)", "CREATE ROLE plain; GRANT CREATE ON SCHEMA public TO plain")
	for _, s := range sentStatements {
		t.Run(s.what, func(t *testing.T) {
			_, err := pgtest.RunOn(f.conn, fmt.Sprintf("ROLLBACK; BEGIN; SELECT bdr_test.apply('\\x%x')", s.message()), 30*time.Second)
			found := pgtest.PgError(err)
			switch {
			case (err == nil) != (s.code == "") || found != nil && found.Code != s.code:
				t.Errorf("%v; expected code %q", err, s.code)
			case found != nil && !strings.Contains(found.Message+found.Detail, s.says):
				t.Errorf("%q is not in %q, %q", s.says, found.Message, found.Detail)
			}
			rows, err := pgtest.RunOn(f.conn, "ROLLBACK; SELECT current_user, session_user, current_setting('search_path'), (SELECT count(*) FROM kept)", 10*time.Second)
			f.n.Must(err)
			if got := strings.Join(rows[0], " "); got != `postgres postgres "$user", public 1` {
				t.Errorf("it has left %s", got)
			}
		})
	}
}

func (s sentStatement) message() []byte {
	name := func(to []byte, text string) []byte {
		return append(binary.BigEndian.AppendUint16(to, uint16(len(text))), text...)
	}
	body := name([]byte{s.flags}, s.role)
	if s.flags&withSets != 0 {
		body = binary.BigEndian.AppendUint16(body, uint16(len(s.sets)))
		for _, set := range s.sets {
			body = name(body, set)
		}
	}
	body = binary.BigEndian.AppendUint16(body, uint16(len(s.settings)/2))
	for _, text := range s.settings {
		body = name(body, text)
	}
	body = append(body[:len(body)-s.cut], s.text...)
	return append(binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(len(body))), body...)
}
