package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"bdr/gosrc/pgerr"
)

// pair is a stream and the server's end of its connection. Streams of real
// servers are in regress/cluster/output.
func pair(t *testing.T) (*Stream, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	return &Stream{peer: "host=b", conn: near, frontend: pgproto3.NewFrontend(near, near)}, far
}

func copyData(body []byte) []byte {
	encoded, err := (&pgproto3.CopyData{Data: body}).Encode(nil)
	if err != nil {
		panic(err)
	}
	return encoded
}

func frameMessage(end uint64, payload string) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'w'}, end)
	b = binary.BigEndian.AppendUint64(b, end)
	b = binary.BigEndian.AppendUint64(b, 1_000_000)
	return copyData(append(b, payload...))
}

func keepalive(end uint64, reply byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'k'}, end)
	b = binary.BigEndian.AppendUint64(b, 0)
	return copyData(append(b, reply))
}

func TestReceive(t *testing.T) {
	s, far := pair(t)
	go func() {
		far.Write(frameMessage(0x100, "payload"))
		far.Write(keepalive(0x200, 1))
	}()
	m, err := s.Receive(t.Context())
	if err != nil || m.Kind != Frame || m.WALEnd != 0x100 || string(m.Payload) != "payload" || !m.SendTime.Equal(epoch.Add(time.Second)) {
		t.Errorf("frame: %+v, %v", m, err)
	}
	m, err = s.Receive(t.Context())
	if err != nil || m.Kind != Keepalive || m.WALEnd != 0x200 || !m.ReplyRequested {
		t.Errorf("keepalive: %+v, %v", m, err)
	}
}

// The end of a context ends a Receive at once, in the middle of a message too;
// the next Receive has the whole message.
func TestReceiveContinuesAfterCancel(t *testing.T) {
	s, far := pair(t)
	whole := frameMessage(0x100, "payload")
	for _, at := range []int{0, 3, 5, 20, len(whole)} {
		if at > 0 {
			previous := map[int]int{3: 0, 5: 3, 20: 5, len(whole): 20}[at]
			go far.Write(whole[previous:at])
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		m, err := s.Receive(ctx)
		cancel()
		if at < len(whole) && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("after %d bytes: %v", at, err)
		}
		if at == len(whole) && (err != nil || string(m.Payload) != "payload") {
			t.Fatalf("whole message: %+v, %v", m, err)
		}
	}
}

func TestReceiveErrors(t *testing.T) {
	fatal, err := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01", Message: "terminating walsender"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := (&pgproto3.CommandComplete{CommandTag: []byte("COPY 0")}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sent []byte
		code string
	}{
		"server's error":  {fatal, "57P01"},
		"end of stream":   {done, pgerr.AdminShutdown},
		"unknown message": {copyData([]byte("x")), pgerr.ProtocolViolation},
		"short keepalive": {copyData([]byte("k123")), pgerr.ProtocolViolation},
		"short frame":     {copyData([]byte("w123")), pgerr.ProtocolViolation},
		"cut off":         {[]byte("d\x00\x00"), pgerr.ConnectionFailure},
	} {
		s, far := pair(t)
		go func() {
			far.Write(c.sent)
			far.Close()
		}()
		_, err := s.Receive(t.Context())
		if got := pgerr.From(err); got == nil || got.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfirm(t *testing.T) {
	s, far := pair(t)
	received := make(chan []byte, 1)
	go func() {
		b := make([]byte, 100)
		n, _ := far.Read(b)
		received <- b[:n]
	}()
	if err := s.Confirm(3, 2, 1, true); err != nil {
		t.Fatal(err)
	}
	b := <-received
	if len(b) != 5+34 || b[0] != 'd' || b[5] != 'r' || b[38] != 1 {
		t.Fatalf("%x", b)
	}
	for i, want := range []uint64{3, 2, 1} {
		if got := binary.BigEndian.Uint64(b[6+8*i:]); got != want {
			t.Errorf("position %d is %d", i, got)
		}
	}
	if sent := timeOf(binary.BigEndian.Uint64(b[30:])); time.Since(sent).Abs() > time.Minute {
		t.Errorf("sent at %v", sent)
	}
}

// A peer that does not read must not keep anybody from closing.
func TestCloseInterruptsBoth(t *testing.T) {
	s, _ := pair(t)
	ended := make(chan error, 2)
	go func() { ended <- s.Confirm(1, 1, 1, false) }()
	go func() {
		_, err := s.Receive(context.Background())
		ended <- err
	}()
	time.AfterFunc(10*time.Millisecond, s.Close)
	for range 2 {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("no error")
			}
		case <-time.After(5 * time.Second):
			t.Fatal("still waits")
		}
	}
}

func TestStartCommand(t *testing.T) {
	got := startCommand(Config{Slot: `a"b`, Start: 0x1_0000_000A, Options: map[string]string{"origins": "none", "encoding": "it's"}})
	want := `START_REPLICATION SLOT "a""b" LOGICAL 1/A ("encoding" 'it''s', "origins" 'none')`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := startCommand(Config{Slot: "s"}); got != `START_REPLICATION SLOT "s" LOGICAL 0/0` {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	if SlotName(5, 4000000000) != "bdr_5_4000000000" || OriginName(1, 2) != "bdr_1_2" {
		t.Error(SlotName(5, 4000000000), OriginName(1, 2))
	}
}

// The server's Go has no environment, so what libpq finds by itself must be
// given; what a connection string says wins over it.
func TestDefaultsReachConnections(t *testing.T) {
	home := filepath.Join(t.TempDir(), "it's home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	passfile := filepath.Join(home, ".pgpass")
	if err := os.WriteFile(passfile, []byte("h:5432:app:u:fromfile\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	SetDefaults("", home)
	t.Cleanup(func() { defaults.keywords = nil })
	for dsn, want := range map[string]string{
		"host=h port=5432 dbname=app user=u":                         "fromfile",
		"host=h port=5432 dbname=app user=u password=own":            "own",
		"host=h port=5432 dbname=app user=u passfile=/dev/null":      "",
		"postgres://u@h:5432/app":                                    "fromfile",
		"postgresql://u@h:5432/app?sslmode=disable":                  "fromfile",
		"postgresql://u:own@h:5432/app?sslmode=disable":              "own",
		"postgresql://u@h:5432/app?passfile=/dev/null&sslmode=allow": "",
	} {
		config, err := parse(dsn, "me", 0)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if config.Password != want || config.RuntimeParams["application_name"] != "me" || config.ConnectTimeout != connectTimeoutDefault {
			t.Errorf("%s: password %q, application_name %q, timeout %v", dsn, config.Password,
				config.RuntimeParams["application_name"], config.ConnectTimeout)
		}
	}
}

// A node's connection string is also libpq's.
func TestKeywordsOfLibpqAreNotSent(t *testing.T) {
	config, err := parse("host=h keepalives=1 tcp_user_timeout=5 fallback_application_name=fallback connect_timeout=3 options='-c a=b'", "me", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if config.RuntimeParams["application_name"] != "fallback" || config.RuntimeParams["options"] != "-c a=b" || len(config.RuntimeParams) != 2 {
		t.Errorf("%v", config.RuntimeParams)
	}
	if config.ConnectTimeout != 3*time.Second {
		t.Errorf("timeout %v", config.ConnectTimeout)
	}
}

func TestErrorsHidePasswords(t *testing.T) {
	for _, dsn := range []string{"host=127.0.0.1 port=1 password=hush", "postgres://u:hush@127.0.0.1:1/db", "host=h password=hush port=x",
		"postgres://u:hush@h:port/db", "password=hush host='"} {
		_, err := Connect(t.Context(), dsn, Replication, "me")
		e := pgerr.From(err)
		if e == nil || strings.Contains(e.Message+e.Detail+e.Hint, "hush") || e.Detail == "" || !strings.HasSuffix(e.Detail, ".") {
			t.Errorf("%s: %+v", dsn, e)
		}
		t.Logf("%s: %s", e.Message, e.Detail)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Connect(ctx, "host=127.0.0.1 port=1", Command, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
