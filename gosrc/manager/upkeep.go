package manager

import (
	"context"
	"slices"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/hand"
	"bdr/gosrc/pgerr"
)

// What the manager does to the extension's tables so that they stay small, as
// the log and the history of events call it.
const (
	upkeepHistory  = "empty the conflict history"
	upkeepVersions = "clean up old versions"
)

// upkeep knows which of that does not work at present. A failure and its end are
// each said once, in the log and as an event; bdr.worker_errors shows it
// meanwhile.
type upkeep struct {
	m *Manager

	mu     sync.Mutex
	broken []broken
}

// broken is something that fails again and again.
type broken struct {
	what    string
	fault   *pgerr.Error
	began   time.Time
	last    time.Time
	retries uint64
}

// report notes how something has ended.
func (u *upkeep) report(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if u.mend(what) {
			u.tell(ctx, hand.Log, catalog.EventResumed, "bdr can "+what+" again", &pgerr.Error{})
		}
		return
	}
	fault := pgerr.From(err)
	if u.note(what, fault, time.Now()) {
		u.tell(ctx, hand.Warning, catalog.EventError, "could not "+what+" and will try again: "+fault.Message, fault)
	}
}

// note says whether this failure is another one than the last.
func (u *upkeep) note(what string, fault *pgerr.Error, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.IndexFunc(u.broken, func(b broken) bool { return b.what == what })
	if i < 0 {
		u.broken = append(u.broken, broken{what: what, fault: fault, began: now, last: now})
		return true
	}
	b := &u.broken[i]
	known := b.fault.Message
	b.fault, b.last = fault, now
	b.retries++
	return fault.Message != known
}

// mend says whether it had failed.
func (u *upkeep) mend(what string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := len(u.broken)
	u.broken = slices.DeleteFunc(u.broken, func(b broken) bool { return b.what == what })
	return len(u.broken) < before
}

func (u *upkeep) tell(ctx context.Context, level hand.Level, kind, text string, fault *pgerr.Error) {
	u.m.main.Log(level, text, fault.Detail, fault.Hint)
	local, _ := u.m.node()
	event := catalog.Event{NodeID: local.ID, Type: catalog.EventOfUpkeep, Kind: kind, Source: "manager", Text: text, Detail: fault.Detail}
	if _, err := u.m.main.Run(ctx, append(catalog.LimitEventWait(), catalog.InsertEvent(event)...)...); err != nil && ctx.Err() == nil {
		u.m.main.Log(hand.Log, "could not write to bdr.event_history", err.Error(), "")
	}
}

// upkeepErrors answers bdr.internal_upkeep_errors().
func (m *Manager) upkeepErrors(context.Context, *hand.Request) (hand.Rows, error) {
	m.upkeep.mu.Lock()
	defer m.upkeep.mu.Unlock()
	rows := hand.Rows{Columns: len(brokenRow(broken{fault: &pgerr.Error{}}))}
	for _, b := range m.upkeep.broken {
		rows.Values = append(rows.Values, brokenRow(b))
	}
	return rows, nil
}

// brokenRow has the columns of the function, in their order.
func brokenRow(b broken) []*string {
	return []*string{moment(b.last), moment(b.began), number(b.retries), text(b.fault.Code),
		text("could not " + b.what + ": " + b.fault.Message), text(b.fault.Detail), text(b.fault.Hint), text(b.fault.Context)}
}
