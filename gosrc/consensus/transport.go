package consensus

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"bdr/gosrc/pgerr"
)

const (
	rpcTimeout      = 5 * time.Second
	snapshotTimeout = 60 * time.Second
)

// Caller delivers one message to a peer's manager and returns its reply.
type Caller interface {
	Call(ctx context.Context, to uint32, kind MessageKind, body []byte) ([]byte, error)
}

// transport is raft.Transport over messages. A server's id and address are
// both its decimal node id.
type transport struct {
	self      uint32
	caller    Caller
	inbox     chan raft.RPC
	heartbeat atomic.Pointer[func(raft.RPC)]
	closed    context.Context
	close     context.CancelFunc
	closeOnce sync.Once
}

// snapshotMessage carries a whole snapshot: it is the cluster's few records.
type snapshotMessage struct {
	Request raft.InstallSnapshotRequest
	Data    []byte
}

func newTransport(self uint32, caller Caller) *transport {
	closed, cancel := context.WithCancel(context.Background())
	return &transport{self: self, caller: caller, inbox: make(chan raft.RPC), closed: closed, close: cancel}
}

func serverID(node uint32) raft.ServerID { return raft.ServerID(strconv.FormatUint(uint64(node), 10)) }

func serverAddress(node uint32) raft.ServerAddress { return raft.ServerAddress(serverID(node)) }

func nodeID(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, pgerr.New(pgerr.ProtocolViolation, "invalid consensus server id %q", text)
	}
	return uint32(n), nil
}

// Consumer returns the requests of peers.
func (t *transport) Consumer() <-chan raft.RPC { return t.inbox }

// LocalAddr returns our own id.
func (t *transport) LocalAddr() raft.ServerAddress { return serverAddress(t.self) }

// EncodePeer returns the bytes of an id.
func (t *transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer is the other side of EncodePeer.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler keeps the fast path that never waits for the disk.
func (t *transport) SetHeartbeatHandler(handler func(raft.RPC)) { t.heartbeat.Store(&handler) }

// AppendEntriesPipeline is not offered: one message, one reply.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries sends log entries or a heartbeat.
func (t *transport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.call(id, KindAppendEntries, rpcTimeout, args, resp)
}

// RequestVote asks for a vote.
func (t *transport) RequestVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.call(id, KindRequestVote, rpcTimeout, args, resp)
}

// RequestPreVote asks whether a vote would be given.
func (t *transport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.call(id, KindRequestPreVote, rpcTimeout, args, resp)
}

// TimeoutNow tells a peer to take over.
func (t *transport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.call(id, KindTimeoutNow, rpcTimeout, args, resp)
}

// InstallSnapshot sends a snapshot in one message.
func (t *transport) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if args.Size < 0 || args.Size > messageBytesMax/2 {
		return pgerr.New(pgerr.InternalError, "consensus snapshot of %d bytes is too large", args.Size)
	}
	content := make([]byte, args.Size)
	if _, err := io.ReadFull(data, content); err != nil {
		return err
	}
	return t.call(id, KindInstallSnapshot, snapshotTimeout, &snapshotMessage{Request: *args, Data: content}, resp)
}

// Close ends what is under way; called by raft and by Group.
func (t *transport) Close() error {
	t.closeOnce.Do(t.close)
	return nil
}

func (t *transport) call(id raft.ServerID, kind MessageKind, timeout time.Duration, args, resp any) (err error) {
	defer contain("consensus request", &err)
	to, err := nodeID(string(id))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.closed, timeout)
	defer cancel()
	body, err := t.caller.Call(ctx, to, kind, Pack(args))
	if err != nil {
		return err
	}
	return Unpack(body, resp)
}

// deliver hands a peer's request to raft and returns the reply's body.
func (t *transport) deliver(ctx context.Context, from uint32, kind MessageKind, body []byte) (reply []byte, err error) {
	defer contain("consensus request of a peer", &err)
	rpc, err := decodeRequest(kind, body)
	if err != nil {
		return nil, err
	}
	if header, ok := rpc.Command.(raft.WithRPCHeader); ok && string(header.GetRPCHeader().ID) != string(serverID(from)) {
		return nil, pgerr.New(pgerr.ProtocolViolation, "consensus request names another sender than its envelope")
	}
	answer := make(chan raft.RPCResponse, 1)
	rpc.RespChan = answer
	if handler := t.heartbeat.Load(); handler != nil && isHeartbeat(rpc.Command) {
		(*handler)(rpc)
	} else if err := t.enqueue(ctx, rpc); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			return nil, r.Error
		}
		return Pack(r.Response), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.closed.Done():
		return nil, errShutdown()
	}
}

func (t *transport) enqueue(ctx context.Context, rpc raft.RPC) error {
	select {
	case t.inbox <- rpc:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.closed.Done():
		return errShutdown()
	}
}

func decodeRequest(kind MessageKind, body []byte) (raft.RPC, error) {
	var rpc raft.RPC
	switch kind {
	case KindAppendEntries:
		rpc.Command = &raft.AppendEntriesRequest{}
	case KindRequestVote:
		rpc.Command = &raft.RequestVoteRequest{}
	case KindRequestPreVote:
		rpc.Command = &raft.RequestPreVoteRequest{}
	case KindTimeoutNow:
		rpc.Command = &raft.TimeoutNowRequest{}
	case KindInstallSnapshot:
		return decodeSnapshot(body)
	default:
		return rpc, pgerr.New(pgerr.ProtocolViolation, "unknown kind %d of a manager's message", kind)
	}
	err := Unpack(body, rpc.Command)
	if request, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && err == nil {
		err = checkEntries(request.Entries)
	}
	return rpc, err
}

func checkEntries(entries []*raft.Log) error {
	for _, entry := range entries {
		if entry == nil {
			return pgerr.New(pgerr.ProtocolViolation, "consensus request has an empty entry")
		}
	}
	return nil
}

func decodeSnapshot(body []byte) (raft.RPC, error) {
	var message snapshotMessage
	if err := Unpack(body, &message); err != nil {
		return raft.RPC{}, err
	}
	if message.Request.Size != int64(len(message.Data)) {
		return raft.RPC{}, pgerr.New(pgerr.ProtocolViolation, "consensus snapshot has %d bytes, %d were announced", len(message.Data), message.Request.Size)
	}
	return raft.RPC{Command: &message.Request, Reader: bytes.NewReader(message.Data)}, nil
}

func isHeartbeat(command any) bool {
	r, ok := command.(*raft.AppendEntriesRequest)
	return ok && r.Term != 0 && len(r.Addr) != 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 &&
		len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}
