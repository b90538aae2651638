package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"bdr/gosrc/pgtest"
)

// settings of the benchmark: durable, as in production, and quiet.
var settings = map[string]string{
	"fsync": "on", "autovacuum": "off", "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h",
	"synchronous_commit": "off", "wal_retrieve_retry_interval": "10ms", "wal_sender_timeout": "60s",
	"wal_receiver_status_interval": "1s",
}

func throughput(repeats int, scale float64) error {
	p, stop, err := newPair()
	if err != nil {
		return err
	}
	defer stop()
	all := variants()
	for _, v := range []variant{all[0], all[2]} { // the native variants share a database
		if err := setUp(p, v); err != nil {
			return fmt.Errorf("set up %s: %w", v.name, err)
		}
	}
	results, err := measureAll(p, all, workloads(scale), repeats)
	if err != nil {
		return err
	}
	printResults(all, workloads(scale), results, repeats)
	return nil
}

func newPair() (*pair, func(), error) {
	dir, err := pgtest.ScratchDirectory()
	if err != nil {
		return nil, nil, err
	}
	var servers []*pgtest.Server
	stop := func() {
		for _, s := range servers {
			_, _ = s.Stop(pgtest.Immediate)
		}
		_ = os.RemoveAll(dir)
	}
	for _, name := range []string{"sender", "receiver"} {
		s, err := pgtest.NewServer(dir, name, settings)
		if err != nil {
			stop()
			return nil, nil, err
		}
		servers = append(servers, s)
		if err := s.Start(); err != nil {
			stop()
			return nil, nil, err
		}
	}
	return &pair{servers[0], servers[1]}, stop, nil
}

// setUp makes a variant's database on both sides and starts its replication;
// only the sender has the tables when ours joins, as a join copies them.
func setUp(p *pair, v variant) error {
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
	_, err := p.receiver.Run(v.database, v.pause)
	return err
}

// measureAll returns the measurements by variant, workload and run.
func measureAll(p *pair, all []variant, loads []workload, repeats int) ([][][]measurement, error) {
	results := make([][][]measurement, len(all))
	for i := range results {
		results[i] = make([][]measurement, len(loads))
	}
	mark := 0
	for range repeats {
		for i, v := range all {
			for j, w := range append(slices.Clone(loads), workload{"clean up", emptyTables}) {
				mark++
				m, err := v.measure(p, w, mark)
				if err != nil {
					return nil, errors.Join(fmt.Errorf("%s, %s: %w", v.name, w.name, err), errors.New(p.receiver.LogTail(10)))
				}
				if j < len(loads) {
					fmt.Fprintf(os.Stderr, "%-14s %-34s %6.2f s\n", v.name, w.name, m.wall.Seconds())
					results[i][j] = append(results[i][j], m)
				}
			}
			if err := v.stopReceiving(p); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

func median[T cmp.Ordered](runs []measurement, of func(measurement) T) T {
	var values []T
	for _, m := range runs {
		values = append(values, of(m))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func printResults(all []variant, loads []workload, results [][][]measurement, repeats int) {
	fmt.Printf("Medians of %d runs; seconds; fsync on, %s\n\n", repeats, time.Now().Format(time.DateOnly))
	fmt.Println("| workload | variant | wall | sender CPU | applier CPU | manager CPU | wall: native binary / this |")
	fmt.Println("|---|---|---|---|---|---|---|")
	wall := func(m measurement) time.Duration { return m.wall }
	for j, w := range loads {
		binary := median(results[1][j], wall).Seconds()
		for i, v := range all {
			runs := results[i][j]
			seconds := median(runs, wall).Seconds()
			fmt.Printf("| %s | %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n", w.name, v.name, seconds,
				median(runs, func(m measurement) float64 { return m.sender }),
				median(runs, func(m measurement) float64 { return m.applier }),
				median(runs, func(m measurement) float64 { return m.manager }), binary/seconds)
		}
	}
	fmt.Println()
}
