package catalog

import (
	"bdr/gosrc/ipc"
)

// Event is a row of bdr.event_history.
type Event struct {
	NodeID uint32
	Type   string // one of the constants below, as is
	Kind   string
	Source string // the subscription, or the slot
	Text   string
	Detail string
}

// Types of events: what they happen to.
const (
	EventOfSubscription = "subscription"
	EventOfDeadRows     = "dead_rows"
	EventOfUpkeep       = "upkeep" // of the extension's own tables
)

// Kinds of events.
const (
	EventError   = "error"   // a change cannot be applied, or upkeep fails
	EventResumed = "resumed" // what could not be done has been
	EventSkipped = "skipped" // an administrator skipped transactions

	EventCut   = "cut"   // dead rows are not kept for as long as a peer needs
	EventWhole = "whole" // they are again
)

// InsertEvent records an event and forgets old ones; what was skipped stays.
func InsertEvent(e Event) []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `DELETE FROM bdr.event_history WHERE event_time < pg_catalog.clock_timestamp() - interval '30 days'
 AND event_sub_type <> $1`, Args: []any{EventSkipped}},
		{SQL: `INSERT INTO bdr.event_history (event_node_id, event_type, event_sub_type, event_source, event_text, event_detail)
 VALUES ($1::oid, $2, $3, $4, $5, $6)`, Args: []any{e.NodeID, e.Type, e.Kind, e.Source, e.Text, e.Detail}},
	}
}

// LimitEventWait keeps an event from waiting for long where a user holds a lock
// on the history: everything else would wait behind it.
func LimitEventWait() []ipc.Stmt {
	return []ipc.Stmt{{SQL: `SELECT pg_catalog.set_config('lock_timeout', '500ms', true)`}}
}
