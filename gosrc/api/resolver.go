package api

import (
	"context"
	"slices"
	"strings"

	"bdr/gosrc/catalog"
	"bdr/gosrc/conflict"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// setResolver answers bdr.alter_node_set_conflict_resolver(node_name,
// conflict_type, conflict_resolver). It writes in the caller's transaction; a
// trigger on the table tells the writers.
func (a *API) setResolver(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if err := requireLocal(ctx, r); err != nil {
		return ipc.Rows{}, err
	}
	chosen := catalog.Resolver{ConflictType: r.Arg(1), Name: r.Arg(2)}
	if err := checkResolver(chosen); err != nil {
		return ipc.Rows{}, err
	}
	if _, err := r.Run(ctx, catalog.SetResolver(chosen)); err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Value(""), nil
}

// checkResolver refuses what the list in gosrc/conflict does not have, and types
// for which nothing can be chosen yet.
func checkResolver(chosen catalog.Resolver) error {
	valid := conflict.ResolverNames(chosen.ConflictType)
	switch {
	case len(valid) == 0:
		return pgerr.New(pgerr.InvalidParameter, "conflict type %q does not exist", chosen.ConflictType).
			WithHint("Conflict types are %s.", list(conflict.ResolvableNames()))
	case !slices.Contains(valid, chosen.Name):
		return pgerr.New(pgerr.InvalidParameter, "conflict resolver %q is not valid for conflict type %q", chosen.Name, chosen.ConflictType).
			WithHint("Valid resolvers are %s.", list(valid))
	case len(conflict.Served(chosen.ConflictType)) == 0:
		return pgerr.New(pgerr.FeatureNotSupported, "conflict type %q has no resolvers yet", chosen.ConflictType).
			WithDetail("A statement that fails here stops the subscription.").
			WithHint("Put right what is in its way, which bdr.worker_errors shows; it is tried again by itself.")
	}
	return nil
}

func list(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }
