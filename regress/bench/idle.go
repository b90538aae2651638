package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bdr/gosrc/pgtest"
)

// idleResult is what the processes of an idle cluster cost.
type idleResult struct {
	Date      string     `json:"date"`
	Seconds   float64    `json:"seconds"` // observed
	Processes []idleCost `json:"processes"`
}

// idleCost is one kind of process; but for the count, per process.
type idleCost struct {
	Kind    string  `json:"kind"`
	PerNode float64 `json:"perNode"`
	Threads float64 `json:"threads"`
	CPU     float64 `json:"cpu"`     // milliseconds per minute
	Wakeups float64 `json:"wakeups"` // per minute
	Private float64 `json:"private"` // MB
	PSS     float64 `json:"pss"`     // MB
}

// idleNodes is the size of the idle cluster.
const idleNodes = 3

// kind is a sort of process, by words in its title; for a walsender, which
// names no database, with the output plugin of its slot.
type kind struct {
	name  string
	words []string
}

// kinds: the first that fits counts. Peers' managers call each other on
// ordinary connections.
var kinds = []kind{
	{"bdr supervisor", []string{"bdr supervisor"}},
	{"bdr manager", []string{"bdr manager"}},
	{"bdr writer", []string{"bdr writer"}},
	{"walsender to bdr", []string{"walsender", "bdr_output"}},
	{"session of `bdr.internal_rpc`", []string{"postgres ours 127.0.0.1"}},
	{"native: launcher", []string{"logical replication launcher"}},
	{"native: apply worker", []string{"logical replication", "worker for subscription"}},
	{"native: walsender", []string{"walsender", "pgoutput"}},
}

// idleSettings are PostgreSQL's own where tests have quicker ones.
var idleSettings = map[string]string{"wal_sender_timeout": "60s", "wal_retrieve_retry_interval": "5s", "autovacuum": "off"}

// idle looks at a cluster, and a native subscription beside it, that have
// nothing to do.
func idle(o options, r *report) error {
	var names []string
	for i := range idleNodes {
		names = append(names, fmt.Sprintf("node%d", i+1))
	}
	servers, stop, err := newServers(names, idleSettings)
	if err != nil {
		return err
	}
	defer stop()
	for _, s := range servers {
		if _, err := s.Run("postgres", "CREATE DATABASE ours"); err != nil {
			return err
		}
		if err := member(s, servers[0]); err != nil {
			return err
		}
	}
	if err := nativePair(&pair{servers[0], servers[1]}); err != nil {
		return err
	}
	if err := waitMesh(servers); err != nil {
		return err
	}
	time.Sleep(settleTime)
	r.Idle, err = observe(servers, time.Duration(float64(time.Minute)*max(o.scale, 0.2)))
	return err
}

// settleTime is how long a cluster that was made gets to become quiet.
const settleTime = 15 * time.Second

// nativePair makes the database "native" on both servers, one subscribed to
// the other.
func nativePair(p *pair) error {
	for _, s := range []*pgtest.Server{p.sender, p.receiver} {
		if _, err := s.Run("postgres", "CREATE DATABASE native"); err != nil {
			return err
		}
	}
	if _, err := p.sender.Run("native", schema); err != nil {
		return err
	}
	return prepareNative(p)
}

func waitMesh(servers []*pgtest.Server) error {
	return waitUntil("every node streams from every other", func() bool {
		for _, s := range servers {
			rows, err := s.Run("ours", "SELECT count(*) FROM pg_replication_slots WHERE active AND plugin = 'bdr_output'")
			if err != nil || rows[0][0] != fmt.Sprint(len(servers)-1) || len(s.ProcessesTitled("bdr writer")) != len(servers)-1 {
				return false
			}
		}
		return true
	})
}

// observed is one process at the beginning.
type observed struct {
	process pgtest.Process
	kind    int
	run     float64
	wakeups int
}

// observe adds up what the processes that live all the time do.
func observe(servers []*pgtest.Server, period time.Duration) (*idleResult, error) {
	var before []observed
	for _, s := range servers {
		more, err := observedOf(s)
		if err != nil {
			return nil, err
		}
		before = append(before, more...)
	}
	began := time.Now()
	time.Sleep(period)
	minutes := time.Since(began).Minutes()
	sums, counts := make([]idleCost, len(kinds)), make([]float64, len(kinds))
	for _, b := range before {
		if !b.process.Gone() {
			counts[b.kind]++
			sums[b.kind].add(b, minutes)
		}
	}
	out := &idleResult{Date: today(), Seconds: minutes * 60}
	for i, c := range sums {
		if n := counts[i]; n > 0 {
			out.Processes = append(out.Processes, idleCost{kinds[i].name, n / float64(len(servers)), c.Threads / n, c.CPU / n,
				c.Wakeups / n, c.Private / n, c.PSS / n})
		}
	}
	return out, nil
}

// observedOf lists the processes of a server and closes our own sessions.
func observedOf(s *pgtest.Server) ([]observed, error) {
	rows, err := s.Run("postgres", "SELECT active_pid, plugin FROM pg_replication_slots WHERE active")
	if err != nil {
		return nil, err
	}
	s.CloseSessions()
	plugins := map[string]string{}
	for _, row := range rows {
		plugins[row[0]] = row[1]
	}
	var out []observed
	for _, p := range s.Processes() {
		if k := kindOf(p.Title + " " + plugins[fmt.Sprint(p.PID)]); k >= 0 {
			out = append(out, observed{p, k, p.RunSeconds(), p.Wakeups()})
		}
	}
	return out, nil
}

func (c *idleCost) add(b observed, minutes float64) {
	c.CPU += (b.process.RunSeconds() - b.run) * 1000 / minutes
	c.Wakeups += float64(b.process.Wakeups()-b.wakeups) / minutes
	c.Threads += float64(b.process.Threads())
	c.Private += float64(b.process.PrivateKilobytes()) / 1024
	c.PSS += float64(b.process.PSSKilobytes()) / 1024
}

func kindOf(title string) int {
	return slices.IndexFunc(kinds, func(k kind) bool {
		return !slices.ContainsFunc(k.words, func(w string) bool { return !strings.Contains(title, w) })
	})
}

func (r *idleResult) table() string {
	out := newTable("Process", "Per node", "Threads", "CPU ms per minute", "Wakeups per minute", "Private MB", "PSS MB")
	for _, c := range r.Processes {
		perNode := fmt.Sprintf("%.1f", c.PerNode)
		if strings.HasPrefix(c.Kind, "native") {
			perNode = ""
		}
		out.row(c.Kind, perNode, fmt.Sprintf("%.0f", c.Threads), fmt.Sprintf("%.1f", c.CPU), fmt.Sprintf("%.0f", c.Wakeups),
			fmt.Sprintf("%.1f", c.Private), fmt.Sprintf("%.1f", c.PSS))
	}
	return fmt.Sprintf("Three nodes, observed for %.0f s, %s.\n\n", r.Seconds, r.Date) + out.String()
}
