package conflict

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bdr/gosrc/conflict"
	"bdr/gosrc/conflict/model"
	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// gated is a transaction and the number of its gate.
type gated struct {
	number int
	name   string
	model.Transaction
}

// replay is one schedule on its way: what each node committed, and how much of
// it each of the others has applied.
type replay struct {
	*player
	layout     layout
	table      string
	start      []model.Row
	log        [][]gated
	seen       [][]int // by node and origin
	deliveries int
	body       int16 // of the last row that was written
	names      []string
	writers    map[int16]string // names of transactions, by body
	story      []string         // what has happened
}

func newReplay(p *player, l layout, table string) *replay {
	r := &replay{player: p, layout: l, table: table, writers: map[int16]string{}}
	for range p.ids {
		r.log, r.seen = append(r.log, nil), append(r.seen, make([]int, len(p.ids)))
	}
	return r
}

// startBody marks the rows that every node begins with.
const startBody = -1

// create makes the table everywhere. One node writes the first rows, and all
// have them before anything else happens.
func (r *replay) create(start []model.Row, by int) error {
	ddl := []string{fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, u %[2]s, w %[2]s, body int, large text)", r.table, r.layout.unique),
		fmt.Sprintf("ALTER TABLE %s ALTER large SET STORAGE EXTERNAL", r.table)}
	for _, detail := range r.layout.details {
		ddl = append(ddl, fmt.Sprintf(detail, r.table))
	}
	for _, user := range r.users {
		if _, err := results(user, strings.Join(ddl, ";")); err != nil {
			return err
		}
	}
	if len(start) == 0 {
		return nil
	}
	number, gate, err := r.gates.shut(by)
	if err != nil {
		return err
	}
	sql := []string{gate}
	for _, row := range start {
		row.Body, row.Large = startBody, startBody
		r.start = append(r.start, row)
		sql = append(sql, r.sql(model.Statement{Kind: model.InsertRow, Row: row}, startBody))
	}
	if _, err := results(r.users[by], "BEGIN;"+strings.Join(sql, ";")+";COMMIT"); err != nil {
		return err
	}
	for to := range r.log {
		if to == by {
			continue
		}
		if err := r.pass(to, by, number); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) pass(to, from, number int) error {
	if err := r.gates.open(to, [2]int{from, number}); err != nil {
		return err
	}
	return r.gates.await(to, from, number)
}

// pending reports whether a node lacks a transaction of another.
func (r *replay) pending(to, from int) bool {
	return to != from && r.seen[to][from] < len(r.log[from])
}

func (r *replay) tell(format string, values ...any) {
	r.story = append(r.story, fmt.Sprintf(format, values...))
}

// write runs statements as one transaction and compares the node.
func (r *replay) write(n int, statements ...model.Statement) error {
	if err := r.commit(n, statements, nothing); err != nil {
		return err
	}
	return r.check(n)
}

// deliver lets a node apply the next transaction of another, if there is one,
// and compares it.
func (r *replay) deliver(to, from int) error {
	if !r.pending(to, from) {
		return nil
	}
	next := r.log[from][r.seen[to][from]]
	r.tell("node%d gets %s", to+1, next.name)
	if err := r.pass(to, from, next.number); err != nil {
		r.tell("  WRONG: %v", err)
		return fmt.Errorf("node%d does not apply %s", to+1, next.name)
	}
	r.arrived(to, from)
	return r.check(to)
}

func (r *replay) arrived(to, from int) {
	r.seen[to][from]++
	r.deliveries++
}

// rush lets a node apply all that it lacks, from every other node at once, while
// a user of its own writes: before or after the user has locked his rows.
func (r *replay) rush(to int, statements []model.Statement, locked bool) error {
	r.tell("node%d gets at once all that it lacks, while a user writes, %s", to+1, map[bool]string{true: "first", false: "last"}[locked])
	open := func() error { return r.openAll(to) }
	before, between := open, nothing
	if locked {
		before, between = nothing, open
	}
	if err := before(); err != nil {
		return err
	}
	if err := r.commit(to, statements, between); err != nil {
		return err
	}
	return r.awaitAll(to)
}

// deliverAll lets a node apply all that it lacks, from every other node at once.
func (r *replay) deliverAll(to int) error {
	r.tell("node%d gets at once all that it lacks", to+1)
	if err := r.openAll(to); err != nil {
		return err
	}
	return r.awaitAll(to)
}

// awaitAll returns when a node has applied all of the others, and compares it.
func (r *replay) awaitAll(to int) error {
	for from := range r.log {
		for r.pending(to, from) {
			next := r.log[from][r.seen[to][from]]
			r.tell("  it got %s", next.name)
			if err := r.gates.await(to, from, next.number); err != nil {
				r.tell("  WRONG: %v", err)
				return fmt.Errorf("node%d does not apply %s", to+1, next.name)
			}
			r.arrived(to, from)
		}
	}
	return r.check(to)
}

func nothing() error { return nil }

func (r *replay) openAll(to int) error {
	var all [][2]int
	for from := range r.log {
		for k := r.seen[to][from]; from != to && k < len(r.log[from]); k++ {
			all = append(all, [2]int{from, r.log[from][k].number})
		}
	}
	return r.gates.open(to, all...)
}

// vacuum removes the dead rows that nothing holds.
func (r *replay) vacuum(n int) error {
	r.tell("vacuum on node%d", n+1)
	if _, err := results(r.users[n], "VACUUM "+r.table); err != nil {
		return err
	}
	return r.check(n)
}

// rewrite gives the table another file with the same rows.
func (r *replay) rewrite(n int) error {
	r.tell("rewrite on node%d", n+1)
	if _, err := results(r.users[n], fmt.Sprintf("ALTER TABLE %s ALTER body TYPE int USING body + 0", r.table)); err != nil {
		return err
	}
	return r.check(n)
}

// commit runs statements as one transaction, and something else before the end
// of it. A statement that fails undoes all; without a change there is nothing
// to commit.
func (r *replay) commit(n int, statements []model.Statement, between func() error) error {
	number, gate, err := r.gates.shut(n)
	if err != nil {
		return err
	}
	sql, texts := []string{"BEGIN", gate}, []string{}
	for _, st := range statements {
		r.body++
		sql = append(sql, r.sql(st, r.body))
		texts = append(texts, st.Text(&r.layout.table))
	}
	user, text := r.users[n], fmt.Sprintf("node%d: %s", n+1, strings.Join(texts, "; "))
	returned, err := results(user, strings.Join(append(sql, "SELECT pg_current_xact_id()::xid"), ";"))
	if otherwise := between(); otherwise != nil {
		return otherwise
	}
	if r.refused(text, err) {
		_, err = results(user, "ROLLBACK")
		return err
	}
	if err != nil {
		return err
	}
	changes := r.changes(statements, returned[2:])
	if len(changes) == 0 {
		_, err = results(user, "ROLLBACK")
		return err
	}
	return r.finish(n, number, changes, text, string(returned[len(returned)-1][0][0]))
}

// refused reports whether the user's statement or transaction had to fail.
func (r *replay) refused(text string, err error) bool {
	e := pgtest.PgError(err)
	if e == nil || !slices.Contains(clustertest.UserErrors, e.Code) {
		return false
	}
	r.tell("%s: refused, %s", text, e.Message)
	return true
}

// finish ends a transaction and takes it down.
func (r *replay) finish(n, number int, changes []model.Change, text, xid string) error {
	answer, err := results(r.users[n], "COMMIT; SELECT (extract(epoch FROM pg_xact_commit_timestamp('"+xid+"')) * 1000000)::bigint")
	if r.refused(text, err) {
		return nil
	}
	if err != nil {
		return err
	}
	micros, err := strconv.ParseInt(string(answer[1][0][0]), 10, 64)
	if err != nil {
		return err
	}
	name := string(rune('A'+len(r.names)%26)) + strings.Repeat("'", len(r.names)/26)
	r.names = append(r.names, name)
	for _, c := range changes {
		if c.Operation != conflict.OpDelete {
			r.writers[c.Row.Body] = name
		}
	}
	r.tell("%s = %s, committed at %d.%06d", name, text, micros/1000000%1000, micros%1000000)
	version := conflict.Version{Known: true, Time: micros, Node: r.ids[n]}
	r.log[n] = append(r.log[n], gated{number, name, model.Transaction{Version: version, Changes: changes}})
	return nil
}

// changes are what the statements say that they did.
func (r *replay) changes(statements []model.Statement, returned [][][][]byte) []model.Change {
	var out []model.Change
	for i, st := range statements {
		if len(returned[i]) == 0 {
			continue
		}
		row := r.row(returned[i][0])
		switch st.Kind {
		case model.InsertRow:
			out = append(out, model.Change{Operation: conflict.OpInsert, Row: row})
		case model.DeleteRow:
			out = append(out, model.Change{Operation: conflict.OpDelete, OldKey: st.Key})
		default:
			out = append(out, model.Change{Operation: conflict.OpUpdate, OldKey: st.Key, Row: row})
		}
	}
	if r.layout.deferred {
		return lastImages(out)
	}
	return out
}

// lastImages takes the values from rows that the same transaction changed again:
// under a deferred constraint they collide with nothing.
func lastImages(changes []model.Change) []model.Change {
	for i := range changes {
		again := func(later model.Change) bool {
			return later.Operation != conflict.OpInsert && later.OldKey == changes[i].Row.Key
		}
		if slices.ContainsFunc(changes[i+1:], again) {
			changes[i].Row.Cols = [2]int8{}
		}
	}
	return changes
}

// largeSize is more than fits into a row.
const largeSize = 3000

// sql is a statement as the server gets it.
func (r *replay) sql(st model.Statement, body int16) string {
	large := fmt.Sprintf("'%d:'", body)
	if r.layout.large {
		large += fmt.Sprintf(" || repeat('x', %d)", largeSize)
	}
	set := fmt.Sprintf("body = %d", body)
	switch st.Kind {
	case model.InsertRow:
		return fmt.Sprintf("INSERT INTO %s VALUES (%d, %s, %s, %d, %s) RETURNING %s", r.table, st.Row.Key,
			r.value(st.Row.Cols[0]), r.value(st.Row.Cols[1]), body, large, r.columns())
	case model.DeleteRow:
		return fmt.Sprintf("DELETE FROM %s WHERE id = %d RETURNING %s", r.table, st.Key, r.columns())
	case model.SetLarge:
		set += ", large = " + large
	case model.SetColumn:
		set += fmt.Sprintf(", %c = %s", "uw"[st.Column], r.value(st.Value))
	case model.SetKey:
		set += fmt.Sprintf(", id = %d", st.Value)
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE id = %d RETURNING %s", r.table, set, st.Key, r.columns())
}

func (r *replay) value(v int8) string {
	if v == 0 {
		return "NULL"
	}
	return fmt.Sprintf(r.layout.write, v)
}

// columns are those of a row as numbers; a large value begins with its own.
func (r *replay) columns() string {
	return fmt.Sprintf("id, %s, %s, body, split_part(large, ':', 1)", fmt.Sprintf(r.layout.read, "u"), fmt.Sprintf(r.layout.read, "w"))
}

func (r *replay) row(values [][]byte) model.Row {
	var numbers [5]int16
	for i, v := range values {
		n, err := strconv.ParseInt(string(v), 10, 16)
		if err != nil {
			panic(fmt.Sprintf("column %d is %q", i, v))
		}
		numbers[i] = int16(n)
	}
	return model.Row{Key: int8(numbers[0]), Cols: [2]int8{int8(numbers[1]), int8(numbers[2])}, Body: numbers[3], Large: numbers[4]}
}

// check compares the rows of a node with the rule. Where values are not sent, a
// row may be missing as long as a newer version of it is on its way.
func (r *replay) check(n int) error {
	answer, err := results(r.users[n], fmt.Sprintf("SELECT %s FROM %s ORDER BY id", r.columns(), r.table))
	if err != nil {
		return err
	}
	var got []model.Row
	for _, values := range answer[0] {
		got = append(got, r.row(values))
	}
	var seen []*model.Transaction
	all := true
	for from := range r.log {
		known := r.log[from]
		if from != n {
			known = known[:r.seen[n][from]]
			all = all && !r.pending(n, from)
		}
		for i := range known {
			seen = append(seen, &known[i].Transaction)
		}
	}
	want := model.Specified(&r.layout.table, r.start, seen)
	missing := func(row model.Row) bool { return !slices.Contains(got, row) }
	if r.layout.large && !all {
		want = slices.DeleteFunc(want, missing)
	}
	if !slices.Equal(got, want) {
		r.tell("  WRONG: node%d has %s, expected %s", n+1, r.text(got), r.text(want))
		return fmt.Errorf("the rows of node%d are wrong", n+1)
	}
	return nil
}

// text is rows and the transactions that wrote them.
func (r *replay) text(rows []model.Row) string {
	if len(rows) == 0 {
		return "no row"
	}
	var parts []string
	for _, row := range rows {
		part := row.Text(&r.layout.table) + " " + r.writer(row.Body)
		if r.layout.large {
			part += fmt.Sprintf(" (large of %s)", r.writer(row.Large))
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// writer names the transaction of a body; S is the start.
func (r *replay) writer(body int16) string {
	if body == startBody {
		return "S"
	}
	return r.writers[body]
}
