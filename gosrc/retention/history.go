package retention

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/conflict"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// A History keeps the conflict history and the notes of dropped tables small.
type History struct {
	deps Deps
}

// NewHistory makes a keeper that has not taken a turn yet.
func NewHistory(deps Deps) *History { return &History{deps: deps} }

// partRetry is the time until a part that somebody reads is tried again, or
// anything that failed.
const partRetry = time.Minute

// droppedTablesTurn is how often notes of dropped tables are looked at.
const droppedTablesTurn = 12 * time.Hour

// Run has the parts of the conflict history take turns, and empties
// those that are old enough; it also takes away old notes of dropped tables.
// Between that it sleeps.
func (h *History) Run(ctx context.Context) {
	reloaded := make(chan struct{}, 1)
	h.deps.Main.OnSettings(func() {
		select {
		case reloaded <- struct{}{}:
		default:
		}
	})
	for {
		wait, err := h.turn(ctx, h.retention())
		h.deps.Upkeep.Report(ctx, emptyHistory, err)
		if err != nil {
			wait = partRetry
		}
		if wait <= 0 || wait > droppedTablesTurn {
			wait = droppedTablesTurn
		}
		select {
		case <-time.After(wait):
		case <-reloaded:
		case <-ctx.Done():
			return
		}
	}
}

// retention reads the setting, which is in seconds.
func (h *History) retention() time.Duration {
	seconds, err := strconv.Atoi(h.deps.Main.Setting("bdr.conflict_history_retention"))
	if err != nil {
		return -1
	}
	return time.Duration(seconds) * time.Second
}

// turn does what is due and returns the time until the next turn.
func (h *History) turn(ctx context.Context, retention time.Duration) (time.Duration, error) {
	results, err := h.deps.Main.Run(ctx, catalog.SelectHistoryParts(), catalog.ForgetDroppedTables())
	if err != nil {
		return 0, err
	}
	parts, err := catalog.HistoryParts(results[0])
	if err != nil {
		return 0, err
	}
	turn := conflict.PlanParts(planned(parts), retention.Microseconds())
	wait := time.Duration(turn.Wait) * time.Microsecond
	var busy []string
	for _, name := range turn.Empty {
		_, err := h.deps.Main.Run(ctx, append([]ipc.Stmt{catalog.LimitLockWait()}, catalog.EmptyHistoryPart(name)...)...)
		if fault := (*pgerr.Error)(nil); errors.As(err, &fault) && fault.Code == pgerr.LockNotAvailable {
			busy = append(busy, name)
			wait = min(wait, partRetry)
			continue
		}
		if err != nil {
			return 0, err
		}
	}
	if turn.Begin == "" || slices.Contains(busy, turn.Begin) {
		return wait, nil
	}
	_, err = h.deps.Main.Run(ctx, catalog.LimitLockWait(), catalog.BeginHistoryPart(turn.Begin))
	return wait, err
}

func planned(parts []catalog.HistoryPart) []conflict.Part {
	out := make([]conflict.Part, len(parts))
	for i, p := range parts {
		out[i] = conflict.Part{Name: p.Name, Used: p.Used, Age: p.Age.Microseconds()}
	}
	return out
}
