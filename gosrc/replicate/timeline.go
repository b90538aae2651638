package replicate

import (
	"context"
	"fmt"

	"bdr/gosrc/catalog"
)

// noteTimeline records on which timeline of the peer's WAL the origin goes on,
// before anything of it is applied. Only a new timeline needs the table: users
// may have locked it.
func (d Deps) noteTimeline(ctx context.Context, s catalog.Subscription, timeline int) error {
	if timeline == s.Timeline || timeline == 0 {
		return nil
	}
	if _, err := d.Runner.Run(ctx, catalog.LimitLockWait(), catalog.SetOriginTimeline(s.OriginID, timeline)); err != nil {
		return fmt.Errorf("note timeline %d of replication origin %q: %w", timeline, s.OriginName, err)
	}
	return nil
}

// ends are those of the next connection: the timeline may have been another when
// the subscription started.
func (p *Peer) ends() Config {
	c := p.config
	c.Subscription.Timeline = int(p.timeline.Load())
	return c
}
