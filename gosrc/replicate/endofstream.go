package replicate

import (
	"context"
	"fmt"

	"bdr/gosrc/catalog"
	"bdr/gosrc/control"
	"bdr/gosrc/ipc"
	"bdr/gosrc/wire"
)

// watchEndOfStream is the pump's onMessage.
func (p *Peer) watchEndOfStream(m wire.Message) (stop bool, err error) {
	return control.IsEndOfStream(m, p.config.Subscription.OriginID), nil
}

// retire ends the subscription for good after an end-of-stream message, also across a
// restart: the row says so.
func (p *Peer) retire(ctx context.Context) {
	p.mu.Lock()
	p.enabled = false
	p.mu.Unlock()
	p.record.state(StateDisabled)
	name := p.config.Subscription.Name
	p.deps.Log(ipc.Log, fmt.Sprintf("subscription %q has ended: node %q is being parted", name, p.config.PeerName), "", "")
	if _, err := p.deps.Runner.Run(ctx, catalog.LimitLockWait(), catalog.EndSubscription(name)); err != nil {
		p.deps.Log(ipc.Warning, fmt.Sprintf("could not record the end of subscription %q", name), err.Error(), "")
	}
}
