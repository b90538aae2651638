package conflict

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/conflict/model"
	"bdr/gosrc/pgtest"
)

// sampled is how many random schedules each table gets, and how many events
// each schedule has.
const (
	sampled        = 30
	scheduleEvents = 32
)

// failuresMax is after how many schedules that went wrong a test gives up.
const failuresMax = 12

// TestSchedules exists because the model of gosrc/conflict/model is only as good
// as the servers that follow it. It plays the same schedules on three real
// nodes: every pair of the model's statements in each order of arrival, and
// random schedules with transactions of several statements, vacuum, tables that
// are rewritten, and writers and users at the same rows at the same moment. After each event the rows of
// the node must be what the rule of decision 0007 makes of what it has seen.
//
// BDR_SCHEDULE=n plays only number n of what -run chose.
func TestSchedules(t *testing.T) {
	p := newPlayer(t)
	for _, w := range model.Worlds() {
		t.Run("pairs/"+w.Table.Name, func(t *testing.T) { p.playAll(t, pairs(w)) })
	}
	for _, l := range layouts() {
		t.Run("random/"+l.name, func(t *testing.T) { p.playAll(t, randomSchedules(l, 0, sampled)) })
	}
	p.c.RequireConverged()
	requireForgotten(p.c)
}

// requireForgotten waits until nothing is kept of versions that no row shows: in
// a quiet cluster no peer can send anything older.
func requireForgotten(c *pgtest.Cluster) {
	for _, n := range c.Nodes {
		for _, table := range []string{"bdr.remembered_version", "bdr.evicted_row"} {
			n.Wait(2*time.Minute, "SELECT count(*) FROM "+table, "0")
		}
	}
}

// A layout is a table that stands for one of the model's.
type layout struct {
	name     string
	table    model.Table
	large    bool   // statements change large values on their own
	deferred bool   // constraints count at the end of a transaction
	unique   string // type of the constrained columns
	write    string // format of a value of theirs
	read     string // the value in column %s as a number
	details  []string
}

func layouts() []layout {
	const u, w = "ALTER TABLE %s ADD UNIQUE (u)", "ALTER TABLE %s ADD UNIQUE (w)"
	plain := func(table model.Table, name string, details ...string) layout {
		return layout{name: name, table: table, unique: "int", write: "%d", read: "coalesce(%s, 0)", details: details}
	}
	ranges := plain(model.Excluding, model.Excluding.Name, "ALTER TABLE %s ADD EXCLUDE USING gist (u WITH &&)")
	ranges.unique, ranges.write, ranges.read = "int4range", "int4range(%[1]d, %[1]d + 2)", "coalesce(lower(%s), 0)"
	large := plain(model.TwoUnique, "large values", u, w)
	large.large = true
	deferred := plain(model.TwoUnique, "deferred constraints", u+" DEFERRABLE INITIALLY DEFERRED", w+" DEFERRABLE INITIALLY DEFERRED")
	deferred.deferred = true
	return []layout{
		plain(model.KeyOnly, model.KeyOnly.Name), plain(model.OneUnique, model.OneUnique.Name, u), plain(model.TwoUnique, model.TwoUnique.Name, u, w),
		ranges, large, deferred,
		plain(model.OneUnique, "replica identity full", u, "ALTER TABLE %s REPLICA IDENTITY FULL"),
		plain(model.TwoUnique, "unique indexes of an expression and of some rows", "CREATE UNIQUE INDEX ON %s ((u %% 100))", "CREATE UNIQUE INDEX ON %s (w) WHERE w <> 0"),
		plain(model.Excluding, "an exclusion constraint of an expression and of some rows",
			"ALTER TABLE %s ADD EXCLUDE USING gist (circle(point(u, 0), 0.5) WITH &&) WHERE (u > 0)"),
	}
}

// layoutOf is the plain one.
func layoutOf(table model.Table) layout {
	all := layouts()
	return all[slices.IndexFunc(all, func(l layout) bool { return l.name == table.Name })]
}

// schedule is what is played on a table of its own.
type schedule struct {
	number uint64
	layout layout
	start  []model.Row
	events func(*replay) error
}

// pairs has every two statements that change something where two nodes start
// from the same rows, and each way in which the third gets them: one after the
// other, in both orders, with a rewrite of the table between or not, and both at
// once.
func pairs(w model.World) []schedule {
	const a, b, third = 0, 1, 2
	orders := []func(*replay) error{
		func(r *replay) error { return errors.Join(r.deliver(third, a), r.deliver(third, b)) },
		func(r *replay) error { return errors.Join(r.deliver(third, b), r.deliver(third, a)) },
		func(r *replay) error { return r.deliverAll(third) },
		func(r *replay) error { return errors.Join(r.deliver(third, a), r.rewrite(third), r.deliver(third, b)) },
		func(r *replay) error { return errors.Join(r.deliver(third, b), r.rewrite(third), r.deliver(third, a)) },
	}
	w.Menu = append(w.Menu, wider(w.Table)...)
	var out []schedule
	for _, start := range w.Starts {
		menu := w.Possible(start)
		for _, older := range menu {
			for _, newer := range menu {
				for _, order := range orders {
					out = append(out, schedule{uint64(len(out)), layoutOf(w.Table), start, func(r *replay) error {
						return errors.Join(r.write(a, older), r.write(b, newer), r.deliver(a, b), r.deliver(b, a), order(r))
					}})
				}
			}
		}
	}
	return out
}

// wider are more statements for two rows that share values with others.
func wider(table model.Table) []model.Statement {
	if table.Name != model.TwoUnique.Name {
		return nil
	}
	return []model.Statement{
		{Kind: model.InsertRow, Row: model.Row{Key: 3, Cols: [2]int8{3, 3}}},
		{Kind: model.SetColumn, Key: 1, Column: 0, Value: 3},
		{Kind: model.SetColumn, Key: 2, Column: 1, Value: 3},
		{Kind: model.SetKey, Key: 1, Value: 3},
		{Kind: model.SetBody, Key: 2},
	}
}

// randomSchedules are n, beginning with a seed.
func randomSchedules(l layout, first, n uint64) []schedule {
	if one, ok := onlySchedule(); ok {
		first, n = one, 1
	}
	var out []schedule
	for seed := first; seed < first+n; seed++ {
		start := worldOf(l.table).Starts[seed%3]
		out = append(out, schedule{seed, l, start, func(r *replay) error { return r.random(seed) }})
	}
	return out
}

func onlySchedule() (uint64, bool) {
	n, err := strconv.ParseUint(os.Getenv("BDR_SCHEDULE"), 10, 64)
	return n, err == nil
}

func worldOf(table model.Table) model.World {
	all := model.Worlds()
	return all[slices.IndexFunc(all, func(w model.World) bool { return w.Table.Name == table.Name })]
}

// random plays one schedule: as many events as there are, then what is left of
// the deliveries, in random order.
func (r *replay) random(seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 0))
	nodes := len(r.log)
	speed := make([]float64, nodes*nodes)
	for i := range speed {
		speed[i] = []float64{1, 0.5, 0.1}[random.IntN(3)]
	}
	for range scheduleEvents {
		n, from := random.IntN(nodes), random.IntN(nodes)
		statements := make([]model.Statement, 1+random.IntN(3))
		for i := range statements {
			statements[i] = model.RandomStatement(random, &r.layout.table, r.layout.large)
		}
		var err error
		switch roll := random.IntN(100); {
		case roll < 35:
			err = r.write(n, statements...)
		case roll < 42:
			err = r.vacuum(n)
		case roll < 47:
			err = r.rewrite(n)
		case roll < 57:
			err = r.rush(n, statements, random.IntN(2) == 0)
		case random.Float64() < speed[n*nodes+from]:
			err = r.deliver(n, from)
		}
		if err != nil {
			return err
		}
	}
	return r.settle(random)
}

// settle delivers what is left.
func (r *replay) settle(random *rand.Rand) error {
	nodes := len(r.log)
	for left := true; left; {
		left = false
		for _, pair := range random.Perm(nodes * nodes) {
			to, from := pair/nodes, pair%nodes
			if !r.pending(to, from) {
				continue
			}
			left = true
			if err := r.deliver(to, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// player plays schedules one after the other on one cluster.
type player struct {
	c      *pgtest.Cluster
	gates  *gates
	users  []*pgconn.PgConn
	ids    []uint32 // of the nodes
	tables int
}

func newPlayer(t *testing.T) *player {
	t.Helper()
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(map[string]string{
		"bdr.min_worker_backoff_delay": "50ms", "bdr.max_worker_backoff_delay": "200ms"}))
	p := &player{c: c, gates: newGates(c)}
	for _, n := range c.Nodes {
		id, err := strconv.ParseUint(n.Value("SELECT node_id FROM bdr.local_node"), 10, 32)
		n.Must(err)
		p.ids = append(p.ids, uint32(id))
		p.users = append(p.users, n.Session())
		n.Exec(fmt.Sprintf("SELECT bdr.alter_node_set_conflict_resolver('%s', 'target_table_missing', 'skip')", n.Name))
	}
	c.RequireConverged()
	return p
}

// playAll reports each schedule that goes wrong, and gives up after some.
func (p *player) playAll(t *testing.T, schedules []schedule) {
	only, one := onlySchedule()
	began, failures, transactions, deliveries := time.Now(), 0, 0, 0
	for i, s := range schedules {
		if one && s.number != only {
			continue
		}
		r, err := p.play(s)
		transactions += len(r.names)
		deliveries += r.deliveries
		if err == nil {
			p.c.For(t).ExecAll("DROP TABLE " + r.table)
			continue
		}
		t.Errorf("BDR_SCHEDULE=%d (%s): %v\nbegan with %s\n%s", s.number, s.layout.name, err, r.text(r.start), strings.Join(r.story, "\n"))
		p.abandon(t, r)
		if failures++; failures >= failuresMax {
			t.Fatalf("%d of the first %d schedules failed", failures, i+1)
		}
	}
	t.Logf("%d schedules: %d transactions, %d deliveries in %v", len(schedules), transactions, deliveries, time.Since(began).Round(time.Millisecond))
	if !one && deliveries < 2*len(schedules) {
		t.Error("the schedules do nothing")
	}
}

// abandon lets the writers go on after a schedule that went wrong: the table
// goes, and what comes for it is skipped.
func (p *player) abandon(t *testing.T, r *replay) {
	t.Helper()
	c := p.c.For(t)
	c.ExecAll("DROP TABLE " + r.table)
	for to, n := range c.Nodes {
		for from := range c.Nodes {
			for r.pending(to, from) {
				number := r.log[from][r.seen[to][from]].number
				n.Must(r.pass(to, from, number))
				r.seen[to][from]++
			}
		}
	}
}

// play makes a table with its first rows and lets the events happen. Whatever
// they say, at the end every node must have seen all.
func (p *player) play(s schedule) (*replay, error) {
	p.tables++
	r := newReplay(p, s.layout, fmt.Sprintf("s%d", p.tables))
	if err := r.create(s.start, p.tables%len(p.ids)); err != nil {
		return r, err
	}
	if err := s.events(r); err != nil {
		return r, err
	}
	for to := range r.log {
		for from := range r.log {
			if r.pending(to, from) {
				return r, fmt.Errorf("node%d has not got all of node%d", to+1, from+1)
			}
		}
	}
	return r, nil
}
