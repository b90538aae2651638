//go:build soak

package ddl

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// applications are Go modules with schemas of years: each migration of these folders,
// in the order of their names, and rows of that version where there are some.
var applications = []struct{ name, module, migrations, rows string }{
	{"openfga", "github.com/openfga/openfga@v1.22.1", "assets/migrations/postgres", ""},
	{"river", "github.com/riverqueue/river/riverdriver/riverpgxv5@v0.51.2", "migration/main", ""},
	{"kratos", "github.com/ory/kratos@v1.3.1", "persistence/sql/migrations/sql", "persistence/sql/migratest/testdata"},
	{"hydra", "github.com/ory/hydra/v2@v2.3.0", "persistence/sql/migrations", "persistence/sql/migratest/testdata"},
}

// TestSoakApplications exists because nobody invents what applications do to their
// schemas. One node migrates while others write, rows of the application among them.
func TestSoakApplications(t *testing.T) {
	for _, app := range applications {
		t.Run(app.name, func(t *testing.T) {
			dir := download(t, app.module)
			c := pgtest.NewCluster(t, 3, pgtest.WithSettings(on))
			a, b := c.Nodes[0], c.Nodes[1]
			a.Exec("CREATE TABLE written (a bigserial PRIMARY KEY, who text)")
			end := writeMeanwhile(t, c, c.Nodes[1:])
			rows := rowsOf(t, dir, app.rows)
			migrations := migrationsOf(t, filepath.Join(dir, app.migrations))
			for _, m := range migrations {
				rows = insertUntil(a, b, rows, m.version)
				for _, sql := range transactionsOf(m.sql) {
					if err := a.Try(sql); err != nil {
						t.Fatalf("%s: %s", m.file, pgtest.Explain(err))
					}
				}
			}
			insertUntil(a, b, rows, "~")
			t.Logf("%d migrations, %s rows were written meanwhile, %s rows of the application", len(migrations), end(), b.Value(
				"SELECT sum((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s', oid::regclass), false, true, '')))[1]::text::bigint) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'written'"))
			c.RequireSameSchemas()
		})
	}
}

// insertUntil inserts, on another node, the rows of the versions that are complete.
func insertUntil(migrated, n *pgtest.Node, rows []migration, version string) []migration {
	for len(rows) > 0 && rows[0].version < version[:min(len(version), len(rows[0].version))] {
		migrated.Exec("SELECT bdr.wait_slot_confirm_lsn(NULL, NULL)")
		_ = n.Try("BEGIN;" + rows[0].sql + ";COMMIT") // some are for another version than they say
		n.Exec("SELECT bdr.wait_slot_confirm_lsn(NULL, NULL)")
		rows = rows[1:]
	}
	return rows
}

// download returns the folder of a module that is not one of ours.
func download(t *testing.T, module string) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	var got struct{ Dir, Error string }
	if json.Unmarshal(out, &got) != nil || got.Dir == "" {
		t.Fatalf("%v: %s", err, got.Error)
	}
	return got.Dir
}

type migration struct{ file, version, sql string }

var (
	otherDialects = regexp.MustCompile(`\.(mysql|sqlite3|sqlite|cockroach)\.`)
	leadingNumber = regexp.MustCompile(`^[0-9]+`)
)

func rowsOf(t *testing.T, dir, folder string) []migration {
	t.Helper()
	if folder == "" {
		return nil
	}
	return migrationsOf(t, filepath.Join(dir, folder))
}

// migrationsOf are the files of a folder for PostgreSQL, in order. Where a version has
// one of PostgreSQL's own and one for all, its own counts.
func migrationsOf(t *testing.T, dir string) (all []migration) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations in %s", dir)
	}
	for _, file := range files {
		name := filepath.Base(file)
		own := strings.Replace(name, ".up.sql", ".postgres.up.sql", 1)
		if strings.HasSuffix(name, ".down.sql") || otherDialects.MatchString(name) || (own != name && slices.Contains(files, filepath.Join(dir, own))) {
			continue
		}
		sql, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, migration{name, leadingNumber.FindString(name), asWeRunIt(string(sql))})
	}
	return all
}

// inSteps are statements that are refused on a table with rows, and what the hint says.
var inSteps = []struct {
	statement *regexp.Regexp
	steps     string
}{
	{regexp.MustCompile(`ALTER TABLE (\w+) ADD pk SERIAL;`),
		`ALTER TABLE $1 ADD pk int; CREATE SEQUENCE ${1}_pk_seq AS int OWNED BY $1.pk; ALTER TABLE $1 ALTER pk SET DEFAULT nextval('${1}_pk_seq');
	UPDATE $1 SET pk = DEFAULT; ALTER TABLE $1 ALTER pk SET NOT NULL;`},
	{regexp.MustCompile(`(?s)ALTER TABLE (\w+) ADD COLUMN pk UUID DEFAULT (uuid_in\(.*?::cstring\s*\));`),
		`ALTER TABLE $1 ADD COLUMN pk UUID; ALTER TABLE $1 ALTER pk SET DEFAULT $2; UPDATE $1 SET pk = DEFAULT;`},
}

// asWeRunIt is what the application's own tool would make of a file.
func asWeRunIt(sql string) string {
	sql, _, _ = strings.Cut(sql, "-- +goose Down")
	sql = strings.ReplaceAll(sql, "/* TEMPLATE: schema */", "")
	for _, refused := range inSteps {
		sql = refused.statement.ReplaceAllString(sql, refused.steps)
	}
	return sql
}

// transactionsOf is one, unless a statement cannot run in one with others.
func transactionsOf(sql string) []string {
	if !strings.Contains(sql, "-- +goose NO TRANSACTION") {
		return []string{"BEGIN;" + sql + ";COMMIT"}
	}
	return strings.SplitAfter(strings.TrimSpace(sql), ";")
}

// writeMeanwhile has nodes write until end, which returns how many rows they have.
func writeMeanwhile(t *testing.T, c *pgtest.Cluster, nodes []*pgtest.Node) (end func() string) {
	t.Helper()
	c.RequireConverged()
	stop := make(chan struct{})
	failures := make(chan error, len(nodes))
	var wait sync.WaitGroup
	for _, n := range nodes {
		conn := n.Session()
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := pgtest.RunOn(conn, fmt.Sprintf("INSERT INTO written (who) VALUES ('%s')", n.Name), time.Minute); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	stopAll := sync.OnceFunc(func() {
		close(stop)
		wait.Wait()
		close(failures)
	})
	t.Cleanup(stopAll) // before the sessions end
	return func() string {
		t.Helper()
		stopAll()
		for err := range failures {
			t.Error(pgtest.Explain(err))
		}
		c.RequireConverged()
		return nodes[0].Value("SELECT count(*) FROM written")
	}
}
