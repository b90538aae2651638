package wire

import (
	"errors"
	"fmt"
)

// A Tracker follows transactions across the frames of one stream and refuses
// what cannot be: a row outside a transaction, a COMMIT of something else than
// what was begun, a count that says that rows are missing. Its zero value
// stands before the first frame.
type Tracker struct {
	started bool
	open    bool
	unseen  bool // its beginning was read elsewhere
	begin   Begin
	changes uint32 // of the transaction in progress
	pieces  Kind   // of the message of which the last piece has not come; 0: none
}

// InTransaction reports whether the frames so far end inside a transaction.
func (t *Tracker) InTransaction() bool { return t.open }

// AtRest reports whether the frames so far have begun a stream and end between
// transactions.
func (t *Tracker) AtRest() bool { return t.started && !t.open }

// Resume goes on where a writer has read the stream meanwhile. It has seen the
// beginning of a transaction in progress, and compares the end with that itself.
func (t *Tracker) Resume(inTransaction bool) {
	t.open, t.unseen, t.begin, t.pieces = inTransaction, inTransaction, Begin{}, 0
}

// Track follows one frame and calls visit with each of its events, after the
// check of it. The first error ends it; the tracker is of no use then.
func (t *Tracker) Track(f Frame, visit func(Event) error) error {
	return f.each(func(kind Kind, body []byte) error {
		e, err := decode(kind, body)
		if err != nil {
			return err
		}
		if kind == KindPiece {
			return t.piece(Kind(body[0]), body[1])
		}
		if err := t.step(kind, e); err != nil {
			return err
		}
		if e == nil {
			return nil
		}
		return visit(e)
	})
}

// step moves by one message. e is nil for a message about rows.
func (t *Tracker) step(kind Kind, e Event) error {
	if t.pieces != 0 {
		return fmt.Errorf("message %q among the pieces of message %q", kind, t.pieces)
	}
	if _, isStartup := e.(Startup); isStartup == t.started {
		return fmt.Errorf("unexpected message %q: STARTUP comes first, and once", kind)
	}
	t.started = true
	switch e := e.(type) {
	case Begin:
		return t.beginTransaction(e)
	case Commit:
		return t.commitTransaction(e)
	case Watermark:
		return t.between("watermark")
	case Message:
		return t.between("message")
	}
	switch {
	case kind == KindForget:
		return t.between("forgetting")
	case kind.isChange():
		return t.change()
	}
	return nil
}

// piece moves by one piece of a message; the message counts with the last.
func (t *Tracker) piece(of Kind, flags uint8) error {
	switch {
	case !of.isLong():
		return fmt.Errorf("message %q in pieces", of)
	case t.pieces != 0 && of != t.pieces:
		return fmt.Errorf("piece of message %q among those of message %q", of, t.pieces)
	case flags&^pieceLast != 0:
		return fmt.Errorf("piece with unknown flags %d", flags)
	}
	t.pieces = of
	if flags&pieceLast == 0 && t.open {
		return nil
	}
	t.pieces = 0
	return t.change()
}

func (t *Tracker) beginTransaction(b Begin) error {
	if t.open {
		return fmt.Errorf("transaction %d begins inside transaction %d", b.XID, t.begin.XID)
	}
	t.open, t.unseen, t.begin, t.changes = true, false, b, 0
	return nil
}

func (t *Tracker) commitTransaction(c Commit) error {
	switch {
	case !t.open:
		return fmt.Errorf("commit at %s of a transaction that did not begin", c.CommitLSN)
	case t.unseen:
	case c.CommitLSN != t.begin.CommitLSN || c.EndLSN != t.begin.EndLSN:
		return fmt.Errorf("transaction %d ends at %s, expected %s", t.begin.XID, c.CommitLSN, t.begin.CommitLSN)
	case c.Changes != t.changes:
		return fmt.Errorf("transaction %d has %d changes, expected %d", t.begin.XID, t.changes, c.Changes)
	}
	t.open = false
	return nil
}

func (t *Tracker) between(what string) error {
	if t.open {
		return fmt.Errorf("%s inside transaction %d", what, t.begin.XID)
	}
	return nil
}

func (t *Tracker) change() error {
	if !t.open {
		return errors.New("change outside a transaction")
	}
	t.changes++
	return nil
}
