package main

import (
	"fmt"
	"time"

	"bdr/gosrc/pgtest"
)

// variant is one way to replicate between the same two servers, in a database
// of its own.
type variant struct {
	name      string
	database  string
	prepare   func(*pair) error // once, with the tables there
	configure string            // on the receiver, before each pass
	pause     string            // on the receiver
	release   string
	applier   []string // words in the titles of the processes that apply
	manager   string   // title of the manager, "" for none
}

// pair is the two servers.
type pair struct{ sender, receiver *pgtest.Server }

func variants() []variant {
	native := variant{
		database: "native",
		prepare:  prepareNative,
		pause:    "ALTER SUBSCRIPTION s DISABLE",
		release:  "ALTER SUBSCRIPTION s ENABLE",
		applier:  []string{"logical replication worker"},
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
		applier:  []string{"bdr writer"},
		manager:  "bdr manager",
	}
	return []variant{text, binary, ours}
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
	for _, step := range []struct {
		server *pgtest.Server
		sql    string
	}{
		{p.sender, "CREATE EXTENSION bdr"},
		{p.sender, createNode(p.sender)},
		{p.sender, "SELECT bdr.create_node_group('bench')"},
		{p.sender, "SELECT bdr.wait_for_join_completion()"},
		{p.receiver, "CREATE EXTENSION bdr"},
		{p.receiver, createNode(p.receiver)},
		{p.receiver, fmt.Sprintf("SELECT bdr.join_node_group('%s')", p.sender.DSN("ours"))},
		{p.receiver, "SELECT bdr.wait_for_join_completion()"},
	} {
		if _, err := step.server.Run("ours", step.sql); err != nil {
			return fmt.Errorf("%s: %s", step.sql, pgtest.Explain(err))
		}
	}
	return nil
}

func createNode(s *pgtest.Server) string {
	return fmt.Sprintf("SELECT bdr.create_node(node_name := '%s', local_dsn := '%s')", s.Name, s.DSN("ours"))
}

// measurement is what one workload cost in one variant.
type measurement struct {
	wall                     time.Duration
	sender, applier, manager float64 // CPU seconds
}

// limit is how long a statement of the benchmark may run.
const limit = 10 * time.Minute

// measure generates the workload, releases it and waits for its last row.
func (v variant) measure(p *pair, w workload, mark int) (measurement, error) {
	if err := v.advanceSlot(p); err != nil {
		return measurement{}, err
	}
	if err := v.stopReceiving(p); err != nil {
		return measurement{}, err
	}
	for _, sql := range []string{w.sql, fmt.Sprintf("INSERT INTO done VALUES (%d)", mark), "CHECKPOINT"} {
		if _, err := p.sender.RunTimeout(v.database, sql, limit); err != nil {
			return measurement{}, fmt.Errorf("%s: %s", w.name, pgtest.Explain(err))
		}
	}
	if _, err := p.receiver.RunTimeout(v.database, "CHECKPOINT", limit); err != nil {
		return measurement{}, err
	}
	managerBefore := cpu(p.receiver, v.manager)
	began := time.Now()
	if _, err := p.receiver.Run(v.database, v.release); err != nil {
		return measurement{}, err
	}
	if err := v.waitMark(p, mark); err != nil {
		return measurement{}, err
	}
	m := measurement{wall: time.Since(began)}
	m.sender = cpu(p.sender, "walsender")
	m.applier = cpu(p.receiver, v.applier...)
	m.manager = cpu(p.receiver, v.manager) - managerBefore
	return m, v.check(p)
}

// advanceSlot returns when the sender would begin to read WAL no earlier than
// now. Otherwise a measurement contains the WAL of what was measured before it,
// which is more for one variant than for another.
func (v variant) advanceSlot(p *pair) error {
	if _, err := p.receiver.Run(v.database, v.release); err != nil {
		return err
	}
	rows, err := p.sender.Run(v.database, "SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return err
	}
	query := fmt.Sprintf("SELECT bool_and(restart_lsn >= '%s') FROM pg_replication_slots WHERE database = '%s'", rows[0][0], v.database)
	return waitUntil("the slot has advanced", func() bool {
		if _, err := p.sender.RunTimeout(v.database, "CHECKPOINT", limit); err != nil {
			return false
		}
		rows, err := p.sender.Run(v.database, query)
		return err == nil && rows[0][0] == "t"
	})
}

// stopReceiving returns when no process applies and no walsender is left, so
// that the processes that come have spent nothing before.
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
		return len(p.receiver.ProcessesTitled(v.applier...)) == 0 && len(p.sender.ProcessesTitled("walsender")) == 0
	})
}

func (v variant) waitMark(p *pair, mark int) error {
	query := fmt.Sprintf("SELECT count(*) FROM done WHERE id = %d", mark)
	return waitUntil("the last row is visible", func() bool {
		rows, err := p.receiver.Run(v.database, query)
		return err == nil && rows[0][0] == "1"
	})
}

// check compares all rows of both sides.
func (v variant) check(p *pair) error {
	sender, err := p.sender.Contents(v.database)
	if err != nil {
		return err
	}
	receiver, err := p.receiver.Contents(v.database)
	if err != nil {
		return err
	}
	for table, content := range sender {
		if receiver[table] != content {
			return fmt.Errorf("%s: table %s differs: %+v and %+v", v.name, table, content, receiver[table])
		}
	}
	return nil
}

// cpu adds up the processes whose title has all the words; no words, no time.
func cpu(s *pgtest.Server, words ...string) float64 {
	if len(words) == 0 || words[0] == "" {
		return 0
	}
	total := 0.0
	for _, p := range s.ProcessesTitled(words...) {
		total += p.CPUSeconds()
	}
	return total
}

func waitUntil(what string, condition func() bool) error {
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %s", limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}
