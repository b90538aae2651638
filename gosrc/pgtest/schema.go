package pgtest

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Schema is the definition of everything that users have in a database, as pg_dump
// writes it, without what a server says about itself.
func (s *Server) Schema(database string) (string, error) {
	cmd := s.account.command(s.Dir, filepath.Join(s.bin, "pg_dump"), "--schema-only", "--exclude-schema=bdr", s.DSN(database))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pg_dump: %w: %s", err, out)
	}
	var kept []string
	for line := range strings.Lines(string(out)) {
		if line != "\n" && !strings.HasPrefix(line, "--") && !strings.HasPrefix(line, `\`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, ""), nil
}

// RequireSameSchemas waits as RequireConverged does, and requires that all nodes
// have the same definitions and rows.
func (c *Cluster) RequireSameSchemas() {
	c.t.Helper()
	c.RequireConverged()
	reference, err := c.Nodes[0].Schema(c.Nodes[0].Database)
	c.Nodes[0].Must(err)
	for _, n := range c.Nodes[1:] {
		schema, err := n.Schema(n.Database)
		n.Must(err)
		if schema != reference {
			c.t.Fatalf("the schema of %s differs from that of %s:\n%s", n.Name, c.Nodes[0].Name, differingLines(reference, schema))
		}
	}
}

func differingLines(left, right string) string {
	count := map[string]int{}
	for line := range strings.Lines(left) {
		count[strings.TrimSpace(line)]++
	}
	for line := range strings.Lines(right) {
		count[strings.TrimSpace(line)]--
	}
	return describeDifference("the first", "the other", count)
}
