package model

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"bdr/gosrc/conflict"
)

var update = flag.Bool("update", false, "write docs/conflict-matrix.md")

const page = "../../../docs/conflict-matrix.md"

const preamble = `# Conflict matrix

Made by ` + "`go test ./gosrc/conflict/model -run TestMatrix -update`" + ` from the policy that the manager uses and the
[model](../gosrc/conflict/model) of what a server keeps; the same test fails when this page is not what it would write. The rule behind
it is [decision 0007](decisions/0007-convergence.md): a version is visible unless a newer one that collides with it was seen.

## Pairs

Two nodes change the same table at the same time. A committed before B. A row is key/unique value, and who wrote it: A, B, or S, which
every node had at the start. All nodes end with the rows of the cell, whichever change reaches which node first. Changes that do nothing
from that start are left out.

`

// mistake is something that a server or a policy could do wrong.
type mistake struct {
	name   string
	table  Table
	change func(*Config)
}

func mistakes() []mistake {
	return []mistake{
		{"a deletion that finds no row is forgotten", KeyOnly, func(c *Config) { c.Faults.ForgetDeletes = true }},
		{"a row that loses is forgotten", TwoUnique, func(c *Config) { c.Faults.ForgetLosers = true }},
		{"dead rows are not looked at", KeyOnly, func(c *Config) { c.Faults.ForgetDead = true }},
		{"an eviction counts as a deletion", OneUnique, func(c *Config) { c.Faults.EvictionIsDeletion = true }},
		{"newest wins against the rows that are there", TwoUnique, func(c *Config) {
			c.Faults.EvictionIsDeletion, c.Faults.ForgetLosers, c.Faults.ForgetDead = true, true, true
		}},
		{"versions from the future are applied at once", KeyOnly, func(c *Config) { c.Jumps, c.Faults.NoWait, c.Faults.NoGuard = false, true, true }},
		{"a clock goes back", KeyOnly, func(c *Config) { c.Faults.NoGuard = true }},
		{"a clock goes back, one origin's order decides", KeyOnly, func(c *Config) { c.Faults.NoGuard, c.Faults.SameOriginWins = true, true }},
		{"the last commit's time is taken for a watermark", KeyOnly, func(c *Config) {
			c.Nodes, c.Steps, c.Skew, c.Jumps, c.Faults.LastCommitIsMark = 2, 200, 0, false, true
		}},
		{"vacuum does not wait for slow peers", KeyOnly, func(c *Config) { c.Faults.VacuumAtOnce = true }},
		{"large values come from whatever row is here", KeyOnly, func(c *Config) { c.Faults.FillLarge = true }},
		{"a rewrite makes rows newer", KeyOnly, func(c *Config) { c.Rewrite, c.Faults.RewriteIsWrite = true, true }},
		{"a rewrite forgets dead rows", KeyOnly, func(c *Config) { c.Rewrite, c.Faults.RewriteForgets = true, true }},
		{"join: barriers are named at once", KeyOnly, joins(3, func(f *Faults) { f.BarrierAtOnce = true })},
		{"join: barriers are named while somebody commits", KeyOnly, joins(3, func(f *Faults) { f.BarrierPastCommit = true })},
		{"join: what the source remembers meanwhile is not sent", TwoUnique, joins(4, func(f *Faults) { f.CatchUpNoMemory = true })},
		{"join: evictions are sent as deletions", TwoUnique, joins(4, func(f *Faults) { f.CatchUpNoMarks = true })},
		{"join: the new node vacuums until it hears its peers", KeyOnly, joins(3, func(f *Faults) { f.CatchUpNoHold = true })},
		{"join: the peers do not count the new node", KeyOnly, joins(2, behind(func(f *Faults) { f.UncountedJoiner = true }))},
		{"join: users write while the clock is behind the peers'", KeyOnly, joins(2, behind(func(f *Faults) { f.ActiveAtOnce = true }))},
		{"update_missing: skip", KeyOnly, resolver(conflict.UpdateMissing, "skip")},
		{"update_recently_deleted: skip", KeyOnly, resolver(conflict.UpdateRecentlyDeleted, "skip")},
		{"delete_recently_updated: update", KeyOnly, resolver(conflict.DeleteRecentlyUpdated, "update")},
		{"update_origin_change: update", KeyOnly, resolver(conflict.UpdateOriginChange, "update")},
		{"update_origin_change: skip", KeyOnly, resolver(conflict.UpdateOriginChange, "skip")},
		{"insert_exists: update", KeyOnly, resolver(conflict.InsertExists, "update")},
		{"insert_exists: skip", KeyOnly, resolver(conflict.InsertExists, "skip")},
		{"update_pkey_exists: update", OneUnique, resolver(conflict.UpdatePkeyExists, "update")},
		{"update_pkey_exists: skip", OneUnique, resolver(conflict.UpdatePkeyExists, "skip")},
		{"multiple_unique_conflicts: update", TwoUnique, resolver(conflict.MultipleUniqueConflicts, "update")},
		{"multiple_unique_conflicts: skip", TwoUnique, resolver(conflict.MultipleUniqueConflicts, "skip")},
		{"PGD's defaults, its unique conflicts by update_if_newer", TwoUnique, func(c *Config) {
			resolver(conflict.UpdateRecentlyDeleted, "skip")(c)
			resolver(conflict.DeleteRecentlyUpdated, "update")(c)
			c.Faults.ForgetDeletes, c.Faults.ForgetLosers, c.Faults.FillLarge = true, true, true
		}},
	}
}

// joins is a mistake of a join, which needs some nodes to be seen.
func joins(nodes int, mistake func(*Faults)) func(*Config) {
	return func(c *Config) {
		c.Join, c.Nodes = true, nodes
		mistake(&c.Faults)
		if c.Faults.NoWait {
			c.Skew, c.Ties, c.Jumps, c.Crashes = 1000, false, false, false
		}
	}
}

// behind is for mistakes that are seen where nodes with slow clocks go on.
func behind(mistake func(*Faults)) func(*Faults) {
	return func(f *Faults) {
		f.NoWait = true
		mistake(f)
	}
}

// The page holds what the policy does, and is checked against it.
func TestMatrix(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(preamble)
	writePairs(t, &b)
	writeCounts(t, &b)
	writeMistakes(t, &b)
	if *update {
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.Bytes()) {
		t.Errorf("docs/conflict-matrix.md is not what the policy does: run go test ./gosrc/conflict/model -run TestMatrix -update")
	}
}

func writePairs(t *testing.T, b *bytes.Buffer) {
	for _, w := range Worlds()[1:3] {
		for _, start := range w.Starts {
			menu := w.Possible(start)
			fmt.Fprintf(b, "### %s, %s at the start\n\n| A |", w.Table.Name, RowsText(&w.Table, start, nil))
			for _, st := range menu {
				fmt.Fprintf(b, " B: %s |", st.Text(&w.Table))
			}
			b.WriteString("\n|---|" + strings.Repeat("---|", len(menu)) + "\n")
			for _, older := range menu {
				fmt.Fprintf(b, "| %s |", older.Text(&w.Table))
				for _, newer := range menu {
					fmt.Fprintf(b, " %s |", concurrent(t, w, start, older, newer))
				}
				b.WriteString("\n")
			}
			b.WriteString("\n")
		}
	}
}

// concurrent is what two nodes end with that wrote before they heard of each
// other.
func concurrent(t *testing.T, w World, start []Row, older, newer Statement) string {
	t.Helper()
	c := started(Config{Nodes: 2, Table: w.Table, Policy: conflict.DefaultPolicy()}, start)
	for i, st := range []Statement{older, newer} {
		c.now++
		if _, err := c.commitNow(&c.nodes[i], []Statement{st}); err != nil {
			t.Fatal(err)
		}
	}
	var r Result
	if err := errors.Join(c.settle(&r), c.compare()); err != nil {
		t.Fatal(err)
	}
	var rows []Row
	for _, l := range sorted(c.nodes[0].live) {
		rows = append(rows, l.Row)
	}
	return RowsText(&w.Table, rows, map[int16]string{-1: "S", 1: "A", 2: "B"})
}

func writeCounts(t *testing.T, b *bytes.Buffer) {
	b.WriteString("## Every order\n\nEvery sequence of statements on every placement over the nodes, each run at any moment between the others' deliveries.\n" +
		"All schedules end equal on all nodes, with the rows of the specification.\n\n" +
		"| Table | Statements | Nodes | Cases | Schedules |\n|---|---|---|---|---|\n")
	for _, w := range Worlds() {
		for _, n := range []int{2, 3} {
			for nodes := n; nodes <= 3; nodes++ {
				if n == 3 {
					w.Menu = w.Menu[:w.Few]
				}
				sum, err := exploreAll(w, n, Config{Nodes: nodes, Policy: conflict.DefaultPolicy()})
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(b, "| %s | %d | %d | %d | %d |\n", w.Table.Name, n, nodes, sum.cases, sum.schedules)
			}
		}
	}
	b.WriteString("\n")
}

// The same with every statement; too slow for every day.
func TestEveryOrderOfAllStatements(t *testing.T) {
	if os.Getenv("BDR_SCHEDULES") == "" {
		t.Skip("BDR_SCHEDULES is not set")
	}
	for _, w := range Worlds() {
		for nodes := 2; nodes <= 3; nodes++ {
			t.Run(fmt.Sprintf("%s/%d nodes", w.Table.Name, nodes), func(t *testing.T) {
				t.Parallel()
				sum, err := exploreAll(w, 3, Config{Nodes: nodes, Policy: conflict.DefaultPolicy()})
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%d cases, %d schedules", sum.cases, sum.schedules)
			})
		}
	}
}

// A harness that cannot fail proves nothing: every mistake is seen to diverge.
func writeMistakes(t *testing.T, b *bytes.Buffer) {
	b.WriteString("## What does not converge\n\nThe same harness with one thing done differently: the first case of two or three statements on three nodes that ends\n" +
		"with nodes that differ, or else the first seed of a random schedule.\n\n| Done differently | Seen in |\n|---|---|\n")
	for _, m := range mistakes() {
		fmt.Fprintf(b, "| %s | %s |\n", m.name, firstDivergence(t, m))
	}
}

func firstDivergence(t *testing.T, m mistake) string {
	t.Helper()
	config := Config{Nodes: 3, Policy: conflict.DefaultPolicy()}
	m.change(&config)
	config.Nodes = 3
	for n := 2; n <= 3 && !config.Join; n++ {
		for _, w := range Worlds() {
			if w.Table.Name != m.table.Name {
				continue
			}
			if n == 3 {
				w.Menu = w.Menu[:w.Few]
			}
			if _, err := exploreAll(w, n, config); errors.Is(err, ErrDiverged) {
				return strings.TrimPrefix(strings.SplitN(err.Error(), ": ", 2)[0], m.table.Name+"; ")
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	config = rough(m.table, 3)
	m.change(&config)
	for seed := range uint64(10000) {
		if _, err := Run(config, seed); errors.Is(err, ErrDiverged) {
			return fmt.Sprintf("seed %d", seed)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("%s: converges", m.name)
	return ""
}
