package replicate

import (
	"context"
	"fmt"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/conflict"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// awaitTimeMax bounds the wait of a statement for those of other nodes.
const awaitTimeMax = 5 * time.Second

// decider answers one writer's questions about conflicts.
type decider struct {
	pump   *pump
	chosen *conflict.Policy // as users have chosen; nil: not read yet
}

// answer decides and sends what was decided.
func (d *decider) answer(ctx context.Context, question ipc.Question) error {
	switch q := question.(type) {
	case ipc.Conflict:
		return d.answerConflict(ctx, q)
	case ipc.Facts:
		return d.answerFacts(ctx, q)
	case ipc.Fetch:
		return d.answerFetch(ctx, q)
	case ipc.Await:
		return d.answerAwait(ctx, q)
	}
	return pgerr.New(pgerr.InternalError, "unknown question %T of a writer", question)
}

// answerConflict reads what users have chosen each time: a writer asks once for
// a table, and again when the choice has changed.
func (d *decider) answerConflict(ctx context.Context, c ipc.Conflict) error {
	policy, err := d.policy(ctx, true)
	if err != nil {
		return err
	}
	decision, err := policy.Resolve(conflict.Conflict{Type: conflict.Type(c.Type), Local: version(c.Local),
		Remote: version(c.Remote), Complete: c.Complete})
	if err != nil {
		return d.failed(err)
	}
	return d.sent(d.pump.writer.Decide(ipc.Decision{Action: uint8(decision.Action),
		Resolution: string(decision.Resolution), Rule: decision.Rule}))
}

func (d *decider) answerFacts(ctx context.Context, f ipc.Facts) error {
	policy, err := d.policy(ctx, f.Reload)
	if err != nil {
		return err
	}
	plan, err := policy.Decide(facts(f))
	if err != nil {
		return d.failed(err)
	}
	answer := ipc.Plan{Type: uint8(plan.Type), Action: uint8(plan.Action), Resolution: string(plan.Resolution),
		Rule: plan.Rule, Decisive: plan.Decisive, Remember: plan.Remember}
	for _, fate := range plan.Fates {
		answer.Fates = append(answer.Fates, byte(fate))
	}
	return d.sent(d.pump.writer.Answer(answer))
}

// answerFetch brings what an update left out. What goes wrong is the writer's to
// report, with the change that it was about.
func (d *decider) answerFetch(ctx context.Context, f ipc.Fetch) error {
	answer, err := d.pump.values.fetch(ctx, f)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return d.sent(d.pump.writer.Refuse(err))
	}
	return d.sent(d.pump.writer.Fetched(answer))
}

// answerAwait has a statement wait for what its node had from others before it. These
// may wait for what this one's peer wrote before, which need not be where a transaction
// ends. The
// writer's transaction may be what holds that up, so that there is a limit: it is then
// rolled back, and tried again.
func (d *decider) answerAwait(caller context.Context, a ipc.Await) error {
	d.pump.progress.before(a.Applied)
	ctx, cancel := context.WithTimeout(caller, awaitTimeMax)
	defer cancel()
	err := d.pump.await(ctx, a.Positions)
	if caller.Err() != nil {
		return caller.Err()
	}
	if err != nil {
		return d.sent(d.pump.writer.Refuse(pgerr.New(pgerr.LockNotAvailable, "this node does not have all earlier changes of the schema yet").
			WithDetail("%s", pgerr.From(err).Error()).
			WithHint("It is tried again. bdr.subscription_summary and bdr.worker_errors show what is in the way.")))
	}
	return d.sent(d.pump.writer.Awaited())
}

func (d *decider) failed(err error) error {
	return fmt.Errorf("decide conflict of subscription %q: %w", d.pump.name, err)
}

func (d *decider) sent(err error) error {
	if err != nil {
		return d.pump.writerGone(err)
	}
	return nil
}

// policy is what users have chosen; it is read again when the writer says that
// it may have changed.
func (d *decider) policy(ctx context.Context, reload bool) (*conflict.Policy, error) {
	if d.chosen != nil && !reload {
		return d.chosen, nil
	}
	results, err := d.pump.runner.Run(ctx, catalog.SelectResolvers())
	if err != nil {
		return nil, fmt.Errorf("read conflict resolvers: %w", err)
	}
	chosen, err := catalog.Resolvers(results[0])
	if err != nil {
		return nil, err
	}
	policy := d.pump.policy
	for _, r := range chosen {
		if policy, err = policy.WithNamed(r.ConflictType, conflict.Resolver(r.Name)); err != nil {
			return nil, fmt.Errorf("read conflict resolvers: %w", err)
		}
	}
	d.chosen = &policy
	return d.chosen, nil
}

func facts(f ipc.Facts) conflict.Facts {
	out := conflict.Facts{Operation: conflict.Operation(f.Operation), KeyChanged: f.KeyChanged, RowVersion: f.RowVersion,
		Image: conflict.Image(f.Image), Remote: version(f.Remote)}
	for _, kind := range f.Constraints {
		out.Constraints = append(out.Constraints, conflict.Constraint(kind))
	}
	for _, found := range f.Found {
		out.Found = append(out.Found, conflict.Found{Live: found.Live, Seen: found.Seen, On: found.On, Version: version(found.Version)})
	}
	return out
}

func version(v ipc.Version) conflict.Version {
	return conflict.Version{Known: v.Known, Time: v.Time, Node: v.Node}
}
