package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

const (
	copyWorkersMax = 4

	// copiedRowTime is the commit time of copied rows: older than any change
	// that may be on its way, so that it wins.
	copiedRowTime = "2000-01-01 00:00:01+00"
)

// A copySession is one attempt to copy the source: the slot and its snapshot
// live as long as the replication connection does.
type copySession struct {
	j        *joinRun
	source   catalog.Node
	local    catalog.Node
	holder   *pgconn.PgConn // exports the snapshot
	snapshot string
	dir      string // of the dump
	tables   []catalog.Table
}

// copyAll copies schema and data of the source as of one snapshot. A repeated
// copy starts from nothing.
func (j *joinRun) copyAll(ctx context.Context) error {
	source, err := j.source()
	if err != nil {
		return err
	}
	local, err := j.s.record(ctx)
	if err != nil {
		return err
	}
	c := &copySession{j: j, source: source, local: local}
	defer c.close()
	again := j.current() != stepCopySchema
	if err := c.open(ctx); err != nil {
		return err
	}
	if err := c.listTables(ctx); err != nil {
		return err
	}
	if err := c.restoreSchema(ctx, again); err != nil {
		return err
	}
	if err := c.copyTables(ctx); err != nil {
		return err
	}
	return c.complete(ctx, again)
}

func (c *copySession) close() {
	if c.holder != nil {
		hangUp(c.holder)
	}
	if c.dir != "" {
		_ = os.RemoveAll(c.dir) // what is left goes before the catch-up
	}
}

// open makes the slot on the source from which the catch-up will read; its
// snapshot is what the copy sees.
func (c *copySession) open(ctx context.Context) (err error) {
	if c.holder, err = c.j.s.connect(ctx, c.source.DSN, stream.Replication); err != nil {
		return err
	}
	name := stream.SlotName(c.source.DBOID, c.local.ID)
	if err := c.dropOldSlot(ctx, name); err != nil {
		return err
	}
	watched, stop := c.j.watchSlot(ctx, c.source)
	defer stop()
	slot, err := stream.CreateSlot(watched, c.holder, name, true)
	if err != nil {
		return err
	}
	c.snapshot = slot.Snapshot
	return nil
}

// dropOldSlot drops the slot of an earlier copy.
func (c *copySession) dropOldSlot(ctx context.Context, name string) error {
	conn, err := c.j.s.connect(ctx, c.source.DSN, stream.Command)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	results, err := catalog.Over(conn).Run(ctx, catalog.SelectSlotExists(name))
	if err != nil || !slices.Contains(catalog.Texts(results[0]), "t") {
		return err
	}
	return stream.DropSlot(ctx, c.holder, name, true)
}

// reader opens a connection to the source that sees the snapshot.
func (c *copySession) reader(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := c.j.s.connect(ctx, c.source.DSN, stream.Reading)
	if err != nil {
		return nil, err
	}
	for _, script := range []string{matchEncoding, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		"SET TRANSACTION SNAPSHOT " + catalog.QuoteLiteral(c.snapshot)} {
		if _, err := conn.Exec(ctx, script).ReadAll(); err != nil {
			hangUp(conn)
			return nil, fmt.Errorf("use snapshot of the source: %w", pgerr.From(err))
		}
	}
	return conn, nil
}

// matchEncoding has text come and go as it is stored.
const matchEncoding = "SELECT pg_catalog.set_config('client_encoding', pg_catalog.current_setting('server_encoding'), false)"

// writer opens a connection to this database that works as a replica does.
func (c *copySession) writer(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := c.j.s.connect(ctx, c.local.DSN, stream.Restoring)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, matchEncoding).ReadAll(); err != nil {
		hangUp(conn)
		return nil, pgerr.From(err)
	}
	return conn, nil
}

func (c *copySession) listTables(ctx context.Context) error {
	conn, err := c.reader(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	results, err := catalog.Over(conn).Run(ctx, catalog.SelectTables())
	if err != nil {
		return err
	}
	c.tables, err = catalog.Tables(results[0])
	var bytes int64
	for _, t := range c.tables {
		bytes += t.Bytes
	}
	c.j.update(func(v *joinView) {
		v.TablesTotal, v.TablesCopied, v.BytesCopied, v.bytesAll = len(c.tables), 0, 0, bytes
	})
	return err
}

// restoreSchema brings the tables here, without indexes and constraints. A
// schema that the user prepared is only emptied before a second copy.
func (c *copySession) restoreSchema(ctx context.Context, again bool) error {
	if c.j.prepared() {
		if err := c.j.advance(ctx, stepRestore); err != nil || !again {
			return err
		}
		return c.emptyTables(ctx)
	}
	if err := c.dump(ctx); err != nil {
		return err
	}
	if again {
		if err := c.runHere(ctx, catalog.DropUserRelations()); err != nil {
			return err
		}
	}
	if err := c.j.advance(ctx, stepRestore); err != nil {
		return err
	}
	return c.restore(ctx, "pre-data", again)
}

// emptyTables is for a second copy into a schema that the user made. Tables of
// extensions are cleared one by one.
func (c *copySession) emptyTables(ctx context.Context) error {
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

// prepared says whether the user made the schema.
func (j *joinRun) prepared() bool {
	view, _ := j.look()
	return view.SyncStructure == "none"
}

// runHere runs one statement on a connection of its own: it may take long.
func (c *copySession) runHere(ctx context.Context, statement ipc.Stmt) error {
	conn, err := c.writer(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	_, err = catalog.Over(conn).Run(ctx, statement)
	return err
}

// copyTables copies several tables at a time, biggest first.
func (c *copySession) copyTables(ctx context.Context) error {
	if err := c.j.advance(ctx, stepCopyData); err != nil {
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
		c.j.s.deps.Spawn("copy", func() {
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
	return errors.Join(failure, c.dropOrigins())
}

// workers says how many may copy at a time: each needs a table and an origin.
func (c *copySession) workers(ctx context.Context) (int, error) {
	if err := c.dropOrigins(); err != nil {
		return 0, err
	}
	facts, err := factsOf(ctx, c.j.s.deps.Host)
	if err != nil {
		return 0, err
	}
	return max(1, min(copyWorkersMax, len(c.tables), facts.Origins.Free())), nil
}

func (c *copySession) originName(k int) string {
	return fmt.Sprintf("bdr_%d_copy_%d", c.j.s.deps.DatabaseOID, k)
}

// dropOrigins removes the origins of this or an earlier copy.
func (c *copySession) dropOrigins() error {
	ctx, cancel := context.WithTimeout(c.j.s.ctx, advanceTimeMax)
	defer cancel()
	for k := range copyWorkersMax {
		for {
			_, err := c.j.s.deps.Host.Run(ctx, catalog.DropOrigin(c.originName(k)))
			if err == nil {
				break
			}
			if !isCode(err, pgerr.ObjectInUse) || !pause(ctx, askPeriod) {
				return err
			}
		}
	}
	return nil
}

// copyQueue is one worker: two connections and an origin session.
func (c *copySession) copyQueue(ctx context.Context, k int, queue <-chan catalog.Table) error {
	from, err := c.reader(ctx)
	if err != nil {
		return err
	}
	defer hangUp(from)
	to, err := c.writer(ctx)
	if err != nil {
		return err
	}
	defer hangUp(to)
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
func (c *copySession) copyTable(ctx context.Context, from, to *pgconn.PgConn, t catalog.Table) error {
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
	c.j.progress(ctx, 1, 0)
	return nil
}

// checkBothEnds locks what has the table's name on both nodes and looks at it: on
// the source it must be what was listed, here a table of the same owner. Whoever
// owns a schema can have put something else there.
func checkBothEnds(ctx context.Context, source, local catalog.Runner, t catalog.Table) error {
	there, err := lockPlace(ctx, source, t, "ACCESS SHARE")
	if err != nil {
		return err
	}
	if there.OID != t.OID || !there.Ordinary {
		return pgerr.New(pgerr.WrongState, "the table has been replaced on the source of the join")
	}
	here, err := lockPlace(ctx, local, t, "ROW EXCLUSIVE")
	if err != nil {
		return err
	}
	if fault := checkPlace(here, t); fault != nil {
		return fault
	}
	return nil
}

func lockPlace(ctx context.Context, runner catalog.Runner, t catalog.Table, mode string) (catalog.Place, error) {
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
func (c *copySession) pipe(ctx context.Context, from, to *pgconn.PgConn, t catalog.Table) error {
	out, in := io.Pipe()
	var reading error
	var done sync.WaitGroup
	done.Add(1)
	c.j.s.deps.Spawn("copy reader", func() {
		defer done.Done()
		_, reading = from.CopyTo(ctx, &counter{w: in, count: func(n int) { c.j.progress(ctx, 0, int64(n)) }}, t.CopyOut())
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
func (c *copySession) complete(ctx context.Context, again bool) error {
	if err := c.j.advance(ctx, stepIndexes); err != nil {
		return err
	}
	if !c.j.prepared() {
		if err := c.restore(ctx, "post-data", again); err != nil {
			return err
		}
	}
	if err := c.j.advance(ctx, stepSequences); err != nil {
		return err
	}
	if err := c.copySequences(ctx); err != nil {
		return err
	}
	return c.j.advance(ctx, stepCatchup)
}

func (c *copySession) copySequences(ctx context.Context) error {
	conn, err := c.j.s.connect(ctx, c.source.DSN, stream.Command)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	var sequences []catalog.Sequence
	err = catalog.Transaction(ctx, conn, "READ ONLY", func() error {
		results, err := catalog.Over(conn).Run(ctx, catalog.SelectSequences())
		if err != nil {
			return err
		}
		sequences, err = catalog.Sequences(results[0])
		return err
	})
	if err != nil {
		return err
	}
	for _, sequence := range sequences {
		set, err := c.j.s.deps.Host.Run(ctx, catalog.SetSequence(sequence))
		if err != nil {
			return err
		}
		if len(set[0].Rows) == 0 {
			c.j.s.log(ipc.Warning, "join: there is no sequence %s of role %q here; its position was not copied", sequence.Name, sequence.Owner)
		}
	}
	return nil
}
