package model

import (
	"fmt"
	"strings"
)

// A world is a table, what it may hold at first, and what users may do to it.
type world struct {
	table  Table
	starts [][]Row
	menu   []Statement
	few    int // of the menu, for three statements in the quick run
}

func row(key, u, w int8) Row { return Row{Key: key, Cols: [columnsMax]int8{u, w}} }

func insert(key, u, w int8) Statement { return Statement{Kind: InsertRow, Row: row(key, u, w)} }

func set(key int8, column int, value int8) Statement {
	return Statement{Kind: SetColumn, Key: key, Column: column, Value: value}
}

func body(key int8) Statement { return Statement{Kind: SetBody, Key: key} }

func move(key, to int8) Statement { return Statement{Kind: SetKey, Key: key, Value: to} }

func remove(key int8) Statement { return Statement{Kind: DeleteRow, Key: key} }

// worlds are small enough to explore to the end and rich enough for every
// collision: over the key, over one constraint, over two at once.
func worlds() []world {
	return []world{
		{KeyOnly, [][]Row{nil, {row(1, 0, 0)}, {row(1, 0, 0), row(2, 0, 0)}},
			[]Statement{insert(1, 0, 0), body(1), move(1, 2), remove(1), insert(2, 0, 0), move(2, 1), remove(2), body(2), move(1, 3)}, 5},
		{OneUnique, [][]Row{nil, {row(1, 1, 0)}, {row(1, 1, 0), row(2, 2, 0)}},
			[]Statement{insert(1, 1, 0), insert(2, 1, 0), set(1, 0, 2), set(2, 0, 1), remove(1), move(1, 2), insert(2, 2, 0), body(1), move(1, 3), remove(2)}, 6},
		{TwoUnique, [][]Row{nil, {row(1, 1, 1)}, {row(1, 1, 1), row(2, 2, 2)}},
			[]Statement{insert(1, 1, 1), insert(2, 1, 2), insert(3, 2, 1), set(1, 1, 2), set(2, 0, 1), move(1, 2), remove(1), insert(2, 2, 2), body(1), set(1, 0, 2), remove(2)}, 6},
		{Excluding, [][]Row{nil, {row(1, 1, 0)}, {row(1, 1, 0), row(2, 3, 0)}},
			[]Statement{insert(1, 1, 0), insert(2, 2, 0), insert(3, 3, 0), set(1, 0, 2), remove(1), body(1), set(2, 0, 2), move(1, 2), remove(2)}, 5},
	}
}

// placements are the ways to spread n statements over nodes, up to the names of
// the nodes.
func placements(n, nodes int) [][]int {
	out := [][]int{{}}
	for range n {
		var longer [][]int
		for _, p := range out {
			used := 0
			for _, node := range p {
				used = max(used, node+1)
			}
			for node := 0; node <= used && node < nodes; node++ {
				longer = append(longer, append(append([]int{}, p...), node))
			}
		}
		out = longer
	}
	return out
}

// tally sums up explorations.
type tally struct {
	cases, compared int
	schedules       uint64
}

// exploreAll runs every sequence of n statements of a world, on every placement.
func exploreAll(w world, n int, config Config) (tally, error) {
	var sum tally
	config.Table = w.table
	for _, statements := range sequences(w.menu, n) {
		for _, start := range w.starts {
			for _, placed := range placements(n, config.Nodes) {
				steps := make([]Step, n)
				for k := range steps {
					steps[k] = Step{placed[k], statements[k]}
				}
				out, err := Explore(config, start, steps)
				if err != nil {
					return sum, fmt.Errorf("%s: %w", describe(w.table, start, steps), err)
				}
				sum.cases++
				sum.compared += out.Compared
				sum.schedules += out.Schedules
			}
		}
	}
	return sum, nil
}

func sequences(menu []Statement, n int) [][]Statement {
	out := [][]Statement{{}}
	for range n {
		var longer [][]Statement
		for _, s := range out {
			for _, st := range menu {
				longer = append(longer, append(append([]Statement{}, s...), st))
			}
		}
		out = longer
	}
	return out
}

// describe writes a case in one line.
func describe(t Table, start []Row, steps []Step) string {
	parts := []string{t.Name, "start " + rowsText(t, start, nil)}
	for _, step := range steps {
		parts = append(parts, fmt.Sprintf("node %d %s", step.Node+1, step.Statement.text(t)))
	}
	return strings.Join(parts, "; ")
}

// rowsText writes rows as key/values, and who wrote them if there are names.
func rowsText(t Table, rows []Row, writers map[int16]string) string {
	var parts []string
	for _, r := range rows {
		part := r.text(t)
		if writers != nil {
			part += " " + writers[r.Body]
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "no row"
	}
	return strings.Join(parts, ", ")
}

func (r Row) text(t Table) string {
	text := fmt.Sprint(r.Key)
	for i := range t.Constraints {
		text += fmt.Sprintf("/%d", r.Cols[i])
	}
	return text
}

func (s Statement) text(t Table) string {
	switch s.Kind {
	case InsertRow:
		return "insert " + s.Row.text(t)
	case SetColumn:
		return fmt.Sprintf("update %d %s=%d", s.Key, "uw"[s.Column:s.Column+1], s.Value)
	case SetKey:
		return fmt.Sprintf("update %d key=%d", s.Key, s.Value)
	case DeleteRow:
		return fmt.Sprintf("delete %d", s.Key)
	default:
		return fmt.Sprintf("update %d", s.Key)
	}
}
