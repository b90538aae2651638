package clustertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgtest"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// Publisher starts a server with only the output plugin.
func Publisher(t *testing.T, settings map[string]string) *pgtest.Node {
	t.Helper()
	all := map[string]string{"shared_preload_libraries": "", "autovacuum": "off", "wal_sender_timeout": "60s"}
	maps.Copy(all, settings)
	n := pgtest.StartPlain(t, "publisher", all)
	n.Exec("SELECT pg_replication_origin_create('" + MessageOrigin(n) + "')")
	return n
}

// StreamOptions are those of a subscriber that is like the server.
func StreamOptions(change map[string]string) map[string]string {
	options := map[string]string{"proto_min": "2", "proto_max": "2", "server_version": "150000", "encoding": "UTF8",
		"architecture": "le:datum8:float8byval:maxalign8:toast2k:blcksz8192:namedata64", "origins": "none", "node_id": "7"}
	for name, value := range change {
		options[name] = value
	}
	return options
}

// A reader follows one stream and checks the promises that hold for every
// stream: frames are whole, transactions pair up, and a keepalive never speaks
// of a transaction that has not been sent.
type Reader struct {
	T        *testing.T
	Stream   *stream.Stream
	Tracker  wire.Tracker
	Promised lsn.LSN // by keepalives and frame headers
	Last     lsn.LSN // end of the last transaction
	Frames   [][]byte
	Keep     bool // frames
	Commits  int
	Changes  int
	Messages []string
	Asked    bool // the server wants an answer
}

// CreateSlot makes a slot of bdr_output and returns where it starts.
func CreateSlot(n *pgtest.Node, name string) lsn.LSN {
	at, err := lsn.Parse(n.Value(fmt.Sprintf("SELECT lsn FROM pg_create_logical_replication_slot('%s', 'bdr_output')", name)))
	n.Must(err)
	return at
}

// OpenStream reads a slot from a position on, for as long as the test runs.
func OpenStream(t *testing.T, n *pgtest.Node, slot string, at lsn.LSN, options map[string]string) *Reader {
	t.Helper()
	config := stream.Config{DSN: n.NodeDSN, Slot: slot, Start: at, Options: StreamOptions(options), ApplicationName: "output_test"}
	if options["server_version"] == "" {
		config.Options["server_version"] = n.Value("SHOW server_version_num")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := stream.Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &Reader{T: t, Stream: s, Keep: true}
}

// Next takes one message of the stream.
func (r *Reader) Next(ctx context.Context) error {
	m, err := r.Stream.Receive(ctx)
	if err != nil {
		return err
	}
	if m.Kind == stream.Keepalive {
		r.Promised = max(r.Promised, m.WALEnd)
		r.Asked = r.Asked || m.ReplyRequested
		return nil
	}
	f, err := wire.ReadFrame(m.Payload)
	if err != nil {
		return err
	}
	if r.Keep {
		r.Frames = append(r.Frames, slices.Clone(m.Payload))
	}
	if err := r.Tracker.Track(f, r.event); err != nil {
		return err
	}
	if m.WALEnd > r.Last && r.Tracker.InTransaction() {
		return fmt.Errorf("header of a frame promises %s in the middle of a transaction, the last one ended at %s", m.WALEnd, r.Last)
	}
	r.Promised = max(r.Promised, m.WALEnd)
	return nil
}

func (r *Reader) event(e wire.Event) error {
	switch e := e.(type) {
	case wire.Commit:
		if e.EndLSN <= r.Promised {
			return fmt.Errorf("transaction that ends at %s comes after a promise of %s", e.EndLSN, r.Promised)
		}
		r.Commits++
		r.Changes += int(e.Changes)
		r.Last = e.EndLSN
	case wire.Message:
		r.Messages = append(r.Messages, string(e.Content))
	}
	return nil
}

// Until reads until a condition holds.
func (r *Reader) Until(what string, limit time.Duration, condition func() bool) {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), limit)
	defer cancel()
	for !condition() {
		if err := r.Next(ctx); err != nil {
			r.T.Fatalf("waiting for %s, %d commits seen: %v", what, r.Commits, err)
		}
	}
}

// UntilMessage reads up to a message that is emitted now.
func (r *Reader) UntilMessage(n *pgtest.Node, content string) {
	r.T.Helper()
	EmitMessage(n, content)
	r.Until("message "+content, 20*time.Second, func() bool { return slices.Contains(r.Messages, content) })
}

// EmitMessage writes a message to the peers as bdr.internal_message does.
func EmitMessage(n *pgtest.Node, content string) {
	n.Exec(fmt.Sprintf(`SELECT pg_replication_origin_session_setup('%s'); SELECT pg_logical_emit_message(false, 'bdr', '%s');
		SELECT pg_replication_origin_session_reset()`, MessageOrigin(n), content))
}

// MessageOrigin is the origin that marks what the node itself wrote.
func MessageOrigin(n *pgtest.Node) string {
	return n.Value("SELECT 'bdr_' || oid || '_message' FROM pg_database WHERE datname = current_database()")
}

// Lines are the frames so far as text, without what differs between runs.
func (r *Reader) Lines() []string {
	r.T.Helper()
	text := NewFrameReader(true)
	var all []string
	for _, f := range r.Frames {
		lines, err := text.Frame(f)
		if err != nil {
			r.T.Fatal(err)
		}
		all = append(all, lines...)
	}
	return all
}

// RequireLines compares lines with a text, and shows the first difference.
func RequireLines(t *testing.T, got []string, want string) {
	t.Helper()
	expected := strings.Split(strings.TrimSpace(want), "\n")
	for i := range max(len(got), len(expected)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(expected) {
			w = strings.TrimSpace(expected[i])
		}
		if g != w {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, g, w)
		}
	}
	if t.Failed() {
		t.Fatalf("all lines:\n%s", strings.Join(got, "\n"))
	}
}

// RequireContains requires each part in a text.
func RequireContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s\nlacks %s", text, part)
		}
	}
}

// InOrigin runs statements in one transaction as if they had come from origin.
func InOrigin(n *pgtest.Node, origin, at string, statements string) {
	n.Exec(fmt.Sprintf(`BEGIN; SELECT pg_replication_origin_session_setup('%s'); SELECT pg_replication_origin_xact_setup('%s', now()); %s; COMMIT;
		SELECT pg_replication_origin_session_reset()`, origin, at, statements))
}
