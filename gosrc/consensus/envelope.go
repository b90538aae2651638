package consensus

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"bdr/gosrc/pgerr"
)

// MessageKind says what an envelope carries.
type MessageKind uint8

// The kinds that this package answers. Those from KindOther on belong to the
// packages above.
const (
	KindAppendEntries   MessageKind = 1
	KindRequestVote     MessageKind = 2
	KindRequestPreVote  MessageKind = 3
	KindTimeoutNow      MessageKind = 4
	KindInstallSnapshot MessageKind = 5
	KindPropose         MessageKind = 6
	KindOther           MessageKind = 32
)

const (
	envelopeVersion  = 1
	envelopeHeader   = 1 + 16 + 4 + 4 + 1 + 4
	messageBytesMax  = 32 << 20
	replyVersion     = 1
	replyHeader      = 1 + 1 + 4
	replyStatusOK    = 0
	replyStatusFault = 1
)

// UUID is a cluster's identity; zero before a node knows its cluster.
type UUID [16]byte

// ParseUUID reads the usual text form.
func ParseUUID(text string) (UUID, error) {
	var u UUID
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != len(u) {
		return u, fmt.Errorf("invalid uuid %q", text)
	}
	copy(u[:], raw)
	return u, nil
}

// NewUUID makes a random one, version 4.
func NewUUID() (UUID, error) {
	var u UUID
	if _, err := rand.Read(u[:]); err != nil {
		return u, fmt.Errorf("make uuid: %w", err)
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u, nil
}

// String returns the usual text form.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Envelope is one message from manager to manager.
type Envelope struct {
	Cluster UUID
	From    uint32
	To      uint32 // 0: whoever reads it; only for messages to a node not known yet
	Kind    MessageKind
	Body    []byte
}

// Encode returns version, cluster, from, to, kind, length and body.
func (e Envelope) Encode() []byte {
	b := make([]byte, 0, envelopeHeader+len(e.Body))
	b = append(b, envelopeVersion)
	b = append(b, e.Cluster[:]...)
	b = binary.BigEndian.AppendUint32(b, e.From)
	b = binary.BigEndian.AppendUint32(b, e.To)
	b = append(b, byte(e.Kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Body)))
	return append(b, e.Body...)
}

// DecodeEnvelope checks version and length. The body refers into b.
func DecodeEnvelope(b []byte) (Envelope, error) {
	if len(b) < 1 || b[0] != envelopeVersion {
		return Envelope{}, pgerr.New(pgerr.ProtocolViolation, "unknown version of a manager's message").
			WithHint("Install the same version of bdr on every node.")
	}
	if len(b) < envelopeHeader {
		return Envelope{}, pgerr.New(pgerr.ProtocolViolation, "manager's message of %d bytes is too short", len(b))
	}
	var e Envelope
	copy(e.Cluster[:], b[1:17])
	e.From = binary.BigEndian.Uint32(b[17:])
	e.To = binary.BigEndian.Uint32(b[21:])
	e.Kind = MessageKind(b[25])
	length := binary.BigEndian.Uint32(b[26:])
	e.Body = b[envelopeHeader:]
	if uint64(length) != uint64(len(e.Body)) || length > messageBytesMax {
		return Envelope{}, pgerr.New(pgerr.ProtocolViolation, "manager's message has %d bytes, %d were announced", len(e.Body), length)
	}
	return e, nil
}

// Check refuses a message that was meant for another node or cluster: a DSN
// may lead somewhere else than it did.
func (e Envelope) Check(cluster UUID, self uint32) error {
	if e.Cluster != cluster {
		return pgerr.New(pgerr.WrongState, "message from a node of another cluster").
			WithDetail("The message is of cluster %s, this node is of cluster %s.", e.Cluster, cluster)
	}
	if e.To != self {
		return pgerr.New(pgerr.WrongState, "message for another node").
			WithDetail("The message is for the node with id %d, this node has id %d.", e.To, self)
	}
	return nil
}

// fault is the form of an error between managers.
type fault struct {
	Code, Message, Detail, Hint string
}

// EncodeReply packs what a handler returned.
func EncodeReply(body []byte, err error) []byte {
	status := byte(replyStatusOK)
	if err != nil {
		e := pgerr.From(err)
		status = replyStatusFault
		body = Pack(fault{e.Code, e.Message, e.Detail, e.Hint})
	}
	b := make([]byte, 0, replyHeader+len(body))
	b = append(b, replyVersion, status)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// DecodeReply is the other side of EncodeReply.
func DecodeReply(b []byte) ([]byte, error) {
	if len(b) < replyHeader || b[0] != replyVersion || b[1] > replyStatusFault ||
		uint64(binary.BigEndian.Uint32(b[2:])) != uint64(len(b)-replyHeader) {
		return nil, pgerr.New(pgerr.ProtocolViolation, "malformed reply of a manager")
	}
	body := b[replyHeader:]
	if b[1] == replyStatusOK {
		return body, nil
	}
	var f fault
	if err := Unpack(body, &f); err != nil {
		return nil, err
	}
	return nil, f.error()
}

func (f fault) error() *pgerr.Error {
	e := pgerr.New(f.Code, "%s", f.Message)
	e.Detail, e.Hint = f.Detail, f.Hint
	return e
}

// Pack encodes a message body. The types are ours: it cannot fail.
func Pack(v any) []byte {
	var b []byte
	if err := codec.NewEncoderBytes(&b, &codec.MsgpackHandle{}).Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// Unpack decodes a message body and checks that nothing is left over.
func Unpack(b []byte, v any) (err error) {
	defer contain("decode message", &err)
	decoder := codec.NewDecoderBytes(b, &codec.MsgpackHandle{})
	if err := decoder.Decode(v); err != nil {
		return pgerr.New(pgerr.ProtocolViolation, "malformed message of a manager: %w", err)
	}
	if rest := len(b) - decoder.NumBytesRead(); rest != 0 {
		return pgerr.New(pgerr.ProtocolViolation, "malformed message of a manager: %d bytes left over", rest)
	}
	return nil
}

// contain turns a panic into an error: bytes of a peer must not end the manager.
func contain(doing string, err *error) {
	if r := recover(); r != nil {
		*err = errors.Join(*err, pgerr.New(pgerr.InternalError, "%s: panic: %v", doing, r))
	}
}
