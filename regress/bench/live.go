package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// lag is the time from the acknowledgement of a commit on the sender to the
// row's being visible to others on the receiver, in milliseconds.
type lag struct {
	Median  float64 `json:"median"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	Probes  int     `json:"probes"`
	Polling float64 `json:"polling"` // median of what a poll saw later (+) or earlier than we did
}

// A probe is a row of its own transaction. On the receiver a trigger, which
// fires for applied rows only, calls pg_notify: the server sends that when the
// transaction has become visible, in both variants the same way, so nothing
// has to poll. Some probes are polled for as a check.
const (
	probeInterval = 10 * time.Millisecond
	polledEvery   = 25
)

const probeTrigger = `CREATE FUNCTION probe_seen() RETURNS trigger LANGUAGE plpgsql AS
 $$ BEGIN PERFORM pg_catalog.pg_notify('probe', NEW.id::text); RETURN NULL; END $$;
CREATE TRIGGER seen AFTER INSERT ON probe FOR EACH ROW EXECUTE FUNCTION probe_seen();
ALTER TABLE probe ENABLE REPLICA TRIGGER seen`

func listenForProbes(receiver *pgtest.Server, database string) error {
	_, err := receiver.Run(database, probeTrigger)
	return err
}

// durable makes the commits of a session wait for the disk, as users' do: the
// sender sends nothing that is not there, and the WAL writer's delay would
// hide all else.
const durable = " options='-c synchronous_commit=on'"

// measureLive runs pgbench and probes side by side.
func (v variant) measureLive(p *pair, w workload, mark int) (figures, error) {
	if err := checkpoint(p.sender, p.receiver); err != nil {
		return figures{}, err
	}
	arguments := []string{"-M", "prepared", "-c", fmt.Sprint(liveClients), "-s", fmt.Sprint(branches),
		"-T", fmt.Sprint(max(1, int(w.live.duration.Seconds()))), "--random-seed", "42"}
	if w.live.rate > 0 {
		arguments = append(arguments, "-R", fmt.Sprint(w.live.rate))
	}
	cmd := p.sender.PgbenchCommand(p.sender.DSN(v.database)+durable, arguments...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	m := newMeter(p, v)
	if err := cmd.Start(); err != nil {
		return figures{}, err
	}
	ended := make(chan struct{})
	var failure error
	go func() {
		failure = cmd.Wait()
		close(ended)
	}()
	l, err := probe(p, v.database, ended)
	<-ended
	if err := errors.Join(err, failure); err != nil {
		return figures{}, fmt.Errorf("%w: %s", err, output.String())
	}
	if err := errors.Join(v.mark(p, mark), v.waitMark(p, mark)); err != nil {
		return figures{}, err
	}
	f := m.stop()
	f.Lag, f.TPS = l, transactionsPerSecond(output.String())
	return f, nil
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

func transactionsPerSecond(output string) float64 {
	m := tps.FindStringSubmatch(output)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(m[1], 64)
	return n
}

// probe commits rows on the sender until told to quit and returns when all of
// them have been seen.
func probe(p *pair, database string, quit <-chan struct{}) (*lag, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	seen, err := watchProbes(ctx, p.receiver, database)
	if err != nil {
		return nil, err
	}
	defer seen.conn.Close(context.Background())
	sender, err := pgconn.Connect(ctx, p.sender.DSN(database)+durable)
	if err != nil {
		return nil, err
	}
	defer sender.Close(context.Background())
	first, err := nextProbe(sender)
	if err != nil {
		return nil, err
	}
	committed, polled := map[int]time.Time{}, map[int]time.Time{}
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for id := first; ; id++ {
		if _, err := pgtest.RunOn(sender, fmt.Sprintf("INSERT INTO probe VALUES (%d, 'a probe')", id), limit); err != nil {
			return nil, err
		}
		committed[id] = time.Now()
		if (id-first)%polledEvery == polledEvery-1 {
			if polled[id], err = poll(p.receiver, database, id); err != nil {
				return nil, err
			}
		}
		select {
		case <-ticker.C:
			continue
		case <-quit:
		}
		arrived, err := seen.upTo(id, len(committed))
		if err != nil {
			return nil, err
		}
		return lagOf(committed, arrived, polled), nil
	}
}

func nextProbe(conn *pgconn.PgConn) (int, error) {
	rows, err := pgtest.RunOn(conn, "SELECT coalesce(max(id), 0) + 1 FROM probe", limit)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(rows[0][0])
}

// poll returns when the probe was found, without a pause between two looks.
func poll(receiver *pgtest.Server, database string, id int) (time.Time, error) {
	query := fmt.Sprintf("SELECT 1 FROM probe WHERE id = %d", id)
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		rows, err := receiver.Run(database, query)
		if err != nil {
			return time.Time{}, err
		}
		if len(rows) == 1 {
			return time.Now(), nil
		}
	}
	return time.Time{}, fmt.Errorf("probe %d has not arrived within %v", id, limit)
}

// arrivals are the times at which probes became visible, as notifications tell.
type arrivals struct {
	conn  *pgconn.PgConn
	times chan arrival
}

type arrival struct {
	id int
	at time.Time
}

// arrivalsMax is more probes than one load can have.
const arrivalsMax = 1 << 16

func watchProbes(ctx context.Context, receiver *pgtest.Server, database string) (*arrivals, error) {
	a := &arrivals{times: make(chan arrival, arrivalsMax)}
	config, err := pgconn.ParseConfig(receiver.DSN(database))
	if err != nil {
		return nil, err
	}
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		at := time.Now()
		id, _ := strconv.Atoi(n.Payload)
		a.times <- arrival{id, at}
	}
	if a.conn, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return nil, err
	}
	if _, err := pgtest.RunOn(a.conn, "LISTEN probe", limit); err != nil {
		return nil, err
	}
	go func() {
		for a.conn.WaitForNotification(ctx) == nil {
		}
		close(a.times)
	}()
	return a, nil
}

// upTo waits for the probe that was sent last; all others must have come, too.
func (a *arrivals) upTo(last, expected int) (map[int]time.Time, error) {
	out := map[int]time.Time{}
	for one := range a.times {
		out[one.id] = one.at
		if one.id == last {
			break
		}
	}
	if len(out) != expected {
		return nil, fmt.Errorf("%d of %d probes have been seen", len(out), expected)
	}
	return out, nil
}

func lagOf(committed, arrived, polled map[int]time.Time) *lag {
	var all, differences []float64
	for id, at := range arrived {
		all = append(all, milliseconds(at.Sub(committed[id])))
		if poll, ok := polled[id]; ok {
			differences = append(differences, milliseconds(poll.Sub(at)))
		}
	}
	slices.Sort(all)
	slices.Sort(differences)
	l := &lag{Median: quantile(all, 0.5), P99: quantile(all, 0.99), Max: quantile(all, 1), Probes: len(all)}
	if len(differences) > 0 {
		l.Polling = quantile(differences, 0.5)
	}
	return l
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile of sorted values.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
