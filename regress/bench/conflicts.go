package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"bdr/gosrc/pgtest"
)

// conflictsResult is what conflicts cost: the same changes when nobody looks for
// them, without and with them, medians of the passes.
type conflictsResult struct {
	Date    string         `json:"date"`
	Server  string         `json:"server"`
	Repeats int            `json:"repeats"`
	Scale   float64        `json:"scale"`
	Loads   []conflictCost `json:"loads"`
}

// conflictCost is one load's part.
type conflictCost struct {
	Title     string  `json:"title"`
	Rows      int     `json:"rows"`
	Conflicts int     `json:"conflicts"` // that the receiver logged
	Wall      float64 `json:"wall"`      // seconds
	Applier   float64 `json:"applier"`   // CPU seconds
	Manager   float64 `json:"manager"`

	WallShare    float64 `json:"wall_share"` // per row, against the same without detection
	ApplierShare float64 `json:"applier_share"`
}

// conflictLoad is SQL for the sender while nobody receives, and what the
// receiver does to some of the same rows meanwhile: earlier, so that what comes
// in wins, and later.
type conflictLoad struct {
	title               string
	rows                int
	trusts              bool // bdr.debug_trust_peers: detection is off
	sql, earlier, later string
}

const withoutDetection = "detection off" // bdr.debug_trust_peers

const clashSchema = `CREATE TABLE clash (id bigint PRIMARY KEY, u bigint NOT NULL UNIQUE, a integer NOT NULL, c text, d timestamptz)`

// conflictLoads change rows by hundreds or one by one. Of each ten rows the
// receiver writes the first earlier and the sixth later, in transactions of
// their own. Loads that are compared come in groups, the first without detection,
// and are long enough for that.
func conflictLoads(rows int) [][]conflictLoad {
	update := func(rows int, which string) string {
		return loop(0, rows/100-1, "UPDATE clash SET a = a + 1, c = 'changed ' || id WHERE id BETWEEN i * 100 + 1 AND i * 100 + 100"+which)
	}
	insert := func(rows int, which string) string {
		return loop(0, rows/100-1, `INSERT INTO clash SELECT g, g, g % 1000, 'row number ' || g, now()
 FROM generate_series(-i * 100 - 99, -i * 100) g`+which)
	}
	one := loop(1, 2*rows, "UPDATE clash SET a = a + 1 WHERE id = i")
	return [][]conflictLoad{
		{
			{title: "updates, " + withoutDetection, rows: 3 * rows, trusts: true, sql: update(3*rows, "")},
			{title: "updates, no conflict", rows: 3 * rows, sql: update(3*rows, "")},
			{title: "updates, 20% conflicts", rows: rows, sql: update(rows, ""), earlier: update(rows, " AND id % 10 = 1"), later: update(rows, " AND id % 10 = 6")},
		},
		{
			{title: "inserts, " + withoutDetection, rows: 10 * rows, trusts: true, sql: insert(10*rows, "")},
			{title: "inserts, no conflict", rows: 10 * rows, sql: insert(10*rows, "")},
			{title: "inserts, 20% conflicts", rows: rows, sql: insert(rows, ""), earlier: insert(rows, " WHERE g % 10 = -1"), later: insert(rows, " WHERE g % 10 = -6")},
		},
		{
			{title: "one-row updates, " + withoutDetection, rows: 2 * rows, trusts: true, sql: one},
			{title: "one-row updates, no conflict", rows: 2 * rows, sql: one},
		},
	}
}

// conflicts measures the loads one after the other, pass by pass.
func conflicts(o options, r *report) error {
	p, stop, err := newPair(settings)
	if err != nil {
		return err
	}
	defer stop()
	all, err := chosenVariants([]string{"bdr"})
	if err != nil {
		return err
	}
	v := all[0]
	if err := v.setUp(p, 1); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	for _, s := range []*pgtest.Server{p.sender, p.receiver} {
		if _, err := s.Run(v.database, clashSchema); err != nil {
			return err
		}
	}
	rows := int(100_000*o.scale) / 100 * 100
	r.Conflicts = &conflictsResult{Date: today(), Server: serverVersion(p.sender), Repeats: o.repeats, Scale: o.scale}
	mark := 1
	for _, group := range conflictLoads(rows) {
		passes := make([][]conflictCost, len(group)) // by load
		for pass := range o.repeats {
			order := []int{0, 1, 2}[:len(group)]
			if pass%2 == 1 { // nobody always comes first
				order[0], order[1] = 1, 0
			}
			for _, i := range order {
				mark += 2
				if err := v.prepareConflicts(p, 3*rows, mark-1); err != nil {
					return err
				}
				cost, err := v.measureConflicts(p, group[i], mark)
				if err != nil {
					return fmt.Errorf("%s: %w: %s", group[i].title, err, p.receiver.LogTail(5))
				}
				fmt.Fprintf(os.Stderr, "%-32s %6.2f s, %d conflicts\n", group[i].title, cost.Wall, cost.Conflicts)
				passes[i] = append(passes[i], cost)
			}
		}
		for i := range group {
			r.Conflicts.Loads = append(r.Conflicts.Loads, middleCost(passes[i], passes[0]))
		}
	}
	return nil
}

// prepareConflicts fills the table anew, on both sides.
func (v variant) prepareConflicts(p *pair, rows, mark int) error {
	if err := errors.Join(v.begin(p), v.catchUp(p)); err != nil {
		return err
	}
	fill := fmt.Sprintf("TRUNCATE clash; INSERT INTO clash SELECT g, g, g %% 1000, 'row number ' || g, now() FROM generate_series(1, %d) g", rows)
	if _, err := p.sender.RunTimeout(v.database, fill, limit); err != nil {
		return err
	}
	return errors.Join(v.mark(p, mark), v.waitMark(p, mark))
}

// measureConflicts lets both sides write while neither receives, measures the
// receiver alone, and requires that both have the same rows in the end.
func (v variant) measureConflicts(p *pair, load conflictLoad, mark int) (conflictCost, error) {
	if err := errors.Join(v.begin(p), v.catchUp(p), v.end(p)); err != nil {
		return conflictCost{}, err
	}
	for _, step := range []struct {
		server *pgtest.Server
		sql    string
	}{{p.receiver, "TRUNCATE bdr.conflict_history"}, {p.receiver, v.trust(load.trusts)}, {p.receiver, load.earlier}, {p.sender, load.sql}, {p.receiver, load.later}} {
		if _, err := step.server.RunTimeout(v.database, step.sql, limit); err != nil {
			return conflictCost{}, errors.New(pgtest.Explain(err))
		}
	}
	if err := errors.Join(v.mark(p, mark), checkpoint(p.sender, p.receiver)); err != nil {
		return conflictCost{}, err
	}
	m := newMeter(p, v)
	if _, err := p.receiver.Run(v.database, v.release); err != nil {
		return conflictCost{}, err
	}
	if err := v.waitMark(p, mark); err != nil {
		return conflictCost{}, err
	}
	f := m.stop()
	cost := conflictCost{Title: load.title, Rows: load.rows, Wall: f.Wall, Applier: f.CPU[applierRole], Manager: f.CPU[managerRole]}
	var err error
	if cost.Conflicts, err = v.conflictsMet(p, load); err != nil {
		return cost, err
	}
	return cost, errors.Join(v.returnAll(p, mark), v.check(p, []string{"clash"}))
}

// conflictsMet counts what the receiver logged: all rows that both have written.
func (v variant) conflictsMet(p *pair, load conflictLoad) (int, error) {
	rows, err := p.receiver.Run(v.database, "SELECT count(*) FROM bdr.conflict_history")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(rows[0][0])
	if expected := load.rows / 5; err == nil && (load.later == "" && n > 0 || load.later != "" && n < expected) {
		err = fmt.Errorf("%d conflicts of %d rows", n, load.rows)
	}
	return n, err
}

// trust is what makes the next writer of the database look for conflicts or not.
func (v variant) trust(all bool) string {
	if all {
		return "ALTER DATABASE " + v.database + " SET bdr.debug_trust_peers = on"
	}
	return "ALTER DATABASE " + v.database + " RESET bdr.debug_trust_peers"
}

// returnAll lets the sender receive again, up to now.
func (v variant) returnAll(p *pair, mark int) error {
	if _, err := p.sender.Run(v.database, v.release); err != nil {
		return err
	}
	if _, err := p.receiver.Run(v.database, fmt.Sprintf("INSERT INTO done VALUES (%d)", -mark)); err != nil {
		return err
	}
	query := fmt.Sprintf("SELECT count(*) FROM done WHERE id = %d", -mark)
	return waitUntil("the sender has what the receiver wrote", func() bool {
		rows, err := p.sender.Run(v.database, query)
		return err == nil && rows[0][0] == "1"
	})
}

// middleCost is the median of a load's passes, and of what it needs against the
// same pass without detection, row by row.
func middleCost(passes, off []conflictCost) conflictCost {
	middle := func(of func(int) float64) float64 {
		var values []float64
		for i := range passes {
			values = append(values, of(i))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	c := passes[0]
	rows := float64(off[0].Rows) / float64(c.Rows)
	c.Wall = middle(func(i int) float64 { return passes[i].Wall })
	c.Applier = middle(func(i int) float64 { return passes[i].Applier })
	c.Manager = middle(func(i int) float64 { return passes[i].Manager })
	c.WallShare = middle(func(i int) float64 { return rows * passes[i].Wall / off[i].Wall })
	c.ApplierShare = middle(func(i int) float64 { return rows * passes[i].Applier / off[i].Applier })
	return c
}

func (r *conflictsResult) table() string {
	out := newTable("Load", "Rows", "Conflicts logged", "Rows/s", "Writer CPU s per million rows", "Manager CPU s per million rows",
		"Time and writer CPU per row, against detection off")
	for _, c := range r.Loads {
		million := float64(c.Rows) / 1e6
		out.row(c.Title, fmt.Sprint(c.Rows), fmt.Sprint(c.Conflicts), fmt.Sprintf("%.0f", float64(c.Rows)/c.Wall),
			fmt.Sprintf("%.2f", c.Applier/million), fmt.Sprintf("%.2f", c.Manager/million), fmt.Sprintf("%.2f, %.2f", c.WallShare, c.ApplierShare))
	}
	return fmt.Sprintf("PostgreSQL %s, medians of %d, %s%s.\n\n", r.Server, r.Repeats, r.Date, scaleNote(r.Scale)) + out.String()
}
