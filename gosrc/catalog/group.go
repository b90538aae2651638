package catalog

import (
	"bdr/gosrc/ipc"
)

// Group is a row of bdr.node_group.
type Group struct {
	ID       uint32
	Name     string
	UUID     string
	ParentID uint32

	// LastSeqID is the number of a node that was given last; 0 while numbers are not
	// given in turn, which nodes with the SQL objects of 0.1.0 do not know.
	LastSeqID int `json:",omitzero" codec:",omitempty"`
}

// SelectGroups reads every group.
func SelectGroups() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT node_group_id, node_group_name, node_group_uuid, node_group_parent_id,
 COALESCE((pg_catalog.to_jsonb(g) ->> 'last_node_seq_id')::integer, 0) FROM bdr.node_group g ORDER BY node_group_id`}
}

// Groups decodes what SelectGroups returned.
func Groups(r ipc.Result) ([]Group, error) {
	return each(r, func(c *columns) Group {
		return Group{ID: c.oid(), Name: c.text(), UUID: c.text(), ParentID: c.oid(), LastSeqID: int(c.integer())}
	})
}

// UpsertGroup writes a group's row.
func UpsertGroup(g Group) []ipc.Stmt {
	row := ipc.Stmt{SQL: `INSERT INTO bdr.node_group (node_group_id, node_group_name, node_group_uuid, node_group_parent_id)
 VALUES ($1::oid, $2, $3::uuid, $4::oid)
 ON CONFLICT (node_group_id) DO UPDATE SET node_group_name = excluded.node_group_name,
 node_group_uuid = excluded.node_group_uuid, node_group_parent_id = excluded.node_group_parent_id`,
		Args: []any{g.ID, g.Name, g.UUID, g.ParentID}}
	if g.LastSeqID == 0 {
		return []ipc.Stmt{row}
	}
	return []ipc.Stmt{row, {SQL: `UPDATE bdr.node_group SET last_node_seq_id = $2::integer WHERE node_group_id = $1::oid`,
		Args: []any{g.ID, g.LastSeqID}}}
}

// DeleteGroups removes every group.
func DeleteGroups() ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.node_group`}
}
