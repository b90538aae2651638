package replicate

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// A Mode says what a connection brings and how the writer takes it.
type Mode struct {
	writer  ipc.Mode // of SETUP
	origins string   // of the stream
}

// The modes: the peer's own changes, whose conflicts are resolved; or
// everything that the source has, which the writer takes as it comes.
var (
	ModeNormal  = Mode{ipc.ModeNormal, "none"}
	ModeCatchUp = Mode{ipc.ModeCatchUp, "all"}
)

// connectTimeout bounds the making of the replication connection.
const connectTimeout = 10 * time.Second

// Settings that bound the wait between tries, and say what a silence is.
const (
	settingBackoffMin = "bdr.min_worker_backoff_delay"
	settingBackoffMax = "bdr.max_worker_backoff_delay"
	settingSilence    = "wal_receiver_timeout"
)

// settingStandbys names the standbys of which one may take the place of this
// server; empty before version 17.
const settingStandbys = "synchronized_standby_slots"

// silenceDefault is the server's own, for when the setting cannot be read.
const silenceDefault = time.Minute

// open connects the two ends of a subscription: the stream first, since a peer
// that is away is the usual failure and should not cost a process each time;
// then the writer. The position is the origin's own, made durable: the slot's
// may lie before it, and starting there would apply transactions twice.
func (d Deps) open(ctx context.Context, c Config, mode Mode) (*pump, error) {
	sub := c.Subscription
	start, err := d.originPosition(ctx, sub.OriginName)
	if err != nil {
		return nil, err
	}
	s, err := d.openStream(ctx, c, mode, start, nil)
	if err != nil {
		return nil, err
	}
	if err := d.noteTimeline(ctx, c.Subscription, s.Timeline()); err != nil {
		s.Close()
		return nil, err
	}
	w, err := d.openWriter(ctx, c, mode, start)
	if err != nil {
		s.Close()
		return nil, err
	}
	p := newPump(d, sub.Name, s, w, start)
	p.handsOff = mode.writer == ipc.ModeNormal // what a catch-up reads ends at its point
	p.values = newFetcher(d, c)
	if d.Setting(settingStandbys) != "" {
		p.progress.awaitStandbys()
	}
	return p, nil
}

// originPosition reads how far the local origin is.
func (d Deps) originPosition(ctx context.Context, name string) (lsn.LSN, error) {
	results, err := d.Runner.Run(ctx, catalog.SelectOrigin(name))
	if err != nil {
		return 0, fmt.Errorf("read progress of replication origin %q: %w", name, err)
	}
	position, found, err := catalog.OriginOf(results[0])
	if err == nil && !found {
		err = pgerr.New(pgerr.UndefinedObject, "replication origin %q does not exist", name)
	}
	return position, err
}

func (d Deps) openStream(ctx context.Context, c Config, mode Mode, start lsn.LSN, more map[string]string) (Stream, error) {
	values, err := d.Values(ctx)
	if err != nil {
		return nil, fmt.Errorf("read values for stream options: %w", err)
	}
	options := maps.Clone(values)
	options["proto_min"], options["proto_max"] = strconv.Itoa(wire.VersionMin), strconv.Itoa(wire.VersionMax)
	options["origins"] = mode.origins
	maps.Copy(options, more)
	options["node_id"] = strconv.FormatUint(uint64(c.Subscription.TargetID), 10)
	if c.Sets != "" {
		options["replication_sets"] = c.Sets
	}
	s, err := d.Open(ctx, stream.Config{DSN: c.DSN, Slot: c.Subscription.SlotName, Start: start, Timeline: c.Subscription.Timeline, Options: options,
		ConnectTimeout: connectTimeout, ApplicationName: c.Subscription.Name})
	if err != nil {
		return nil, c.explain(err) // not the nil *stream.Stream
	}
	return s, nil
}

func (d Deps) openWriter(ctx context.Context, c Config, mode Mode, start lsn.LSN) (Writer, error) {
	w, err := d.Launch(ctx, c.PeerName)
	if err != nil {
		return nil, fmt.Errorf("start writer: %w", err)
	}
	err = w.Setup(ipc.Setup{Subscription: c.Subscription.ID, PeerNode: c.Subscription.OriginID, LocalNode: c.Subscription.TargetID,
		Mode: mode.writer, PeerName: c.PeerName, First: start})
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("set up writer: %w", err)
	}
	return w, nil
}

// again notes a failure: it tells the administrator what happened and what
// follows, and returns how long to wait within the settings of the moment. What
// is tried again in quick succession is told once.
func (d Deps) again(r *retry, name string, f *Failure) time.Duration {
	delay := r.delay(f.Fault, settingDuration(d.Setting(settingBackoffMin), backoffMin),
		settingDuration(d.Setting(settingBackoffMax), backoffMax))
	if r.passing && r.busy > 1 {
		return delay
	}
	d.Log(ipc.Log, fmt.Sprintf("subscription %q failed and is tried again in %s", name, delay.Round(time.Millisecond)),
		f.detail(), f.hint(name))
	return delay
}
