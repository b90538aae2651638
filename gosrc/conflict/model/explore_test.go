package model

import (
	"fmt"
	"strings"
)

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
func exploreAll(w World, n int, config Config) (tally, error) {
	var sum tally
	config.Table = w.Table
	for _, statements := range sequences(w.Menu, n) {
		for _, start := range w.Starts {
			for _, placed := range placements(n, config.Nodes) {
				steps := make([]Step, n)
				for k := range steps {
					steps[k] = Step{placed[k], statements[k]}
				}
				out, err := Explore(config, start, steps)
				if err != nil {
					return sum, fmt.Errorf("%s: %w", describe(w.Table, start, steps), err)
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
	parts := []string{t.Name, "start " + RowsText(&t, start, nil)}
	for _, step := range steps {
		parts = append(parts, fmt.Sprintf("node %d %s", step.Node+1, step.Statement.Text(&t)))
	}
	return strings.Join(parts, "; ")
}
