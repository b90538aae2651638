package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bdr/gosrc/pgtest"
)

// variant is one way to replicate between the same two servers, in a database
// of its own.
type variant struct {
	name      string
	database  string
	prepare   func(*pair) error // once, with the tables on the sender
	configure string            // on the receiver, before each pass
	pause     string            // ends the streams that this side receives
	release   string
	both      bool // both sides receive
	roles     []role
}

// role is one kind of process of a variant. Titles need not name the variant:
// whoever is measured runs alone.
type role struct {
	name   string
	sender bool     // on the sender's server
	words  []string // in its title
}

// pair is the two servers.
type pair struct{ sender, receiver *pgtest.Server }

// Names of roles. The applier is what writes rows; native's receives too, which
// with us the manager does. The return stream is the receiver's walsender: it
// reads what was applied and finds nothing to send; native has none.
const (
	senderRole    = "sender"
	applierRole   = "applier"
	managerRole   = "manager"
	walWriterRole = "WAL writer"
	returnRole    = "return stream"
)

func variants() []variant {
	native := variant{
		database: "native",
		prepare:  prepareNative,
		pause:    "ALTER SUBSCRIPTION s DISABLE",
		release:  "ALTER SUBSCRIPTION s ENABLE",
		roles: []role{{senderRole, true, []string{"walsender"}}, {applierRole, false, []string{"logical replication", "worker for subscription"}},
			{walWriterRole, false, []string{"walwriter"}}},
	}
	text, binary := native, native
	text.name, text.configure = "native text", "ALTER SUBSCRIPTION s SET (binary = false)"
	binary.name, binary.configure = "native binary", "ALTER SUBSCRIPTION s SET (binary = true)"
	ours := variant{
		name:     "bdr",
		database: "ours",
		prepare:  prepareOurs,
		pause:    "SELECT bdr.alter_subscription_disable(immediate := true)",
		release:  "SELECT bdr.alter_subscription_enable(immediate := true)",
		both:     true,
		roles: []role{{senderRole, true, []string{"walsender"}}, {applierRole, false, []string{"bdr writer"}},
			{managerRole, false, []string{"bdr manager"}}, {walWriterRole, false, []string{"walwriter"}},
			{returnRole, false, []string{"walsender"}}},
	}
	return []variant{text, binary, ours}
}

// chosenVariants are those whose name ends in one of the words.
func chosenVariants(words []string) ([]variant, error) {
	all := variants()
	names := []string{"text", "binary", "bdr"}
	var out []variant
	for i, name := range names {
		if slices.Contains(words, name) {
			out = append(out, all[i])
		}
	}
	if len(out) != len(words) || len(out) == 0 {
		return nil, fmt.Errorf("variants are %v, not %v", names, words)
	}
	return out, nil
}

func prepareNative(p *pair) error {
	if _, err := p.receiver.Run("native", schema); err != nil {
		return err
	}
	if _, err := p.sender.Run("native", "CREATE PUBLICATION p FOR ALL TABLES"); err != nil {
		return err
	}
	_, err := p.receiver.Run("native", fmt.Sprintf("CREATE SUBSCRIPTION s CONNECTION '%s' PUBLICATION p WITH (copy_data = false)",
		p.sender.DSN("native")))
	return err
}

func prepareOurs(p *pair) error {
	if err := member(p.sender, p.sender); err != nil {
		return err
	}
	return member(p.receiver, p.sender)
}

// member makes the database "ours" of a server a member of the cluster that
// first founds.
func member(s, first *pgtest.Server) error {
	statements := []string{"CREATE EXTENSION bdr",
		fmt.Sprintf("SELECT bdr.create_node(node_name := '%s', local_dsn := '%s')", s.Name, s.DSN("ours")),
		"SELECT bdr.create_node_group('bench')"}
	if s != first {
		statements[2] = fmt.Sprintf("SELECT bdr.join_node_group('%s')", first.DSN("ours"))
	}
	for _, sql := range append(statements, "SELECT bdr.wait_for_join_completion()") {
		if _, err := s.Run("ours", sql); err != nil {
			return fmt.Errorf("%s: %s: %s", s.Name, sql, pgtest.Explain(err))
		}
	}
	return nil
}

// limit is how long a statement or a wait of the benchmark may last.
const limit = 10 * time.Minute

// begin readies a variant for its turn: the return stream, which was paused
// while others were measured, has read their WAL.
func (v variant) begin(p *pair) error {
	if !v.both {
		return nil
	}
	if _, err := p.sender.Run(v.database, v.release); err != nil {
		return err
	}
	return v.advanceSlot(p.receiver)
}

// end leaves no process of the variant that could disturb others.
func (v variant) end(p *pair) error {
	if err := v.stopReceiving(p); err != nil || !v.both {
		return err
	}
	if _, err := p.sender.Run(v.database, v.pause); err != nil {
		return err
	}
	return waitUntil("the return stream has ended", func() bool { return len(p.receiver.ProcessesTitled("walsender")) == 0 })
}

// release starts receiving and returns when what is sent begins no earlier
// than now. Otherwise a measurement contains the WAL of what was measured
// before it, which is more for one variant than for another.
func (v variant) catchUp(p *pair) error {
	if _, err := p.receiver.Run(v.database, v.release); err != nil {
		return err
	}
	return v.advanceSlot(p.sender)
}

// advanceSlot returns when the slots of the variant on a server begin no
// earlier than now.
func (v variant) advanceSlot(s *pgtest.Server) error {
	rows, err := s.Run(v.database, "SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return err
	}
	query := fmt.Sprintf("SELECT bool_and(restart_lsn >= '%s') FROM pg_replication_slots WHERE database = '%s'", rows[0][0], v.database)
	return waitUntil("the slot has advanced", func() bool {
		if _, err := s.RunTimeout(v.database, "CHECKPOINT", limit); err != nil {
			return false
		}
		rows, err := s.Run(v.database, query)
		return err == nil && rows[0][0] == "t"
	})
}

// stopReceiving returns when no process applies and no walsender is left, so
// that a stream begins with processes that have spent nothing before.
func (v variant) stopReceiving(p *pair) error {
	if _, err := p.receiver.Run(v.database, v.pause); err != nil {
		return err
	}
	if v.configure != "" {
		if _, err := p.receiver.Run(v.database, v.configure); err != nil {
			return err
		}
	}
	return waitUntil("the paused processes have ended", func() bool {
		return len(v.processes(p, applierRole)) == 0 && len(p.sender.ProcessesTitled("walsender")) == 0
	})
}

// processes lists those of a role.
func (v variant) processes(p *pair, name string) []pgtest.Process {
	for _, r := range v.roles {
		if r.name == name {
			return r.on(p).ProcessesTitled(r.words...)
		}
	}
	return nil
}

func (r role) on(p *pair) *pgtest.Server {
	if r.sender {
		return p.sender
	}
	return p.receiver
}

// mark writes the row that is waited for.
func (v variant) mark(p *pair, mark int) error {
	_, err := p.sender.Run(v.database, fmt.Sprintf("INSERT INTO done VALUES (%d)", mark))
	return err
}

func (v variant) waitMark(p *pair, mark int) error {
	query := fmt.Sprintf("SELECT count(*) FROM done WHERE id = %d", mark)
	return waitUntil("the last row is visible", func() bool {
		rows, err := p.receiver.Run(v.database, query)
		return err == nil && rows[0][0] == "1"
	})
}

// check compares all rows of the tables on both sides.
func (v variant) check(p *pair, tables []string) error {
	var names []string
	for _, t := range append(slices.Clone(tables), "done") {
		names = append(names, "public."+t)
	}
	type answer struct {
		content map[string]pgtest.Content
		err     error
	}
	there := make(chan answer, 1)
	go func() {
		content, err := p.receiver.Contents(v.database, names...)
		there <- answer{content, err}
	}()
	here, err := p.sender.Contents(v.database, names...)
	receiver := <-there
	if err := errors.Join(err, receiver.err); err != nil {
		return err
	}
	for _, table := range names {
		if _, ok := here[table]; !ok || receiver.content[table] != here[table] {
			return fmt.Errorf("%s: table %s differs: %+v and %+v", v.name, table, here[table], receiver.content[table])
		}
	}
	return nil
}

func waitUntil(what string, condition func() bool) error {
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %s", limit, what)
		}
		time.Sleep(waitInterval)
	}
	return nil
}

// waitInterval is short beside what is measured, and long beside a query.
const waitInterval = 4 * time.Millisecond
