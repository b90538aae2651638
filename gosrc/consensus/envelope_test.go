package consensus

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"bdr/gosrc/pgerr"
)

func TestEnvelope(t *testing.T) {
	e := Envelope{Cluster: testCluster, From: 7, To: 4000000000, Kind: KindPropose, Body: []byte("body")}
	got, err := DecodeEnvelope(e.Encode())
	if err != nil || got.From != e.From || got.To != e.To || got.Kind != e.Kind || got.Cluster != e.Cluster || !bytes.Equal(got.Body, e.Body) {
		t.Fatalf("got %+v, %v", got, err)
	}
	encoded := e.Encode()
	for n := range encoded {
		if _, err := DecodeEnvelope(encoded[:n]); err == nil {
			t.Errorf("accepted %d of %d bytes", n, len(encoded))
		}
	}
	if _, err := DecodeEnvelope(append(encoded, 0)); err == nil {
		t.Error("accepted a byte too many")
	}
	if err := got.Check(testCluster, 5); err == nil {
		t.Error("accepted a message for another node")
	}
	if err := got.Check(UUID{}, e.To); err == nil {
		t.Error("accepted a message of another cluster")
	}
}

func TestReply(t *testing.T) {
	body, err := DecodeReply(EncodeReply([]byte("x"), nil))
	if err != nil || string(body) != "x" {
		t.Errorf("got %q, %v", body, err)
	}
	_, err = DecodeReply(EncodeReply(nil, pgerr.New(pgerr.ObjectInUse, "busy").WithHint("wait")))
	if e := pgerr.From(err); !errors.Is(err, pgerr.New(pgerr.ObjectInUse, "")) || e.Message != "busy" || e.Hint != "wait" {
		t.Errorf("got %v", err)
	}
}

func TestUUID(t *testing.T) {
	const text = "764cc8ef-35c9-43cb-8a8a-87dca660d71f"
	u, err := ParseUUID(text)
	if err != nil || u.String() != text {
		t.Errorf("got %s, %v", u, err)
	}
	for _, bad := range []string{"", "x", text + "00", text[:34]} {
		if _, err := ParseUUID(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

// A peer's bytes reach raft only as a request that makes sense.
func FuzzDecodeRequest(f *testing.F) {
	f.Add(byte(KindAppendEntries), Pack(&raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1, Data: []byte("x")}}}))
	f.Add(byte(KindInstallSnapshot), Pack(&snapshotMessage{Request: raft.InstallSnapshotRequest{Size: 1}, Data: []byte("x")}))
	f.Add(byte(KindRequestVote), []byte{0x81, 0xa1})
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		rpc, err := decodeRequest(MessageKind(kind), body)
		if err == nil && rpc.Command == nil {
			t.Error("neither request nor error")
		}
	})
}

// Any bytes may come through bdr.internal_rpc.
func FuzzDecodeEnvelope(f *testing.F) {
	f.Add(Envelope{Kind: KindPropose, Body: []byte("x")}.Encode())
	f.Add(EncodeReply(nil, errors.New("x")))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = DecodeEnvelope(b)
		_, _ = DecodeReply(b)
	})
}
