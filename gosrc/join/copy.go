// Package join copies schema and data of the source of a join, and says before whether
// the two servers can do that. What the node is to the group meanwhile is
// membership's.
package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

const (
	copyWorkersMax = 4
	originTimeMax  = 15 * time.Second
	originRetry    = 200 * time.Millisecond
	kindsRetry     = 200 * time.Millisecond

	// copiedRowTime is the commit time of copied rows: older than any change
	// that may be on its way, so that it wins.
	copiedRowTime = "2000-01-01 00:00:01+00"
)

// Deps is what a copy gets from membership.
type Deps struct {
	Host          catalog.Runner
	Connect       func(ctx context.Context, dsn string, purpose stream.Purpose) (*pgconn.PgConn, error)
	Spawn         func(name string, f func())
	Log           func(level ipc.Level, format string, args ...any)
	DatabaseOID   uint32
	RunDirectory  string
	BinDirectory  string
	HomeDirectory string
	PassFile      string
}

// Progress hears how far a copy is.
type Progress interface {
	// Begin records that a step begins; the steps before it are done for good.
	Begin(ctx context.Context, step string) error
	// Found says what there is to be copied, Copied what more of it has been.
	Found(tables int, bytes int64)
	Copied(ctx context.Context, tables int, bytes int64)
	// Note says what the copy waits for.
	Note(text string)
}

// A Copy is one attempt to copy the source: the slot and its snapshot live as
// long as the replication connection does.
type Copy struct {
	Deps     Deps
	Progress Progress
	Source   catalog.Node
	Local    catalog.Node
	Joining  catalog.State // in which the group has this node by now
	Prepared bool          // the user made the schema
	Again    bool          // an attempt before may have left something here
	Sets     []string      // replication sets of which rows are copied; none: everything

	holder   *pgconn.PgConn // exports the snapshot
	snapshot string
	dir      string // of the dump
	tables   []catalog.Table
}

// Run copies schema and data of the source as of one snapshot. A repeated copy
// starts from nothing.
func (c *Copy) Run(ctx context.Context) error {
	defer c.close()
	for _, part := range []func(context.Context) error{c.open, c.listTables, c.restoreSchema, c.copyTables, c.complete} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *Copy) close() {
	if c.holder != nil {
		stream.HangUp(c.holder)
	}
	if c.dir != "" {
		_ = os.RemoveAll(c.dir) // what is left goes before the catch-up
	}
}

// open makes the slot on the source from which the catch-up will read; its
// snapshot is what the copy sees.
func (c *Copy) open(ctx context.Context) (err error) {
	if c.holder, err = c.Deps.Connect(ctx, c.Source.DSN, stream.Replication); err != nil {
		return err
	}
	name := stream.SlotName(c.Source.DBOID, c.Local.ID)
	if err := c.dropOldSlot(ctx, name); err != nil {
		return err
	}
	watched, stop := WatchSlot(ctx, c.Deps, c.Source, c.Progress.Note)
	defer stop()
	slot, err := stream.CreateSlot(watched, c.holder, name, true)
	if err != nil {
		return err
	}
	c.snapshot = slot.Snapshot
	return nil
}

// dropOldSlot drops the slot of an earlier copy.
func (c *Copy) dropOldSlot(ctx context.Context, name string) error {
	conn, err := c.Deps.Connect(ctx, c.Source.DSN, stream.Command)
	if err != nil {
		return err
	}
	defer stream.HangUp(conn)
	results, err := catalog.Over(conn).Run(ctx, catalog.SelectSlotExists(name))
	if err != nil || !slices.Contains(catalog.Texts(results[0]), "t") {
		return err
	}
	return stream.DropSlot(ctx, c.holder, name, true)
}

// reader opens a connection to the source that sees the snapshot.
func (c *Copy) reader(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := c.Deps.Connect(ctx, c.Source.DSN, stream.Reading)
	if err != nil {
		return nil, err
	}
	for _, script := range []string{matchEncoding, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		"SET TRANSACTION SNAPSHOT " + catalog.QuoteLiteral(c.snapshot)} {
		if _, err := conn.Exec(ctx, script).ReadAll(); err != nil {
			stream.HangUp(conn)
			return nil, fmt.Errorf("use snapshot of the source: %w", pgerr.From(err))
		}
	}
	return conn, nil
}

// matchEncoding has text come and go as it is stored.
const matchEncoding = "SELECT pg_catalog.set_config('client_encoding', pg_catalog.current_setting('server_encoding'), false)"

// writer opens a connection to this database that works as a replica does.
func (c *Copy) writer(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := c.Deps.Connect(ctx, c.Local.DSN, stream.Restoring)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, matchEncoding).ReadAll(); err != nil {
		stream.HangUp(conn)
		return nil, pgerr.From(err)
	}
	return conn, nil
}

func (c *Copy) listTables(ctx context.Context) error {
	conn, err := c.reader(ctx)
	if err != nil {
		return err
	}
	defer stream.HangUp(conn)
	here, err := FactsOf(ctx, c.Deps.Host)
	if err != nil {
		return err
	}
	if c.tables, err = c.readTables(ctx, catalog.Over(conn), here.VersionNum); err != nil {
		return err
	}
	var bytes int64
	for _, t := range c.tables {
		bytes += t.Bytes
	}
	c.Progress.Found(len(c.tables), bytes)
	return nil
}

// readTables lists what there is to copy.
func (c *Copy) readTables(ctx context.Context, source catalog.Runner, version int) ([]catalog.Table, error) {
	if len(c.Sets) == 0 {
		results, err := source.Run(ctx, catalog.SelectTables(version, nil))
		if err != nil {
			return nil, err
		}
		return catalog.Tables(results[0])
	}
	if _, err := source.Run(ctx, catalog.HoldReplicationSets()); err != nil {
		return nil, err
	}
	if has, err := catalog.HasSequences(ctx, source); err != nil || !has {
		return nil, cmp.Or[error](err, pgerr.New(pgerr.WrongState, "the source of the join has no replication sets"))
	}
	results, err := source.Run(ctx, catalog.SelectShares(c.Sets))
	if err != nil {
		return nil, err
	}
	shares, err := catalog.Shares(results[0])
	if err != nil {
		return nil, err
	}
	return c.readShares(ctx, source, version, shares)
}

// readShares lists the tables of which something is copied.
func (c *Copy) readShares(ctx context.Context, source catalog.Runner, version int, shares map[uint32]catalog.Share) ([]catalog.Table, error) {
	listed := map[uint32][]string{}
	for oid, share := range shares {
		if share.Columns != nil {
			listed[oid] = share.Columns
		}
	}
	results, err := source.Run(ctx, catalog.SelectTables(version, listed))
	if err != nil {
		return nil, err
	}
	all, err := catalog.Tables(results[0])
	var tables []catalog.Table
	for _, t := range all {
		if share, wanted := shares[t.OID]; wanted {
			t.Filters = share.Filters
			tables = append(tables, t)
		}
	}
	return tables, err
}

// restoreSchema brings the tables here, without indexes and constraints. A
// schema that the user prepared is only emptied before a second copy.
func (c *Copy) restoreSchema(ctx context.Context) error {
	if c.Prepared {
		if err := c.Progress.Begin(ctx, StepRestore); err != nil || !c.Again {
			return err
		}
		return c.emptyTables(ctx)
	}
	if err := c.dump(ctx); err != nil {
		return err
	}
	if c.Again {
		if err := c.runHere(ctx, catalog.DropUserRelations()); err != nil {
			return err
		}
	}
	if err := c.Progress.Begin(ctx, StepRestore); err != nil {
		return err
	}
	return c.restore(ctx, "pre-data")
}

// emptyTables is for a second copy into a schema that the user made. Tables of
// extensions are cleared one by one.
func (c *Copy) emptyTables(ctx context.Context) error {
	var tables []catalog.Table
	for _, t := range c.tables {
		if t.Extension == "" {
			tables = append(tables, t)
		}
	}
	if len(tables) == 0 {
		return nil
	}
	return c.runHere(ctx, catalog.Truncate(tables))
}

// runHere runs one statement on a connection of its own: it may take long.
func (c *Copy) runHere(ctx context.Context, statement ipc.Stmt) error {
	conn, err := c.writer(ctx)
	if err != nil {
		return err
	}
	defer stream.HangUp(conn)
	_, err = catalog.Over(conn).Run(ctx, statement)
	return err
}

// copyTables copies several tables at a time, biggest first.
func (c *Copy) copyTables(ctx context.Context) error {
	if err := c.Progress.Begin(ctx, StepCopyData); err != nil {
		return err
	}
	workers, err := c.workers(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan catalog.Table, len(c.tables))
	for _, t := range c.tables {
		queue <- t
	}
	close(queue)
	results := make(chan error, workers)
	for k := range workers {
		c.Deps.Spawn("copy", func() {
			err := c.copyQueue(ctx, k, queue)
			if err != nil {
				cancel() // the others cannot finish the copy any more
			}
			results <- err
		})
	}
	var failure error
	for range workers {
		if err := <-results; err != nil && (failure == nil || errors.Is(failure, context.Canceled)) {
			failure = err
		}
	}
	return errors.Join(failure, c.dropOrigins(ctx))
}

// workers says how many may copy at a time: each needs a table and an origin.
func (c *Copy) workers(ctx context.Context) (int, error) {
	if err := c.dropOrigins(ctx); err != nil {
		return 0, err
	}
	facts, err := FactsOf(ctx, c.Deps.Host)
	if err != nil {
		return 0, err
	}
	return max(1, min(copyWorkersMax, len(c.tables), facts.Origins.Free())), nil
}

func (c *Copy) originName(k int) string {
	return fmt.Sprintf("bdr_%d_copy_%d", c.Deps.DatabaseOID, k)
}

// dropOrigins removes the origins of this or an earlier copy.
func (c *Copy) dropOrigins(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), originTimeMax)
	defer cancel()
	for k := range copyWorkersMax {
		for {
			_, err := c.Deps.Host.Run(ctx, catalog.DropOrigin(c.originName(k)))
			if err == nil {
				break
			}
			// whoever uses it is about to end
			if pgerr.Code(err) != pgerr.ObjectInUse || !pause.For(ctx, originRetry) {
				return err
			}
		}
	}
	return nil
}

// copyQueue is one worker: two connections and an origin session.
func (c *Copy) copyQueue(ctx context.Context, k int, queue <-chan catalog.Table) error {
	from, err := c.reader(ctx)
	if err != nil {
		return err
	}
	defer stream.HangUp(from)
	to, err := c.writer(ctx)
	if err != nil {
		return err
	}
	defer stream.HangUp(to)
	origin := c.originName(k)
	if _, err := catalog.Over(to).Run(ctx, catalog.CreateOrigin(origin)); err != nil {
		return err
	}
	if _, err := catalog.Over(to).Run(ctx, catalog.UseOrigin(origin)); err != nil {
		return err
	}
	for t := range queue {
		if err := c.copyTable(ctx, from, to, t); err != nil {
			return fmt.Errorf("copy table %s: %w", t.Name, err)
		}
	}
	return nil
}

// copyTable moves one table in one transaction here, which looks old and is
// not sent on.
func (c *Copy) copyTable(ctx context.Context, from, to *pgconn.PgConn, t catalog.Table) error {
	local := catalog.Over(to)
	if _, err := local.Run(ctx, ipc.Stmt{SQL: "BEGIN"}); err != nil {
		return err
	}
	if _, err := local.Run(ctx, catalog.StampTransaction(lsn.LSN(0), copiedRowTime)); err != nil {
		return err
	}
	if err := checkBothEnds(ctx, catalog.Over(from), local, t); err != nil {
		return err
	}
	if _, err := catalog.Over(from).Run(ctx, t.CheckFilters()...); err != nil {
		return err
	}
	if t.Extension != "" {
		if _, err := local.Run(ctx, t.Clear()); err != nil {
			return err
		}
	}
	if err := c.pipe(ctx, from, to, t); err != nil {
		return err
	}
	if _, err := local.Run(ctx, ipc.Stmt{SQL: "COMMIT"}); err != nil {
		return err
	}
	c.Progress.Copied(ctx, 1, 0)
	return nil
}

// checkBothEnds locks what has the table's name on both nodes and looks at it: on
// the source it must be what was listed, here a table of the same owner. Whoever
// owns a schema can have put something else there.
func checkBothEnds(ctx context.Context, source, local catalog.Runner, t catalog.Table) error {
	there, err := LockPlace(ctx, source, t, "ACCESS SHARE")
	if err != nil {
		return err
	}
	if there.OID != t.OID || !there.Ordinary {
		return pgerr.New(pgerr.WrongState, "the table has been replaced on the source of the join")
	}
	here, err := LockPlace(ctx, local, t, "ROW EXCLUSIVE")
	if err != nil {
		return err
	}
	if fault := CheckPlace(here, t); fault != nil {
		return fault
	}
	return nil
}

// LockPlace locks a table and then reads where its name leads.
func LockPlace(ctx context.Context, runner catalog.Runner, t catalog.Table, mode string) (catalog.Place, error) {
	if _, err := runner.Run(ctx, t.Lock(mode)); err != nil {
		return catalog.Place{}, err
	}
	results, err := runner.Run(ctx, t.SelectPlace())
	if err != nil {
		return catalog.Place{}, err
	}
	return catalog.PlaceOf(results[0])
}

// pipe connects the two COPYs. The error of the side that failed first counts.
func (c *Copy) pipe(ctx context.Context, from, to *pgconn.PgConn, t catalog.Table) error {
	out, in := io.Pipe()
	var reading error
	var done sync.WaitGroup
	done.Add(1)
	c.Deps.Spawn("copy reader", func() {
		defer done.Done()
		_, reading = from.CopyTo(ctx, &counter{w: in, count: func(n int) { c.Progress.Copied(ctx, 0, int64(n)) }}, t.CopyOut())
		in.CloseWithError(reading)
	})
	_, writing := to.CopyFrom(ctx, out, t.CopyIn())
	out.CloseWithError(writing)
	done.Wait()
	if reading != nil && !errors.Is(reading, io.ErrClosedPipe) && (writing == nil || strings.Contains(writing.Error(), reading.Error())) {
		return fmt.Errorf("read: %w", pgerr.From(reading))
	}
	if writing != nil {
		return fmt.Errorf("write: %w", pgerr.From(writing))
	}
	return nil
}

// counter counts what is written, in portions worth mentioning.
type counter struct {
	w       io.Writer
	pending int
	count   func(n int)
}

const countPortion = 1 << 20

// Write is io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.pending += n
	if c.pending >= countPortion {
		c.count(c.pending)
		c.pending = 0
	}
	return n, err
}

// complete builds what was left out for the copy, and gives sequences their
// positions.
func (c *Copy) complete(ctx context.Context) error {
	if err := c.Progress.Begin(ctx, StepIndexes); err != nil {
		return err
	}
	if !c.Prepared {
		if err := c.restore(ctx, "post-data"); err != nil {
			return err
		}
	}
	if err := c.Progress.Begin(ctx, StepSequences); err != nil {
		return err
	}
	if err := c.copySequences(ctx); err != nil {
		return err
	}
	return c.Progress.Begin(ctx, StepCatchup)
}

func (c *Copy) copySequences(ctx context.Context) error {
	conn, err := c.Deps.Connect(ctx, c.Source.DSN, stream.Command)
	if err != nil {
		return err
	}
	defer stream.HangUp(conn)
	var sequences []catalog.Sequence
	for rest := false; !rest; {
		err := catalog.Transaction(ctx, conn, "READ ONLY", func() (err error) {
			rest, sequences, err = c.readSequences(ctx, catalog.Over(conn))
			return err
		})
		if err != nil {
			return err
		}
		if !rest && !pause.For(ctx, kindsRetry) {
			return ctx.Err()
		}
	}
	for _, sequence := range sequences {
		if err := c.copySequence(ctx, sequence); err != nil {
			return err
		}
	}
	return nil
}

// readSequences reads where the sequences of the source stand. False: kinds may still
// change there. A change that was agreed on before our turn to join is carried out by
// the log before it has us joining; one that has only begun then is called off.
func (c *Copy) readSequences(ctx context.Context, source catalog.Runner) (bool, []catalog.Sequence, error) {
	kinds, err := catalog.HasSequences(ctx, source)
	if err != nil {
		return false, nil, err
	}
	if kinds {
		rest, err := source.Run(ctx, catalog.SelectKindsRest(c.Local.ID, c.Joining))
		if err != nil {
			return false, nil, err
		}
		if !slices.Contains(catalog.Texts(rest[0]), "t") {
			c.Progress.Note(fmt.Sprintf("waiting until no sequence changes its kind on node %q", c.Source.Name))
			return false, nil, nil
		}
	}
	results, err := source.Run(ctx, catalog.SelectSequences(kinds))
	if err != nil {
		return false, nil, err
	}
	sequences, err := catalog.Sequences(results[0])
	return true, sequences, err
}

// copySequence gives a sequence here its position, or its kind where nodes share that.
func (c *Copy) copySequence(ctx context.Context, s catalog.Sequence) error {
	statement, what := catalog.SetSequence(s), "position"
	if s.Kind != "" {
		statement, what = catalog.CopySequenceKind(s), "kind"
	}
	results, err := c.Deps.Host.Run(ctx, statement)
	if err != nil {
		return err
	}
	if len(results[0].Rows) == 0 || s.Kind != "" && !slices.Contains(catalog.Texts(results[0]), "t") {
		c.Deps.Log(ipc.Warning, "join: there is no sequence %s of role %q here; its %s was not copied", s.Name, s.Owner, what)
	}
	return nil
}
