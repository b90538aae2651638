package catalog

import (
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
)

// Subscription is a row of bdr.subscription: one peer whose changes this node
// applies.
type Subscription struct {
	ID         uint32
	Name       string
	GroupID    uint32
	OriginID   uint32 // whose changes
	SourceID   uint32 // who sends them
	TargetID   uint32 // this node
	Mode       string // ModeNormal or ModeEnded
	Enabled    bool
	SlotName   string       // on the source
	OriginName string       // here
	Timeline   lsn.Timeline // of the peer's WAL, as far as it is applied
}

// What may become of a subscription.
const (
	ModeNormal = "n"
	ModeEnded  = "e" // the node ended its stream; it is being parted
)

const subscriptionColumns = `sub_id, sub_name, nodegroup_id, origin_node_id, source_node_id, target_node_id,
 subscription_mode, sub_enabled, slot_name, origin_name`

// SelectSubscriptions reads every subscription. Those of 0.1.0 have no timeline.
func SelectSubscriptions() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT ` + subscriptionColumns + `, COALESCE(r.j ->> 'origin_system', ''), COALESCE(r.j ->> 'origin_timeline', '0')
 FROM bdr.subscription s, LATERAL (SELECT pg_catalog.to_jsonb(s)) r(j) ORDER BY sub_id`}
}

// Subscriptions decodes what SelectSubscriptions returned.
func Subscriptions(r ipc.Result) ([]Subscription, error) {
	return each(r, func(c *columns) Subscription {
		return Subscription{ID: c.oid(), Name: c.text(), GroupID: c.oid(), OriginID: c.oid(), SourceID: c.oid(),
			TargetID: c.oid(), Mode: c.text(), Enabled: c.boolean(), SlotName: c.text(), OriginName: c.text(), Timeline: lsn.Timeline{System: c.text(), Number: int(c.integer())}}
	})
}

// InsertSubscription records a subscription; one that is there stays as it is.
func InsertSubscription(s Subscription) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.subscription (` + subscriptionColumns + `)
 VALUES ($1::oid, $2, $3::oid, $4::oid, $5::oid, $6::oid, $7::"char", $8::boolean, $9, $10)
 ON CONFLICT (origin_node_id) DO NOTHING`,
		Args: []any{s.ID, s.Name, s.GroupID, s.OriginID, s.SourceID, s.TargetID, s.Mode, s.Enabled, s.SlotName, s.OriginName}}
}

// DeleteSubscription removes the subscription to a node.
func DeleteSubscription(origin uint32) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.subscription WHERE origin_node_id = $1::oid`, Args: []any{origin}}
}

// EnableSubscription sets whether a subscription, or with an empty name every
// one, is enabled. It returns one row for each that it names. One that has
// ended stays as it is.
func EnableSubscription(name string, enabled bool) ipc.Stmt {
	return ipc.Stmt{SQL: `UPDATE bdr.subscription SET sub_enabled = $2::boolean
 WHERE ($1 = '' OR sub_name = $1) AND subscription_mode <> $3::"char" RETURNING sub_id`, Args: []any{name, enabled, ModeEnded}}
}

// EndSubscription records that nothing more will come of a subscription.
func EndSubscription(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `UPDATE bdr.subscription SET sub_enabled = false, subscription_mode = $2::"char"
 WHERE sub_name = $1`, Args: []any{name, ModeEnded}}
}

// SetOriginTimeline records a timeline of a peer's WAL.
func SetOriginTimeline(origin uint32, t lsn.Timeline) ipc.Stmt {
	return ipc.Stmt{SQL: `UPDATE bdr.subscription SET origin_system = $2, origin_timeline = $3::integer
 WHERE origin_node_id = $1::oid`, Args: []any{origin, t.System, t.Number}}
}

// SubscriptionIDs decodes what EnableSubscription returned.
func SubscriptionIDs(r ipc.Result) ([]uint32, error) {
	return each(r, (*columns).oid)
}

// TerminateWriter ends a writer process, if it still is one.
func TerminateWriter(pid uint32) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
 WHERE pid = $1::integer AND backend_type = 'bdr writer'`, Args: []any{pid}}
}

// TerminateWriters ends every writer of this database. A manager that starts
// has none: those that are left belong to one that died, and one that waits for
// a lock would hold its origin until it gets it.
func TerminateWriters() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
 WHERE datname = pg_catalog.current_database() AND backend_type = 'bdr writer'`}
}
