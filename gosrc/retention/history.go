package retention

import (
	"context"
	"strconv"
	"time"

	"bdr/gosrc/catalog"
)

// Rows of the conflict history go a hundredth of the retention after their time,
// within these limits.
const (
	historyTurnMin = time.Second
	historyTurnMax = 10 * time.Minute
	historyRetry   = time.Minute // after a failure
)

// A History keeps the conflict history and the notes of dropped tables small.
type History struct{ deps Deps }

// NewHistory makes a keeper that has not taken a turn yet.
func NewHistory(deps Deps) *History { return &History{deps} }

// Run takes turns until ctx ends, and when a setting has changed.
func (h *History) Run(ctx context.Context) {
	reloaded := h.deps.reloads()
	for {
		retention := h.retention()
		wait := turnOf(retention)
		err := h.turn(ctx, retention)
		h.deps.Upkeep.Report(ctx, emptyHistory, err)
		if err != nil {
			wait = historyRetry
		}
		select {
		case <-time.After(wait):
		case <-reloaded:
		case <-ctx.Done():
			return
		}
	}
}

// retention reads the setting, which is in seconds; negative: for ever.
func (h *History) retention() int64 {
	seconds, err := strconv.ParseInt(h.deps.Main.Setting("bdr.conflict_history_retention"), 10, 64)
	if err != nil {
		return -1
	}
	return seconds
}

// turnOf returns the time between two turns.
func turnOf(retention int64) time.Duration {
	if retention < 0 {
		return historyTurnMax
	}
	return min(max(time.Duration(retention)*time.Second/100, historyTurnMin), historyTurnMax)
}

// turn takes away what is old enough. Users may lock the history, and the main
// thread has other things to do meanwhile: it does not wait for them.
func (h *History) turn(ctx context.Context, retention int64) error {
	limit := catalog.LimitEventWait()
	if _, err := h.deps.Main.Run(ctx, append(limit, catalog.ForgetDroppedTables())...); err != nil || retention < 0 {
		return err
	}
	return h.deps.deleteAll(ctx, limit, catalog.DeleteHistory(retention, deleteMax))
}
