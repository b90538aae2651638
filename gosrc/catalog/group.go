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

// UpsertGroup writes a group's row. The server has no ON CONFLICT for a table that
// output plugins read; nobody else writes it.
func UpsertGroup(g Group) []ipc.Stmt {
	args := []any{g.ID, g.Name, g.UUID, g.ParentID}
	list := []ipc.Stmt{
		{SQL: `UPDATE bdr.node_group SET node_group_name = $2, node_group_uuid = $3::uuid, node_group_parent_id = $4::oid
 WHERE node_group_id = $1::oid`, Args: args},
		{SQL: `INSERT INTO bdr.node_group (node_group_id, node_group_name, node_group_uuid, node_group_parent_id)
 SELECT $1::oid, $2, $3::uuid, $4::oid WHERE NOT EXISTS (SELECT FROM bdr.node_group WHERE node_group_id = $1::oid)`, Args: args},
	}
	if g.LastSeqID == 0 {
		return list
	}
	return append(list, ipc.Stmt{SQL: `UPDATE bdr.node_group SET last_node_seq_id = $2::integer WHERE node_group_id = $1::oid`,
		Args: []any{g.ID, g.LastSeqID}})
}

// DeleteGroups removes every group.
func DeleteGroups() ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.node_group`}
}
