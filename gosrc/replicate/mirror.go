package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/wire"
)

// A Marker is what the source of a join wrote into its stream: everything that
// it had applied of each peer by then came before.
type Marker struct {
	Joiner   uint32             // the node that joins
	ID       string             // the joiner's nonce
	Progress map[uint32]lsn.LSN // per peer: applied by the source up to here
	LSN      lsn.LSN            // of the marker, in the source's WAL
}

// markerContent is the JSON of a marker.
type markerContent struct {
	Joiner   *uint32           `json:"marker"`
	ID       string            `json:"id"`
	Progress map[string]string `json:"progress"`
}

// parseMarker reads a logical message; false: it is not a marker.
func parseMarker(m wire.Message) (Marker, bool, error) {
	var content markerContent
	if json.Unmarshal(m.Content, &content) != nil || content.Joiner == nil {
		return Marker{}, false, nil
	}
	marker := Marker{Joiner: *content.Joiner, ID: content.ID, LSN: m.LSN, Progress: map[uint32]lsn.LSN{}}
	for peer, position := range content.Progress {
		id, err := strconv.ParseUint(peer, 10, 32)
		if err != nil {
			return Marker{}, false, fmt.Errorf("read peer of marker: %w", err)
		}
		if marker.Progress[uint32(id)], err = lsn.Parse(position); err != nil {
			return Marker{}, false, fmt.Errorf("read progress of marker: %w", err)
		}
	}
	return marker, true, nil
}

// Mirror streams everything that the source of a join has, changes of its peers
// included, until the marker with this nonce has been seen and everything before
// it is applied and flushed. It connects again after failures that may pass;
// report, which may be nil, hears of each.
func Mirror(ctx context.Context, c Config, d Deps, nonce string, report func(error)) (Marker, error) {
	r := newRetry()
	for {
		marker, err := d.mirrorOnce(ctx, c, nonce, r)
		if err == nil || ctx.Err() != nil || permanent(err) {
			return marker, cause(ctx, err)
		}
		if report != nil {
			report(err)
		}
		if err := sleep(ctx, d.again(r, c.Subscription.Name, newFailure(err, time.Now()))); err != nil {
			return Marker{}, err
		}
	}
}

// permanent reports whether err cannot pass by itself: the slot or the origin
// is gone, so the copy has to be made again.
func permanent(err error) bool {
	return pgerr.From(err).Code == pgerr.UndefinedObject
}

// mirrorOnce is one connection of Mirror.
func (d Deps) mirrorOnce(ctx context.Context, c Config, nonce string, r *retry) (Marker, error) {
	p, err := d.open(ctx, c, ModeMirror)
	if err != nil {
		return Marker{}, err
	}
	var found Marker
	p.onMessage = func(m wire.Message) (bool, error) {
		marker, is, err := parseMarker(m)
		if err != nil || !is || marker.ID != nonce {
			return false, err
		}
		found = marker
		return true, nil
	}
	p.onApplied = p.succeeded(r)
	if err := p.run(ctx); !errors.Is(err, errMarker) {
		return Marker{}, err
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
