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
	var resolvers []Resolver
	for _, row := range r.Rows {
		c := columns{row: row}
		resolvers = append(resolvers, Resolver{ConflictType: c.text(), Name: c.text()})
		if err := c.done(); err != nil {
			return nil, err
		}
	}
	return resolvers, nil
}

// SetResolver records the resolver of a conflict type.
func SetResolver(r Resolver) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.node_conflict_resolvers (conflict_type, conflict_resolver) VALUES ($1, $2)
 ON CONFLICT (conflict_type) DO UPDATE SET conflict_resolver = EXCLUDED.conflict_resolver`, Args: []any{r.ConflictType, r.Name}}
}
