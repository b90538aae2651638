package replicate

import (
	"context"
	"encoding/json"
	"fmt"

	"bdr/gosrc/catalog"
	"bdr/gosrc/hand"
	"bdr/gosrc/wire"
)

// A farewell is what a node writes into its stream when it is being parted.
// Every peer stops exactly there, so that all have the same of it, whatever it
// goes on to write.
type farewell struct {
	Node uint32 `json:"farewell"`
}

// isFarewell reads a logical message of a node.
func isFarewell(m wire.Message, node uint32) bool {
	var content farewell
	return json.Unmarshal(m.Content, &content) == nil && content.Node == node
}

// watchFarewell is the pump's onMessage.
func (p *Peer) watchFarewell(m wire.Message) (stop bool, err error) {
	return isFarewell(m, p.config.Subscription.OriginID), nil
}

// retire ends the subscription for good after a farewell, also across a
// restart: the row says so.
func (p *Peer) retire(ctx context.Context) {
	p.mu.Lock()
	p.enabled = false
	p.mu.Unlock()
	p.record.state(StateDisabled)
	name := p.config.Subscription.Name
	p.deps.Log(hand.Log, fmt.Sprintf("subscription %q has ended: node %q is being parted", name, p.config.PeerName), "", "")
	if _, err := p.deps.Runner.Run(ctx, catalog.LimitLockWait(), catalog.EndSubscription(name)); err != nil {
		p.deps.Log(hand.Warning, fmt.Sprintf("could not record the end of subscription %q", name), err.Error(), "")
	}
}
