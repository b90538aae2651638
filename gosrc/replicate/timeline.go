package replicate

import (
	"context"
	"fmt"

	"bdr/gosrc/catalog"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// noteTimeline records on which timeline of the peer's WAL the origin goes on,
// before anything of it is applied. Only a new timeline needs the table: users
// may have locked it.
func (d Deps) noteTimeline(ctx context.Context, s catalog.Subscription, timeline lsn.Timeline) error {
	if timeline == s.Timeline || timeline.Number == 0 {
		return nil
	}
	_, err := d.Runner.Run(ctx, catalog.LimitLockWait(), catalog.SetOriginTimeline(s.OriginID, timeline))
	if err != nil && pgerr.Code(err) != pgerr.UndefinedColumn { // the SQL objects are those of 0.1.0
		return fmt.Errorf("note timeline %d of replication origin %q: %w", timeline.Number, s.OriginName, err)
	}
	return nil
}

// ends are those of the next connection: the timeline may have been another when
// the subscription started.
func (p *Peer) ends() Config {
	c := p.config
	c.Subscription.Timeline = *p.timeline.Load()
	return c
}
