package catalog

import "bdr/gosrc/ipc"

// Resolver is a row of bdr.node_conflict_resolvers: what this node does about
// conflicts of a type, where that is not the default.
type Resolver struct {
	ConflictType string
	Name         string
}

// SelectResolvers reads every resolver that is set.
func SelectResolvers() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT conflict_type, conflict_resolver FROM bdr.node_conflict_resolvers ORDER BY 1`}
}

// Resolvers decodes what SelectResolvers returned.
func Resolvers(r ipc.Result) ([]Resolver, error) {
	return each(r, func(c *columns) Resolver { return Resolver{ConflictType: c.text(), Name: c.text()} })
}

// SetResolver records the resolver of a conflict type.
func SetResolver(r Resolver) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.node_conflict_resolvers (conflict_type, conflict_resolver) VALUES ($1, $2)
 ON CONFLICT (conflict_type) DO UPDATE SET conflict_resolver = EXCLUDED.conflict_resolver`, Args: []any{r.ConflictType, r.Name}}
}
