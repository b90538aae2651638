package catalog

import "testing"

// TestRowsToCopy exists because a join must copy neither what an extension keeps for each
// server nor what is not in the sets of the new node, also where both are said.
func TestRowsToCopy(t *testing.T) {
	for _, c := range []struct {
		table Table
		want  string
	}{
		{Table{Name: "s.t", Columns: "a, b"}, "COPY s.t (a, b) TO STDOUT"},
		{Table{Name: "s.t", Columns: "a, b", Read: "a, b::text", Binary: true}, "COPY (SELECT a, b::text FROM ONLY s.t) TO STDOUT (FORMAT binary)"},
		{Table{Name: "s.t", Columns: "a", Condition: "WHERE a > 9"}, "COPY (SELECT a FROM ONLY s.t WHERE a > 9) TO STDOUT"},
		{Table{Name: "s.t", Columns: "a", Filters: []string{"a = 1", "b"}}, "COPY (SELECT a FROM ONLY s.t WHERE (a = 1) IS NOT FALSE OR (b) IS NOT FALSE) TO STDOUT"},
		{Table{Name: "s.t", Columns: "a", Condition: "WHERE x OR y", Filters: []string{"b"}},
			"COPY (SELECT a FROM (SELECT * FROM ONLY s.t WHERE x OR y) named WHERE (b) IS NOT FALSE) TO STDOUT"},
	} {
		if got := c.table.CopyOut(); got != c.want {
			t.Errorf("rows are read by %s, expected %s", got, c.want)
		}
	}
}
