package model

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A World is a table, what it may hold at first, and what users may do to it.
type World struct {
	Table  Table
	Starts [][]Row
	Menu   []Statement
	Few    int // of the menu, for three statements in the quick run
}

func row(key, u, w int8) Row { return Row{Key: key, Cols: [columnsMax]int8{u, w}} }

func insert(key, u, w int8) Statement { return Statement{Kind: InsertRow, Row: row(key, u, w)} }

func set(key int8, column int, value int8) Statement {
	return Statement{Kind: SetColumn, Key: key, Column: column, Value: value}
}

func body(key int8) Statement { return Statement{Kind: SetBody, Key: key} }

func move(key, to int8) Statement { return Statement{Kind: SetKey, Key: key, Value: to} }

func remove(key int8) Statement { return Statement{Kind: DeleteRow, Key: key} }

// Worlds are small enough to explore to the end and rich enough for every
// collision: over the key, over one constraint, over two at once.
func Worlds() []World {
	return []World{
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

// Possible lists the statements of the menu that change something.
func (w *World) Possible(start []Row) []Statement {
	var out []Statement
	for _, st := range w.Menu {
		c := started(Config{Nodes: 1, Table: w.Table}, start)
		if _, ok := c.prepare(&c.nodes[0], []Statement{st}); ok {
			out = append(out, st)
		}
	}
	return out
}

// RandomStatement makes a statement on few keys and values, so that they meet.
func RandomStatement(random *rand.Rand, t *Table, large bool) Statement {
	small := func() int8 { return int8(random.IntN(3) + 1) }
	st := Statement{Kind: StatementKind(random.IntN(int(statementKinds))), Key: small(), Value: small()}
	if st.Kind == SetLarge && !large {
		st.Kind = SetBody
	}
	if st.Kind == SetColumn && len(t.Constraints) > 0 {
		st.Column = random.IntN(len(t.Constraints))
	}
	st.Row = Row{Key: st.Key, Cols: [columnsMax]int8{int8(random.IntN(4)), int8(random.IntN(4))}}
	return st
}

// RowsText writes rows as key/values, and who wrote them if there are names.
func RowsText(t *Table, rows []Row, writers map[int16]string) string {
	var parts []string
	for _, r := range rows {
		part := r.Text(t)
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

// Text writes a row as key/values.
func (r Row) Text(t *Table) string {
	text := fmt.Sprint(r.Key)
	for i := range t.Constraints {
		text += fmt.Sprintf("/%d", r.Cols[i])
	}
	return text
}

// Text writes a statement in a few words.
func (s Statement) Text(t *Table) string {
	switch s.Kind {
	case InsertRow:
		return "insert " + s.Row.Text(t)
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
