// Package retention decides what is kept, and for how long: dead rows and
// versions that a peer may still need, the conflict history, notes of dropped
// tables. It takes the rest away.
package retention

import (
	"context"
	"slices"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// What the manager does to the extension's tables so that they stay small, as
// the log and the history of events call it.
const (
	emptyHistory  = "empty the conflict history"
	cleanVersions = "clean up old versions"
)

// Upkeep knows which of that does not work at present. A failure and its end are
// each said once, in the log and as an event; bdr.worker_errors shows it
// meanwhile.
type Upkeep struct {
	main *ipc.Main
	node func() uint32

	mu     sync.Mutex
	broken []broken
}

// NewUpkeep makes one that knows of no failure; node is the id of the local node.
func NewUpkeep(main *ipc.Main, node func() uint32) *Upkeep { return &Upkeep{main: main, node: node} }

// broken is something that fails again and again.
type broken struct {
	what    string
	fault   *pgerr.Error
	began   time.Time
	last    time.Time
	retries uint64
}

// Report notes how something has ended.
func (u *Upkeep) Report(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if u.mend(what) {
			u.tell(ctx, ipc.Log, catalog.EventResumed, "bdr can "+what+" again", &pgerr.Error{})
		}
		return
	}
	fault := pgerr.From(err)
	if u.note(what, fault, time.Now()) {
		u.tell(ctx, ipc.Warning, catalog.EventError, "could not "+what+" and will try again: "+fault.Message, fault)
	}
}

// note says whether this failure is another one than the last.
func (u *Upkeep) note(what string, fault *pgerr.Error, now time.Time) bool {
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
func (u *Upkeep) mend(what string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := len(u.broken)
	u.broken = slices.DeleteFunc(u.broken, func(b broken) bool { return b.what == what })
	return len(u.broken) < before
}

func (u *Upkeep) tell(ctx context.Context, level ipc.Level, kind, text string, fault *pgerr.Error) {
	u.main.Log(level, text, fault.Detail, fault.Hint)
	event := catalog.Event{NodeID: u.node(), Type: catalog.EventOfUpkeep, Kind: kind, Source: "manager", Text: text, Detail: fault.Detail}
	record(ctx, u.main, event)
}

// record writes an event to the history; that it cannot is told in the log only.
func record(ctx context.Context, main *ipc.Main, event catalog.Event) {
	if _, err := main.Run(ctx, append(catalog.LimitEventWait(), catalog.InsertEvent(event)...)...); err != nil && ctx.Err() == nil {
		main.Log(ipc.Log, "could not write to bdr.event_history", err.Error(), "")
	}
}

// Rows answers bdr.internal_upkeep_errors().
func (u *Upkeep) Rows(context.Context, *ipc.Request) (ipc.Rows, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	rows := ipc.Rows{Columns: len(brokenRow(broken{fault: &pgerr.Error{}}))}
	for _, b := range u.broken {
		rows.Values = append(rows.Values, brokenRow(b))
	}
	return rows, nil
}

// brokenRow has the columns of the function, in their order.
func brokenRow(b broken) []*string {
	return []*string{ipc.Moment(b.last), ipc.Moment(b.began), ipc.Number(b.retries), ipc.NonEmpty(b.fault.Code),
		ipc.NonEmpty("could not " + b.what + ": " + b.fault.Message), ipc.NonEmpty(b.fault.Detail), ipc.NonEmpty(b.fault.Hint), ipc.NonEmpty(b.fault.Context)}
}
