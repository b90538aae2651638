package replicate

import (
	"context"
	"errors"
	"time"

	"bdr/gosrc/control"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// CatchUp streams everything that the source of a join has, changes of its peers
// included, until the catch-up point with this nonce has been seen and everything before
// it is applied and flushed. It connects again after failures that may pass;
// report, which may be nil, hears of each.
func CatchUp(ctx context.Context, c Config, d Deps, nonce string, report func(error)) (control.CatchUpPoint, error) {
	r := newRetry()
	for {
		point, err := d.catchUpOnce(ctx, c, nonce, r)
		if err == nil || ctx.Err() != nil || permanent(err) {
			return point, cause(ctx, err)
		}
		if report != nil {
			report(err)
		}
		if err := sleep(ctx, d.again(r, c.Subscription.Name, newFailure(err, time.Now()))); err != nil {
			return control.CatchUpPoint{}, err
		}
	}
}

// permanent reports whether err cannot pass by itself: the slot or the origin
// is gone, so the copy has to be made again.
func permanent(err error) bool {
	return pgerr.From(err).Code == pgerr.UndefinedObject
}

// catchUpOnce is one connection of CatchUp.
func (d Deps) catchUpOnce(ctx context.Context, c Config, nonce string, r *retry) (control.CatchUpPoint, error) {
	p, err := d.open(ctx, c, ModeCatchUp)
	var lost *stream.Lost
	if errors.As(err, &lost) { // as good as gone: the node has nothing yet that it would have to leave for it
		err = pgerr.New(pgerr.UndefinedObject, "%w", lost)
	}
	if err != nil {
		return control.CatchUpPoint{}, err
	}
	var found control.CatchUpPoint
	p.onMessage = func(m wire.Message) (bool, error) {
		point, is, err := control.DecodeCatchUpPoint(m)
		if err != nil || !is || point.ID != nonce {
			return false, err
		}
		found = point
		return true, nil
	}
	p.onApplied = p.succeeded(r)
	if err := p.run(ctx); !errors.Is(err, errStopped) {
		return control.CatchUpPoint{}, err
	}
	return found, nil
}

func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
