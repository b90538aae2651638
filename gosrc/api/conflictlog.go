package api

import (
	"context"
	"strings"

	"bdr/gosrc/catalog"
	"bdr/gosrc/conflict"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// setLogConfig answers bdr.alter_node_set_log_config(node_name, log_to_file,
// log_to_table, conflict_type, conflict_resolution). It writes in the caller's
// transaction; writers read the table when they meet a conflict.
func (a *API) setLogConfig(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if r.Null(0) || r.Null(1) || r.Null(2) {
		return ipc.Rows{}, pgerr.New(pgerr.InvalidParameter, "node_name, log_to_file and log_to_table must not be NULL")
	}
	if err := requireLocal(ctx, r); err != nil {
		return ipc.Rows{}, err
	}
	if err := requireNames(ctx, r, 3, "conflict type", conflict.TypeNames()); err != nil {
		return ipc.Rows{}, err
	}
	if err := requireNames(ctx, r, 4, "conflict resolution", conflict.ResolutionNames()); err != nil {
		return ipc.Rows{}, err
	}
	_, err := r.Run(ctx, catalog.SetLogConfig(catalog.LogConfig{Name: r.Arg(0), ToFile: r.Bool(1, true), ToTable: r.Bool(2, true),
		Types: r.Args[3], Resolutions: r.Args[4]})...)
	if err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Value(""), nil
}

// requireNames refuses an argument, an array, with other names than the known.
func requireNames(ctx context.Context, r *ipc.Request, i int, what string, known []string) error {
	if r.Null(i) {
		return nil
	}
	results, err := r.Run(ctx, catalog.SelectOtherNames(r.Args[i], known))
	if err != nil {
		return err
	}
	if unknown := catalog.Texts(results[0]); len(unknown) > 0 {
		return pgerr.New(pgerr.InvalidParameter, "%s %q does not exist", what, unknown[0]).
			WithHint("Valid names are %s.", strings.Join(known, ", "))
	}
	return nil
}
