package operate

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestSettingsDoNotChangeValues exists because a value that travels as text is
// written and read under settings, which differ between nodes, databases and
// roles, and a wrong date is not an error.
func TestSettingsDoNotChangeValues(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.Nodes[1].Exec("CREATE TYPE pad AS ENUM ('x')") // so that OIDs differ
	c.ExecAll("CREATE TYPE mood AS ENUM ('bad', 'good')", "CREATE TYPE sensitive AS ("+sensitiveColumns+")",
		"CREATE TABLE whole (id int PRIMARY KEY, "+sensitiveColumns+")",
		"CREATE TABLE inside (id int PRIMARY KEY, v sensitive, a sensitive[])",
		"CREATE TYPE moment AS (d date, tstz timestamptz, i interval, b bytea, f float8, n text[])",
		"CREATE TABLE keyed (v moment PRIMARY KEY, n int)")
	c.Nodes[0].Exec("CREATE TABLE converted (id int PRIMARY KEY, d date, tstz timestamptz, i interval, b bytea, f float8, n text[], p jsonpath)")
	c.Nodes[1].Exec("CREATE TABLE converted (id int PRIMARY KEY, d text, tstz text, i text, b text, f text, n text, p text)")
	for _, set := range settingSets {
		t.Run(set.name, func(t *testing.T) {
			c := c.For(t)
			c.Nodes[0].Exec("TRUNCATE public.whole, public.inside, public.keyed, public.converted")
			c.RequireConverged()
			for i, n := range c.Nodes {
				set.apply(n, i)
			}
			c.WaitMesh(c.Nodes...)
			for i, n := range c.Nodes {
				requireSettings(t, n, i)
				n.Exec(sensitiveInserts(i))
			}
			c.RequireConverged()
			for i, n := range c.Nodes { // each changes what the other made
				n.Exec(sensitiveChanges(1 - i))
			}
			c.RequireConverged()
			for _, n := range c.Nodes {
				if got := n.Value(sensitiveRemainder); got != "2 1 2" {
					t.Errorf("%s: rows that say what was written: %s", n.Name, got)
				}
			}
		})
	}
}

// sensitiveColumns have text forms that depend on settings.
const sensitiveColumns = `d date, t time, tz timetz, ts timestamp, tstz timestamptz, i interval, f float8, r real, b bytea, n text[],
 m money, x xml, reg regclass, r1 tstzrange, r2 datemultirange, c "char", u text, mo public.mood[], p jsonpath, q tsquery`

// sensitiveRow says the same under every setting.
const sensitiveRow = `date '2001-02-03', time '04:05:06.789', timetz '04:05:06+09', timestamp '2001-02-03 04:05:06.000001', timestamptz '2001-02-03 04:05:06+00',
 make_interval(1, -2, 0, 3, -4, 5, 6.5), 0.1 + 0.2::float8, real '3.4028235e38', decode('00ff5c27', 'hex'), ARRAY['NULL', NULL, 'a,b'], 12.34::money,
 XMLPARSE(CONTENT 'no <b>document</b>'), 'public.whole'::regclass, tstzrange(timestamptz '2001-02-03 04:05:06+00', NULL),
 datemultirange(daterange(date '2001-02-03', date '2001-05-06')), 'x'::"char", U&'\00fc\2603', ARRAY['good', NULL]::public.mood[],
 ('$."' || U&'\2603' || '"')::jsonpath, U&'\2603'::tsquery`

// odd are settings that differ from what a fresh server has, by node.
var odd = []map[string]string{
	{"datestyle": "German", "intervalstyle": "sql_standard", "timezone": "Asia/Tokyo", "bytea_output": "escape", "extra_float_digits": "-15",
		"search_path": "nowhere", "client_encoding": "LATIN1", "xmloption": "document", "xmlbinary": "hex", "array_nulls": "off",
		"lc_monetary": "C.UTF-8", "quote_all_identifiers": "on", "default_text_search_config": "pg_catalog.german", "transform_null_equals": "on"},
	{"datestyle": "SQL, DMY", "intervalstyle": "iso_8601", "timezone": "America/New_York", "bytea_output": "hex", "extra_float_digits": "0",
		"search_path": "information_schema", "client_encoding": "EUC_JP", "xmloption": "document", "array_nulls": "off",
		"default_text_search_config": "pg_catalog.simple", "escape_string_warning": "off", "backslash_quote": "on"},
}

// settingSets are the places where a setting may be made.
var settingSets = []struct {
	name  string
	apply func(n *pgtest.Node, i int)
}{
	{"of_the_system_while_streams_run", func(n *pgtest.Node, i int) {
		setEverywhere(n, "ALTER SYSTEM SET", i)
		n.Must(n.Reload())
	}},
	{"of_the_database", func(n *pgtest.Node, i int) {
		setEverywhere(n, "ALTER SYSTEM SET", 1-i)
		setEverywhere(n, "ALTER DATABASE app SET", i)
		n.Must(n.Restart())
	}},
	{"of_the_role", func(n *pgtest.Node, i int) {
		setEverywhere(n, "ALTER DATABASE app SET", 1-i)
		setEverywhere(n, "ALTER ROLE postgres SET", i)
		n.Must(n.Restart())
	}},
}

func setEverywhere(n *pgtest.Node, statement string, i int) {
	for name, value := range odd[i] {
		n.Exec(fmt.Sprintf("%s %s = '%s'", statement, name, value))
	}
}

// requireSettings makes sure that a session really is under them.
func requireSettings(t *testing.T, n *pgtest.Node, i int) {
	t.Helper()
	n.CloseSessions()
	n.Wait(clustertest.ResumeLimit, "SELECT current_setting('timezone')", odd[i]["timezone"])
	if got := n.Value("SELECT current_setting('intervalstyle')"); got != odd[i]["intervalstyle"] {
		t.Fatalf("%s has IntervalStyle %s", n.Name, got)
	}
}

const momentRow = `date '2001-02-03', timestamptz '2001-02-03 04:05:06+00', make_interval(1, -2, 0, 3, -4), decode('00ff', 'hex'), 0.1, ARRAY['NULL', NULL]`

func sensitiveInserts(i int) string {
	sql := fmt.Sprintf(`INSERT INTO public.whole VALUES (%[1]d, %[2]s);
		INSERT INTO public.inside VALUES (%[1]d, ROW(%[2]s), ARRAY[ROW(%[2]s), NULL]::public.sensitive[]);
		INSERT INTO public.keyed VALUES (ROW(%[3]s), %[1]d), (ROW(date '1999-12-%[4]d', NULL, NULL, NULL, NULL, NULL), %[1]d);`,
		i, sensitiveRow, momentRow, 10+i)
	if i == 1 { // the other node has made this one
		sql = strings.Replace(sql, "(ROW("+momentRow+"), 1), ", "", 1)
	} else {
		sql += fmt.Sprintf(`INSERT INTO public.converted VALUES (1, %s, ('$."' || U&'\2603' || '"')::jsonpath)`, momentRow)
	}
	return sql
}

func sensitiveChanges(i int) string {
	return fmt.Sprintf(`UPDATE public.whole SET i = -i, x = NULL WHERE id = %[1]d; UPDATE public.inside SET a = a || v WHERE id = %[1]d;
		UPDATE public.keyed SET n = n + 10 WHERE (v).d = '1999-12-%[2]d' OR (%[1]d = 0 AND (v).d = '2001-02-03')`, i, 10+i)
}

// sensitiveRemainder counts the rows that look, under the settings of this
// session, as the same row looks when it is made in it.
const sensitiveRemainder = `SELECT (SELECT count(*) FROM public.inside WHERE v::text = (ROW(` + sensitiveRow + `)::public.sensitive)::text) || ' '
 || (SELECT count(*) FROM public.keyed WHERE v = ROW(` + momentRow + `)::public.moment AND n = 10) || ' '
 || (SELECT count(*) FROM public.whole WHERE tstz = '2001-02-03 04:05:06+00' AND i = -make_interval(1, -2, 0, 3, -4, 5, 6.5))`
