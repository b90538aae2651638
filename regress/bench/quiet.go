package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"bdr/gosrc/pgtest"
)

// quietResult is what a stream costs whose database is quiet while another one
// of the same server writes: the WAL is one, so every walsender reads it all.
type quietResult struct {
	Date      string      `json:"date"`
	Gigabytes float64     `json:"gigabytes"` // of WAL
	Streams   []quietCost `json:"streams"`
}

// quietCost is one variant's part. Seconds run from the end of the writing.
type quietCost struct {
	Variant   string  `json:"variant"`
	Sender    float64 `json:"sender"`    // CPU seconds per GB of WAL
	Receiver  float64 `json:"receiver"`  // CPU seconds per GB, of all that receives
	Confirmed float64 `json:"confirmed"` // seconds until confirmed_flush_lsn had passed the end
	Restart   float64 `json:"restart"`   // and restart_lsn, after a checkpoint
	Memory    float64 `json:"memory"`    // MB of the walsender, private
}

// quiet streams two quiet databases while a third one writes.
func quiet(o options, r *report) error {
	p, stop, err := newPair(settings)
	if err != nil {
		return err
	}
	defer stop()
	streams, err := chosenVariants([]string{"binary", "bdr"})
	if err != nil {
		return err
	}
	for i, v := range streams {
		if err := errors.Join(v.setUp(p, i+1), v.begin(p)); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	for _, v := range streams {
		if err := v.catchUp(p); err != nil {
			return err
		}
	}
	costs := make([]quietCost, len(streams))
	before := make([]quietCost, len(streams))
	for i, v := range streams {
		if before[i], err = v.spent(p); err != nil {
			return err
		}
	}
	gigabytes, err := writeElsewhere(p.sender, o.scale)
	if err != nil {
		return err
	}
	if err := awaitSlots(p, streams, costs); err != nil {
		return err
	}
	for i, v := range streams {
		now, err := v.spent(p)
		if err != nil {
			return err
		}
		costs[i].Variant, costs[i].Memory = v.name, now.Memory
		costs[i].Sender = (now.Sender - before[i].Sender) / gigabytes
		costs[i].Receiver = (now.Receiver - before[i].Receiver) / gigabytes
	}
	r.Quiet = &quietResult{Date: today(), Gigabytes: gigabytes, Streams: costs}
	return nil
}

// spent is the CPU time so far of a variant's stream. Here both variants run at
// the same time, so the slot tells whose walsender it is.
func (v variant) spent(p *pair) (quietCost, error) {
	rows, err := p.sender.Run(v.database, fmt.Sprintf("SELECT active_pid FROM pg_replication_slots WHERE active AND database = '%s'", v.database))
	if err != nil {
		return quietCost{}, err
	}
	if len(rows) != 1 {
		return quietCost{}, fmt.Errorf("%s has %d streams, not one", v.name, len(rows))
	}
	pid, _ := strconv.Atoi(rows[0][0])
	walsender := pgtest.Process{PID: pid}
	c := quietCost{Sender: walsender.CPUSeconds(), Memory: float64(walsender.PrivateKilobytes()) / 1024}
	for _, name := range []string{applierRole, managerRole} {
		for _, process := range v.processes(p, name) {
			c.Receiver += process.CPUSeconds()
		}
	}
	return c, nil
}

// writeElsewhere fills a database that nobody replicates until there is a
// gigabyte of WAL, and says how much there is.
func writeElsewhere(s *pgtest.Server, scale float64) (gigabytes float64, err error) {
	if _, err := s.Run("postgres", "CREATE DATABASE busy"); err != nil {
		return 0, err
	}
	if _, err := s.Run("busy", schema); err != nil {
		return 0, err
	}
	rows, err := s.Run("busy", "SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return 0, err
	}
	written := fmt.Sprintf("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '%s') / 2.0 ^ 30", rows[0][0])
	const part = 200_000
	for gigabytes < scale {
		fill := fmt.Sprintf("TRUNCATE bulk; INSERT INTO bulk SELECT g, g %% 1000, g * 7, 'row number ' || g, now() FROM generate_series(1, %d) g", part)
		if _, err := s.RunTimeout("busy", fill, limit); err != nil {
			return 0, err
		}
		rows, err := s.Run("busy", written)
		if err != nil {
			return 0, err
		}
		if gigabytes, err = strconv.ParseFloat(rows[0][0], 64); err != nil {
			return 0, err
		}
	}
	return gigabytes, nil
}

// awaitSlots measures how long the positions of each stream take to pass the
// end of what was written. WAL is freed up to restart_lsn, which moves with
// checkpoints.
func awaitSlots(p *pair, streams []variant, costs []quietCost) error {
	rows, err := p.sender.Run("postgres", "SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return err
	}
	for _, position := range []string{"confirmed_flush_lsn", "restart_lsn"} {
		began, missing := time.Now(), map[int]bool{0: true, 1: true}
		err := waitUntil("the slots of quiet databases move", func() bool {
			for i := range missing {
				passed, err := p.sender.Run("postgres", fmt.Sprintf("SELECT bool_and(%s >= '%s') FROM pg_replication_slots WHERE database = '%s'",
					position, rows[0][0], streams[i].database))
				if err != nil || passed[0][0] != "t" {
					continue
				}
				delete(missing, i)
				costs[i].reached(position, time.Since(began).Seconds())
			}
			if position == "restart_lsn" && len(missing) > 0 {
				return checkpoint(p.sender) != nil
			}
			return len(missing) == 0
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *quietCost) reached(position string, seconds float64) {
	if position == "restart_lsn" {
		c.Restart = seconds
	} else {
		c.Confirmed = seconds
	}
}

func (r *quietResult) table() string {
	out := newTable("Stream", "Walsender CPU s per GB of WAL", "Receiver CPU s per GB", "confirmed_flush_lsn after s", "restart_lsn after s", "Walsender private MB")
	for _, c := range r.Streams {
		out.row(c.Variant, fmt.Sprintf("%.2f", c.Sender), fmt.Sprintf("%.2f", c.Receiver), fmt.Sprintf("%.2f", c.Confirmed),
			fmt.Sprintf("%.2f", c.Restart), fmt.Sprintf("%.1f", c.Memory))
	}
	return fmt.Sprintf("%.2f GB of WAL from another database of the server, %s.\n\n", r.Gigabytes, r.Date) + out.String()
}
