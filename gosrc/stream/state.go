package stream

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// A Lost slot has been invalidated: what it kept for us is gone for good.
type Lost struct {
	Slot   string
	Reason string // as pg_replication_slots has it since 17; before, what it can be
	DSN    string // of the server, without its password
}

func (l *Lost) Error() string {
	return fmt.Sprintf("replication slot %q of %q was invalidated (%s)", l.Slot, l.DSN, l.Reason)
}

// GoneBack is a server whose WAL does not have all that we have applied of it: a
// copy that did not get the end, or the original that such a copy has replaced.
type GoneBack struct {
	DSN               string // without its password
	Applied, End      lsn.LSN
	Timeline, Applies int // of the server, and of what we have applied
}

func (g *GoneBack) Error() string {
	if g.Timeline < g.Applies {
		return fmt.Sprintf("%q is on timeline %d of its WAL, but changes of timeline %d are applied here", g.DSN, g.Timeline, g.Applies)
	}
	return fmt.Sprintf("the WAL of %q that was replicated ends at %s, but changes up to %s are applied here", g.DSN, g.End, g.Applied)
}

// sender is what a server says before START_REPLICATION.
type sender struct {
	patience string       // wal_sender_timeout, as the server shows it
	reason   string       // why the slot was invalidated; empty: it was not
	alter    bool         // the slot is free, and not yet one that standbys get
	end      lsn.LSN      // of its WAL; zero on a standby
	timeline lsn.Timeline // of its WAL; 0 on a standby
}

// selectSender reads that, from any major version: conflicting came with 16,
// failover and invalidation_reason with 17. A slot that does not exist is found
// out by START_REPLICATION.
const selectSender = `SELECT pg_catalog.current_setting('wal_sender_timeout'),
 CASE WHEN s.slot ->> 'wal_status' = 'lost' OR s.slot ->> 'invalidation_reason' IS NOT NULL OR s.slot ->> 'conflicting' = 'true'
  THEN COALESCE(s.slot ->> 'invalidation_reason', 'wal_removed') END,
 s.slot ->> 'failover' = 'false' AND s.slot ->> 'active' = 'false',
 CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn() END,
 (SELECT system_identifier FROM pg_catalog.pg_control_system()),
 CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN
  ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()), 1, 8))::bit(32)::integer ELSE 0 END
FROM (SELECT) one LEFT JOIN (SELECT pg_catalog.to_jsonb(r) AS slot FROM pg_catalog.pg_replication_slots r
 WHERE r.slot_name = `

func askSender(ctx context.Context, conn *pgconn.PgConn, slot string) (sender, error) {
	results, err := conn.Exec(ctx, selectSender+quoteText(slot)+") s ON true").ReadAll()
	if err != nil {
		return sender{}, fmt.Errorf("read the state of slot %q: %w", slot, pgerr.From(err))
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 6 {
		return sender{}, pgerr.New(pgerr.ProtocolViolation, "unexpected answer about the state of slot %q", slot)
	}
	row := results[0].Rows[0]
	s := sender{patience: string(row[0]), reason: string(row[1]), alter: string(row[2]) == "t"}
	if row[3] != nil {
		s.end, err = lsn.Parse(string(row[3]))
	}
	if err == nil {
		s.timeline.System = string(row[4])
		s.timeline.Number, err = strconv.Atoi(string(row[5]))
	}
	return s, err
}

// checkHistory compares the server's WAL with what was applied of it. Positions
// alone do not tell for long: a promoted standby soon writes beyond them.
func checkHistory(ctx context.Context, conn *pgconn.PgConn, c Config, s sender) error {
	applied := c.Timeline
	if applied.System != s.timeline.System {
		applied.Number = 0 // pg_upgrade has made it
	}
	back := &GoneBack{DSN: pgerr.MaskDSN(c.DSN), Applied: c.Start, End: s.end, Timeline: s.timeline.Number, Applies: applied.Number}
	switch {
	case s.end == lsn.Zero:
		return nil // a standby has no slots of ours that it would let us read
	case beyond(c.Start, s.end) || s.timeline.Number < applied.Number:
		return back
	case applied.Number == 0 || s.timeline.Number == applied.Number:
		return nil
	}
	results, err := conn.Exec(ctx, fmt.Sprintf("TIMELINE_HISTORY %d", s.timeline.Number)).ReadAll()
	if err != nil {
		return fmt.Errorf("read the history of timeline %d: %w", s.timeline.Number, pgerr.From(err))
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 2 {
		return pgerr.New(pgerr.ProtocolViolation, "unexpected answer about the history of timeline %d", s.timeline.Number)
	}
	back.End, err = switchPoint(string(results[0].Rows[0][1]), applied.Number)
	if err == nil && beyond(c.Start, back.End) {
		return back
	}
	return err
}

// Layout of WAL pages, for beyond.
const (
	pageBytes      = 8192
	headerBytesMax = 40 // of the first page of a segment; other pages have 24
)

// beyond says whether WAL that ends there lacks something before a position. An
// origin may stand behind the header of a page that nothing has been written to
// yet, since no record can end within it.
func beyond(position, end lsn.LSN) bool {
	return position > end && (end%pageBytes != 0 || position > end+headerBytesMax)
}

// switchPoint finds in a timeline's history where an earlier one was left; zero:
// it is not among them.
func switchPoint(history string, timeline int) (lsn.LSN, error) {
	for line := range strings.Lines(history) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == strconv.Itoa(timeline) {
			return lsn.Parse(fields[1])
		}
	}
	return lsn.Zero, nil
}

// prepare makes sure that a stream from there means what it seems to: the server
// would leave out what the slot does not have any more, and what it writes again
// at positions that we have passed. It lets standbys of the server have the slot,
// which matters to slots that were made before version 17.
func prepare(ctx context.Context, conn *pgconn.PgConn, c Config) (sender, error) {
	s, err := askSender(ctx, conn, c.Slot)
	if err != nil {
		return s, err
	}
	if s.reason != "" {
		return s, &Lost{Slot: c.Slot, Reason: s.reason, DSN: pgerr.MaskDSN(c.DSN)}
	}
	if err := checkHistory(ctx, conn, c, s); err != nil || !s.alter {
		return s, err
	}
	if _, err := conn.Exec(ctx, "ALTER_REPLICATION_SLOT "+quoteName(c.Slot)+" (FAILOVER true)").ReadAll(); err != nil {
		return s, fmt.Errorf("let standbys have slot %q: %w", c.Slot, pgerr.From(err))
	}
	return s, nil
}
