package main

import (
	"fmt"
	"os"
	"strings"

	"bdr/gosrc/pgtest"
)

// kinds of processes, by a word in their title.
var kinds = []string{"bdr supervisor", "bdr manager", "bdr writer", "walsender", "internal_rpc session"}

// footprint prints what the processes of an idle cluster of three nodes cost.
func footprint() error {
	dir, err := pgtest.ScratchDirectory()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var servers []*pgtest.Server
	defer func() {
		for _, s := range servers {
			_, _ = s.Stop(pgtest.Immediate)
		}
	}()
	for i := range 3 {
		s, err := pgtest.NewServer(dir, fmt.Sprintf("node%d", i+1), nil)
		if err != nil {
			return err
		}
		servers = append(servers, s)
		if err := member(s, servers[0]); err != nil {
			return fmt.Errorf("%s: %s", s.Name, pgtest.Explain(err))
		}
	}
	if err := waitMesh(servers); err != nil {
		return err
	}
	printFootprint(servers)
	return nil
}

func member(s, first *pgtest.Server) error {
	if err := s.Start(); err != nil {
		return err
	}
	if _, err := s.Run("postgres", "CREATE DATABASE ours"); err != nil {
		return err
	}
	statements := []string{"CREATE EXTENSION bdr", createNode(s), "SELECT bdr.create_node_group('bench')"}
	if s != first {
		statements[2] = fmt.Sprintf("SELECT bdr.join_node_group('%s')", first.DSN("ours"))
	}
	for _, sql := range append(statements, "SELECT bdr.wait_for_join_completion()") {
		if _, err := s.Run("ours", sql); err != nil {
			return err
		}
	}
	return nil
}

func waitMesh(servers []*pgtest.Server) error {
	return waitUntil("every node streams from every other", func() bool {
		for _, s := range servers {
			if len(s.ProcessesTitled("walsender")) != len(servers)-1 || len(s.ProcessesTitled("bdr writer")) != len(servers)-1 {
				return false
			}
		}
		return true
	})
}

func printFootprint(servers []*pgtest.Server) {
	fmt.Println("An idle cluster of three nodes, per process (mean over the nodes)")
	fmt.Println()
	fmt.Println("| process | per node | threads | PSS |")
	fmt.Println("|---|---|---|---|")
	for _, kind := range kinds {
		count, threads, pss := 0, 0, 0
		for _, s := range servers {
			for _, p := range s.Processes() {
				if kindOf(p) == kind {
					count++
					threads += p.Threads()
					pss += p.PSSKilobytes()
				}
			}
		}
		if count > 0 {
			fmt.Printf("| %s | %.1f | %.1f | %.1f MB |\n", kind, float64(count)/float64(len(servers)),
				float64(threads)/float64(count), float64(pss)/float64(count)/1024)
		}
	}
	fmt.Println()
}

// kindOf sorts a process; peers' managers call us on ordinary connections.
func kindOf(p pgtest.Process) string {
	for _, kind := range kinds {
		if strings.Contains(p.Title, kind) {
			return kind
		}
	}
	if strings.Contains(p.Title, "postgres ours 127.0.0.1") {
		return kinds[len(kinds)-1]
	}
	return ""
}
