package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"bdr/gosrc/pgtest"
)

// settings of the benchmark: durable, as in production, and quiet.
var settings = map[string]string{
	"fsync": "on", "autovacuum": "off", "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h",
	"synchronous_commit": "off", "wal_retrieve_retry_interval": "10ms", "wal_sender_timeout": "60s",
	"wal_receiver_status_interval": "1s",
}

// throughput measures the chosen workloads in the chosen variants.
func throughput(o options, r *report) error {
	chosen, err := chosenVariants(o.variants)
	if err != nil {
		return err
	}
	var loads []workload
	for _, w := range workloads(o.scale) {
		if o.wants(w.name) {
			loads = append(loads, w)
		}
	}
	p, stop, err := newPair(settings)
	if err != nil {
		return err
	}
	defer stop()
	mark := 0
	ready := map[string]bool{}
	for _, v := range chosen {
		if ready[v.database] {
			continue // the native variants share one
		}
		ready[v.database] = true
		mark++
		if err := v.setUp(p, mark); err != nil {
			return fmt.Errorf("set up %s: %w", v.name, err)
		}
	}
	passes, err := measureAll(p, chosen, loads, o.repeats, mark)
	if err != nil {
		return errors.Join(err, errors.New(p.receiver.LogTail(10)))
	}
	r.Throughput = &throughputResult{Date: today(), Server: serverVersion(p.sender), Repeats: o.repeats, Scale: o.scale}
	for i, w := range loads {
		r.Throughput.Workloads = append(r.Throughput.Workloads, summarise(w, passes[i], chosen))
	}
	return nil
}

func newPair(settings map[string]string) (*pair, func(), error) {
	servers, stop, err := newServers([]string{"sender", "receiver"}, settings)
	if err != nil {
		return nil, nil, err
	}
	return &pair{servers[0], servers[1]}, stop, nil
}

// newServers starts servers in a directory of their own; stop removes all.
func newServers(names []string, settings map[string]string) (servers []*pgtest.Server, stop func(), err error) {
	dir, err := pgtest.ScratchDirectory()
	if err != nil {
		return nil, nil, err
	}
	stop = func() {
		for _, s := range servers {
			_, _ = s.Stop(pgtest.Immediate)
		}
		_ = os.RemoveAll(dir)
	}
	for _, name := range names {
		s, err := pgtest.NewServer(dir, name, settings)
		if err == nil {
			servers = append(servers, s)
			err = s.Start()
		}
		if err != nil {
			stop()
			return nil, nil, err
		}
	}
	return servers, stop, nil
}

// setUp makes a variant's database on both sides and starts its replication;
// only the sender has the tables when ours joins, as a join copies them.
func (v variant) setUp(p *pair, mark int) error {
	for _, s := range []*pgtest.Server{p.sender, p.receiver} {
		if _, err := s.Run("postgres", "CREATE DATABASE "+v.database); err != nil {
			return err
		}
	}
	if _, err := p.sender.Run(v.database, schema); err != nil {
		return err
	}
	if err := v.prepare(p); err != nil {
		return err
	}
	if err := listenForProbes(p.receiver, v.database); err != nil {
		return err
	}
	if _, err := p.sender.RunTimeout(v.database, fillBench, limit); err != nil {
		return err
	}
	if err := errors.Join(v.mark(p, mark), v.waitMark(p, mark)); err != nil {
		return err
	}
	return v.end(p)
}

// measureAll returns the figures by workload, variant and pass.
func measureAll(p *pair, chosen []variant, loads []workload, repeats, mark int) ([][][]figures, error) {
	passes := make([][][]figures, len(loads))
	for i := range passes {
		passes[i] = make([][]figures, len(chosen))
	}
	for range repeats {
		for j, v := range chosen {
			if err := v.begin(p); err != nil {
				return nil, err
			}
			for i, w := range loads {
				mark++
				f, err := v.measure(p, w, mark)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", v.name, w.title, err)
				}
				fmt.Fprintf(os.Stderr, "%-14s %-46s %s\n", v.name, w.title, f.short())
				passes[i][j] = append(passes[i][j], f)
			}
			mark++
			if err := v.cleanUp(p, mark); err != nil {
				return nil, fmt.Errorf("%s, clean up: %w", v.name, err)
			}
		}
	}
	return passes, nil
}

// cleanUp empties the tables on both sides and ends the variant's turn.
func (v variant) cleanUp(p *pair, mark int) error {
	if _, err := p.receiver.Run(v.database, v.release); err != nil {
		return err
	}
	if _, err := p.sender.RunTimeout(v.database, emptyTables, limit); err != nil {
		return err
	}
	if err := errors.Join(v.mark(p, mark), v.waitMark(p, mark)); err != nil {
		return err
	}
	return v.end(p)
}

// measure makes one pass of a workload.
func (v variant) measure(p *pair, w workload, mark int) (figures, error) {
	if err := v.catchUp(p); err != nil {
		return figures{}, err
	}
	measure := v.measureBulk
	if w.live != nil {
		measure = v.measureLive
	}
	f, err := measure(p, w, mark)
	if err != nil {
		return figures{}, err
	}
	return f, v.check(p, w.tables)
}

// measureBulk generates the workload, releases it and waits for its last row.
func (v variant) measureBulk(p *pair, w workload, mark int) (figures, error) {
	if err := v.stopReceiving(p); err != nil {
		return figures{}, err
	}
	if _, err := p.sender.RunTimeout(v.database, w.sql, limit); err != nil {
		return figures{}, errors.New(pgtest.Explain(err))
	}
	if err := v.mark(p, mark); err != nil {
		return figures{}, err
	}
	if err := checkpoint(p.sender, p.receiver); err != nil {
		return figures{}, err
	}
	m := newMeter(p, v)
	if _, err := p.receiver.Run(v.database, v.release); err != nil {
		return figures{}, err
	}
	err := v.waitMark(p, mark)
	return m.stop(), err
}

func checkpoint(servers ...*pgtest.Server) error {
	for _, s := range servers {
		if _, err := s.RunTimeout("postgres", "CHECKPOINT", limit); err != nil {
			return err
		}
	}
	return nil
}

func serverVersion(s *pgtest.Server) string {
	rows, err := s.Run("postgres", "SHOW server_version")
	if err != nil {
		return ""
	}
	return rows[0][0]
}

func today() string { return time.Now().Format(time.DateOnly) }
