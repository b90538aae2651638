package main

import (
	"fmt"
	"time"
)

// workload is SQL that the sender runs while receiving is paused, or a live
// load.
type workload struct {
	name    string
	title   string
	changes int // rows
	sql     string
	live    *liveLoad
	tables  []string // that it changes
	target  targets
}

// targets are what a workload must reach against native binary; zero: none.
type targets struct {
	Wall    float64 `json:"wall,omitempty"`    // at least this many times as fast
	Applier float64 `json:"applier,omitempty"` // at most this share of the CPU time
	Sender  float64 `json:"sender,omitempty"`
	Lag     float64 `json:"lag,omitempty"` // at most this share of median and p99
}

// liveLoad is pgbench's TPC-B with four clients while both sides are up.
type liveLoad struct {
	duration time.Duration
	rate     int // transactions per second, 0: as many as can be
}

// liveClients is the number of pgbench's sessions.
const liveClients = 4

// branches is pgbench's scale: a branch for each client.
const branches = liveClients

const schema = `CREATE TABLE bulk (id bigint PRIMARY KEY, a integer NOT NULL, b bigint, c text, d timestamptz);
CREATE TABLE single (id bigint PRIMARY KEY, a integer NOT NULL, b bigint, c text, d timestamptz);
CREATE TABLE wide (id bigint PRIMARY KEY, customer integer NOT NULL, kind smallint, name text NOT NULL, note varchar(200),
  amount numeric(12,2) NOT NULL, rate double precision, created timestamptz NOT NULL, due date, reference uuid NOT NULL,
  active boolean NOT NULL, document jsonb, tags text[]);
CREATE INDEX ON wide (customer);
CREATE INDEX ON wide (created);
CREATE TABLE done (id bigint PRIMARY KEY);
CREATE TABLE probe (id bigint PRIMARY KEY, note text);
CREATE TABLE pgbench_branches (bid integer PRIMARY KEY, bbalance integer, filler char(88));
CREATE TABLE pgbench_tellers (tid integer PRIMARY KEY, bid integer, tbalance integer, filler char(84));
CREATE TABLE pgbench_accounts (aid integer PRIMARY KEY, bid integer, abalance integer, filler char(84));
CREATE TABLE pgbench_history (tid integer, bid integer, aid integer, delta integer, mtime timestamp, filler char(22))`

var benchTables = []string{"pgbench_branches", "pgbench_tellers", "pgbench_accounts", "pgbench_history", "probe"}

// fillBench is what pgbench -i would write.
var fillBench = fmt.Sprintf(`INSERT INTO pgbench_branches SELECT b, 0 FROM generate_series(1, %[1]d) b;
INSERT INTO pgbench_tellers SELECT t, (t - 1) / 10 + 1, 0 FROM generate_series(1, %[1]d * 10) t;
INSERT INTO pgbench_accounts SELECT a, (a - 1) / 100000 + 1, 0, '' FROM generate_series(1, %[1]d * 100000) a`, branches)

// emptyTables brings a variant back to where it began, replicated like all else.
const emptyTables = "TRUNCATE bulk, single, wide, done"

// workloads are the table of targets, in an order in which each finds the rows
// that it needs: of bulk, a fifth is updated by hundreds, the next fifth
// deleted, the next updated one by one.
func workloads(scale float64) []workload {
	million, thousands := int(1_000_000*scale), int(200_000*scale)
	seconds := time.Duration(10 * float64(time.Second) * max(scale, 0.2))
	return []workload{
		{name: "bulk", title: "1M rows x 5 columns, one transaction", changes: million, tables: []string{"bulk"},
			target: targets{Wall: 1.8, Applier: 0.45, Sender: 0.7}, sql: fmt.Sprintf(
				`INSERT INTO bulk SELECT g, g %% 1000, g * 7, 'row number ' || g, now() FROM generate_series(1, %d) g`, million)},
		{name: "wide", title: "200k rows x 13 columns, 2 secondary indexes", changes: thousands, tables: []string{"wide"},
			target: targets{Wall: 1.3, Applier: 0.8, Sender: 0.7}, sql: insertWide(thousands)},
		{name: "single", title: "200k one-row insert transactions", changes: thousands, tables: []string{"single"},
			target: targets{Wall: 1.6, Applier: 0.75, Sender: 0.6}, sql: loop(1, thousands,
				`INSERT INTO single VALUES (i, i % 1000, i * 7, 'row number ' || i, now())`)},
		{name: "update", title: "200k updates by key, 100 per transaction", changes: thousands, tables: []string{"bulk"},
			target: targets{Wall: 1.4, Applier: 0.75, Sender: 0.6}, sql: loop(0, thousands/100-1,
				`UPDATE bulk SET a = a + 1, c = 'changed ' || id WHERE id BETWEEN i * 100 + 1 AND i * 100 + 100`)},
		{name: "delete", title: "200k deletes, 100 per transaction", changes: thousands, tables: []string{"bulk"},
			target: targets{Wall: 1.6, Applier: 0.65, Sender: 0.5}, sql: loop(0, thousands/100-1, fmt.Sprintf(
				`DELETE FROM bulk WHERE id BETWEEN %[1]d + i * 100 + 1 AND %[1]d + i * 100 + 100`, thousands))},
		{name: "update1", title: "200k one-row update transactions", changes: thousands, tables: []string{"bulk"}, sql: loop(1, thousands,
			fmt.Sprintf(`UPDATE bulk SET a = a + 1, c = 'changed ' || id WHERE id = %d + i`, 2*thousands))},
		{name: "live", title: "pgbench TPC-B, 4 clients, 500/s", tables: benchTables, target: targets{Lag: 1},
			live: &liveLoad{duration: seconds, rate: 500}},
		{name: "live-full", title: "pgbench TPC-B, 4 clients, unthrottled", tables: benchTables, target: targets{Lag: 1},
			live: &liveLoad{duration: seconds}},
	}
}

// loop is one transaction for each i.
func loop(from, to int, statement string) string {
	return fmt.Sprintf(`DO $$ BEGIN FOR i IN %d..%d LOOP %s; COMMIT; END LOOP; END $$`, from, to, statement)
}

func insertWide(rows int) string {
	return fmt.Sprintf(`INSERT INTO wide SELECT g, g %% 10000, g %% 7, 'customer ' || g, 'a note about order ' || g,
  (g %% 100000) / 100.0, g / 3.0::double precision, timestamptz '2026-01-01 UTC' + g * interval '1 second', date '2026-01-01' + g %% 365,
  md5(g::text)::uuid, g %% 2 = 0, jsonb_build_object('number', g, 'state', 'open', 'lines', jsonb_build_array(g, g + 1)),
  ARRAY['tag ' || g %% 10, 'tag ' || g %% 100] FROM generate_series(1, %d) g`, rows)
}
