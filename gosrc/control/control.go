// Package control is what a node tells its peers in its own stream, between
// transactions: messages that end something exactly where they stand.
package control

import (
	"encoding/json"
	"fmt"
	"strconv"

	"bdr/gosrc/lsn"
	"bdr/gosrc/wire"
)

// A CatchUpPoint is what the source of a join writes: everything that it had
// applied of each peer by then came before.
type CatchUpPoint struct {
	Joiner   uint32             // the node that joins
	ID       string             // the joiner's nonce
	Progress map[uint32]lsn.LSN // per peer: applied by the source up to here
	LSN      lsn.LSN            // of the message, in the source's WAL; not written
}

// catchUpContent is the JSON of a CatchUpPoint.
type catchUpContent struct {
	Joiner   *uint32           `json:"marker"`
	ID       string            `json:"id"`
	Progress map[string]string `json:"progress"`
}

// Encode returns the content of the message.
func (p CatchUpPoint) Encode() (string, error) {
	content := catchUpContent{Joiner: &p.Joiner, ID: p.ID, Progress: map[string]string{}}
	for peer, position := range p.Progress {
		content.Progress[strconv.FormatUint(uint64(peer), 10)] = position.String()
	}
	text, err := json.Marshal(content)
	return string(text), err
}

// DecodeCatchUpPoint reads a logical message; false: it is another one.
func DecodeCatchUpPoint(m wire.Message) (CatchUpPoint, bool, error) {
	var content catchUpContent
	if json.Unmarshal(m.Content, &content) != nil || content.Joiner == nil {
		return CatchUpPoint{}, false, nil
	}
	p := CatchUpPoint{Joiner: *content.Joiner, ID: content.ID, LSN: m.LSN, Progress: map[uint32]lsn.LSN{}}
	for peer, position := range content.Progress {
		id, err := strconv.ParseUint(peer, 10, 32)
		if err != nil {
			return CatchUpPoint{}, false, fmt.Errorf("read peer of catch-up point: %w", err)
		}
		if p.Progress[uint32(id)], err = lsn.Parse(position); err != nil {
			return CatchUpPoint{}, false, fmt.Errorf("read progress of catch-up point: %w", err)
		}
	}
	return p, true, nil
}

// EndOfStream is what a node writes when it is being parted. Every peer stops
// exactly there, so that all have the same of it, whatever it goes on to write.
type EndOfStream struct {
	Node uint32 `json:"farewell"`
}

// Encode returns the content of the message.
func (e EndOfStream) Encode() (string, error) {
	text, err := json.Marshal(e)
	return string(text), err
}

// IsEndOfStream reads a logical message: does the stream of node end here?
func IsEndOfStream(m wire.Message, node uint32) bool {
	var content EndOfStream
	return json.Unmarshal(m.Content, &content) == nil && content.Node == node
}
