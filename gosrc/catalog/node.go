// Package catalog holds the rows of the bdr schema as Go types and the only
// SQL text in Go. It decides nothing: a caller gives it a Runner, which is one
// transaction, and gets rows back.
package catalog

import (
	"context"

	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// State is a node state, as in bdr.peer_state.
type State uint32

// Node is a row of bdr.node.
type Node struct {
	ID            uint32
	Name          string
	GroupID       uint32
	SourceID      uint32
	SyncStructure string
	State         State
	Target        State
	SeqID         int
	DBName        string
	DBOID         uint32
	DSN           string
	Kind          string
	UUID          string
}

const nodeColumns = `node_id, node_name, node_group_id, source_node_id, synchronize_structure,
 node_state, target_state, seq_id, dbname, dboid, node_dsn, node_kind, node_uuid`

// SelectNodes reads every node of the cluster and a local node without one.
func SelectNodes() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT ` + nodeColumns + ` FROM bdr.node ORDER BY node_id`}
}

// Nodes decodes what SelectNodes returned.
func Nodes(r ipc.Result) ([]Node, error) {
	return each(r, func(c *columns) Node {
		return Node{
			ID: c.oid(), Name: c.text(), GroupID: c.oid(), SourceID: c.oid(), SyncStructure: c.text(),
			State: State(c.oid()), Target: State(c.oid()), SeqID: int(c.integer()),
			DBName: c.text(), DBOID: c.oid(), DSN: c.text(), Kind: c.text(), UUID: c.text(),
		}
	})
}

// UpsertNode writes a node's row. A local node that waits to join under the
// same name makes room for it: its own record follows in the log.
func UpsertNode(n Node) []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `UPDATE bdr.node SET node_name = node_uuid::text
 WHERE node_name = $1 AND node_id <> $2::oid AND node_group_id = 0`, Args: []any{n.Name, n.ID}},
		{SQL: `INSERT INTO bdr.node (` + nodeColumns + `)
 VALUES ($1::oid, $2, $3::oid, $4::oid, $5, $6::oid, $7::oid, $8::integer, $9, $10::oid, $11, $12, $13::uuid)
 ON CONFLICT (node_id) DO UPDATE SET node_name = excluded.node_name, node_group_id = excluded.node_group_id,
 source_node_id = excluded.source_node_id, synchronize_structure = excluded.synchronize_structure,
 node_state = excluded.node_state, target_state = excluded.target_state, seq_id = excluded.seq_id,
 dbname = excluded.dbname, dboid = excluded.dboid, node_dsn = excluded.node_dsn,
 node_kind = excluded.node_kind, node_uuid = excluded.node_uuid`,
			Args: []any{n.ID, n.Name, n.GroupID, n.SourceID, n.SyncStructure, uint32(n.State), uint32(n.Target),
				n.SeqID, n.DBName, n.DBOID, n.DSN, n.Kind, n.UUID}},
	}
}

// DeleteNode removes a node's row.
func DeleteNode(id uint32) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.node WHERE node_id = $1::oid`, Args: []any{id}}
}

// DeleteGroupedNodes removes every row that consensus wrote.
func DeleteGroupedNodes() ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.node WHERE node_group_id <> 0`}
}

// SetNodeState writes the state of one node outside consensus; only for a
// parted node, which no longer takes part in it.
func SetNodeState(id uint32, state, target State) ipc.Stmt {
	return ipc.Stmt{SQL: `UPDATE bdr.node SET node_state = $2::oid, target_state = $3::oid WHERE node_id = $1::oid`,
		Args: []any{id, uint32(state), uint32(target)}}
}

// LocalNode is the row of bdr.local_node.
type LocalNode struct {
	ID   uint32
	UUID string
}

// SelectLocalNode reads which node this database is: no row or one.
func SelectLocalNode() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT node_id, node_uuid FROM bdr.local_node`}
}

// Local decodes what SelectLocalNode returned.
func Local(r ipc.Result) (LocalNode, bool, error) {
	if len(r.Rows) == 0 {
		return LocalNode{}, false, nil
	}
	c := columns{row: r.Rows[0]}
	n := LocalNode{ID: c.oid(), UUID: c.text()}
	return n, true, c.done()
}

// ErrUnknownNode is for a name that no node has.
func ErrUnknownNode(name string) *pgerr.Error {
	return pgerr.New(pgerr.UndefinedObject, "node %q does not exist", name).WithHint("bdr.node_summary lists the nodes.")
}

// ReadNodes reads which node this database is, the zero value if none, and all
// nodes that it knows.
func ReadNodes(ctx context.Context, runner Runner) (LocalNode, []Node, error) {
	results, err := runner.Run(ctx, SelectLocalNode(), SelectNodes())
	if err != nil {
		return LocalNode{}, nil, err
	}
	local, _, err := Local(results[0])
	if err != nil {
		return LocalNode{}, nil, err
	}
	nodes, err := Nodes(results[1])
	return local, nodes, err
}

// InsertLocalNode makes this database the node.
func InsertLocalNode(id uint32, uuid string) []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `INSERT INTO bdr.local_node (node_id, node_uuid) VALUES ($1::oid, $2::uuid)`, Args: []any{id, uuid}},
		ForgetNodeNumber(),
	}
}

// LabelDatabase marks the database, so that the supervisor keeps a manager in it.
func LabelDatabase(database string) ipc.Stmt {
	return ipc.Stmt{SQL: `SECURITY LABEL FOR bdr ON DATABASE ` + QuoteIdentifier(database) + ` IS 'node'`}
}

// UnlabelDatabase removes the mark.
func UnlabelDatabase(database string) ipc.Stmt {
	return ipc.Stmt{SQL: `SECURITY LABEL FOR bdr ON DATABASE ` + QuoteIdentifier(database) + ` IS NULL`}
}

// ForgetNode removes everything this database knows about being a node.
func ForgetNode() []ipc.Stmt {
	return []ipc.Stmt{
		UninstallSequences(),
		ForgetSequenceState(),
		ForgetGlobalLocks(),
		ForgetReplicationSets(),
		{SQL: `DELETE FROM bdr.subscription`},
		{SQL: `DELETE FROM bdr.node_log_config`},
		{SQL: `DELETE FROM bdr.local_join`},
		{SQL: `DELETE FROM bdr.local_consensus_state`},
		{SQL: `DELETE FROM bdr.local_node`},
		{SQL: `DELETE FROM bdr.node`},
		{SQL: `DELETE FROM bdr.node_group`},
		ForgetNodeNumber(),
	}
}
