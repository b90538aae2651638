package join

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pause"
	"bdr/gosrc/stream"
)

// blockerDelay is the time before looking for what a slot waits for.
const blockerDelay = 5 * time.Second

// WatchSlot tells, by note, when a new slot has to wait for transactions that
// were running before it.
func WatchSlot(ctx context.Context, d Deps, node catalog.Node, note func(text string)) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	d.Spawn("slot watch", func() {
		for pause.For(ctx, blockerDelay) {
			conn, err := d.Connect(ctx, node.DSN, stream.Command)
			if err != nil {
				continue
			}
			results, err := catalog.Over(conn).Run(ctx, catalog.SelectBlockers())
			stream.HangUp(conn)
			if blockers := strings.Join(textsOf(results, err), "; "); blockers != "" && ctx.Err() == nil {
				note(fmt.Sprintf("a replication slot on node %q waits for %s", node.Name, blockers))
			}
		}
	})
	return ctx, cancel
}

func textsOf(results []ipc.Result, err error) []string {
	if err != nil {
		return nil
	}
	return catalog.Texts(results[0])
}
