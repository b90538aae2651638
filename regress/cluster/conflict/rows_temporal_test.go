package conflict

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// temporalTables have keys WITHOUT OVERLAPS as each kind of replica identity, of
// several types, and in partitions.
var temporalTables = []string{
	"CREATE EXTENSION btree_gist",
	"CREATE TABLE booking (room int, during int4range, v bigint, big text, PRIMARY KEY (room, during WITHOUT OVERLAPS))",
	"ALTER TABLE booking ALTER big SET STORAGE EXTERNAL",
	"CREATE TABLE booking_full (room text, during tsrange, v bigint, PRIMARY KEY (room, during WITHOUT OVERLAPS))", "ALTER TABLE booking_full REPLICA IDENTITY FULL",
	"CREATE TABLE booking_index (id int, during int4multirange NOT NULL, room uuid NOT NULL, v bigint, CONSTRAINT booking_u UNIQUE (room, during WITHOUT OVERLAPS))",
	"ALTER TABLE booking_index REPLICA IDENTITY USING INDEX booking_u",
	"CREATE TABLE booking_keyed (id int PRIMARY KEY, room int, during int4range, v bigint, UNIQUE (room, during WITHOUT OVERLAPS))",
	"CREATE TABLE booking_parts (room int, during int4range, v bigint, PRIMARY KEY (room, during WITHOUT OVERLAPS)) PARTITION BY LIST (room)",
	"CREATE TABLE booking_p1 PARTITION OF booking_parts FOR VALUES IN (1, 2)",
	"CREATE TABLE booking_p2 PARTITION OF booking_parts DEFAULT",
}

// TestTemporalKeys exists because a key WITHOUT OVERLAPS is two things: what a row
// is found by, and an exclusion constraint under which rows with other keys
// collide. Its index is not a btree.
func TestTemporalKeys(t *testing.T) {
	pgtest.Since(t, 18, "WITHOUT OVERLAPS")
	c := pgtest.NewCluster(t, 4, pgtest.WithMembers(3), pgtest.WithSettings(clustertest.QuickRetries))
	members := *c
	members.Nodes = c.Nodes[:3]
	members.ExecAll(temporalTables...)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"rows_are_found", temporalRows},
		{"large_values", temporalLarge},
		{"conflicts", temporalConflicts},
		{"late_changes", temporalLate},
		{"foreign_keys", temporalForeignKeys},
		{"foreign_key_triggers", temporalForeignKeyTriggers},
		{"many_conflicts", temporalMany},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, members.For(t)) }) {
			t.FailNow() // a stream that stopped fails all that follow
		}
	}
	t.Run("joined", func(t *testing.T) { temporalJoined(t, c.For(t)) })
}

// Who joins, with conflicts before and after it, ends equal.
func temporalJoined(t *testing.T, c *pgtest.Cluster) {
	c.Member(3)
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	temporalRounds(t, c, rand.New(rand.NewPCG(clustertest.SeedOr(1), 4)), 3)
}

// temporalRows: a table is not read from end to end for each row.
func temporalRows(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO booking SELECT g % 50, int4range(g, g + 50), g, 'x' FROM generate_series(1, 2000) g",
		"INSERT INTO booking_full SELECT 'r' || g, tsrange(timestamp '2026-01-01' + g * interval '1 h', NULL), g FROM generate_series(1, 100) g",
		"INSERT INTO booking_index SELECT g, int4multirange(int4range(g, g + 1), int4range(g + 5, g + 6)), gen_random_uuid(), g FROM generate_series(1, 100) g",
		"INSERT INTO booking_keyed SELECT g, g % 10, int4range(g, g + 10), g FROM generate_series(1, 100) g",
		"INSERT INTO booking_parts SELECT g % 4, int4range(g, g + 4), g FROM generate_series(1, 100) g")
	c.RequireConverged()
	const looks = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'booking'"
	before := a.Value(looks)
	b.Exec("UPDATE booking SET v = v + 1", "UPDATE booking SET during = int4range(lower(during), upper(during) - 1) WHERE room < 25", "UPDATE booking SET room = -room WHERE room BETWEEN 1 AND 5",
		"DELETE FROM booking WHERE room > 45")
	for _, table := range []string{"booking_full", "booking_index", "booking_keyed", "booking_parts"} {
		b.Exec("UPDATE "+table+" SET v = v + 1", "DELETE FROM "+table+" WHERE v % 3 = 0")
	}
	b.Exec("UPDATE booking_full SET during = tsrange(lower(during), '2027-01-01')", "UPDATE booking_index SET during = during - int4multirange(int4range(3, 4)) WHERE id < 5",
		"UPDATE booking_keyed SET during = int4range(lower(during), upper(during) - 1)", "UPDATE booking_parts SET room = room + 10 WHERE room = 1")
	c.RequireConverged()
	a.Wait(clustertest.ResumeLimit, "SELECT n_tup_upd > 3000 FROM pg_stat_user_tables WHERE relname = 'booking'", "t")
	// reading it to compare is one, too
	if after := a.Value(looks); a.Value("SELECT "+after+" - "+before+" < 10") != "t" {
		t.Errorf("sequential scans: %s, then %s", before, after)
	}
	for _, n := range c.Nodes {
		if got := n.Value("SELECT count(*) FROM bdr.conflict_history WHERE conflict_type <> 'update_origin_change'"); got != "0" {
			t.Errorf("%s: %s conflicts, and nobody wrote at the same time: %v", n.Name, got, n.Rows("SELECT relname, conflict_type, key_tuple, local_tuple FROM bdr.conflict_history LIMIT 10"))
		}
	}
	requireNoOverlap(t, c)
}

// requireNoOverlap looks without the indexes that should have seen to it.
func requireNoOverlap(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		for _, table := range []string{"booking", "booking_full", "booking_index", "booking_keyed", "booking_parts"} {
			if got := n.Value(fmt.Sprintf("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off; SELECT count(*) FROM %[1]s x JOIN %[1]s y ON x.room = y.room AND x.during && y.during AND (x.tableoid, x.ctid) <> (y.tableoid, y.ctid)", table)); got != "0" {
				t.Errorf("%s: %s rows of %s overlap", n.Name, got, table)
			}
		}
	}
}

// What an update leaves out is fetched by such a key.
func temporalLarge(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO booking SELECT 1000 + g, '[1,5)', g, repeat('l', 10000 + g) FROM generate_series(1, 4) g")
	c.RequireConverged()
	resume := clustertest.PauseAll(t, c)
	b.Exec("DELETE FROM booking WHERE room = 1001", "UPDATE booking SET v = 20 WHERE room = 1002", "UPDATE booking SET during = '[1,9)' WHERE room = 1003")
	a.Exec("UPDATE booking SET v = 30 WHERE room > 1000")
	resume()
	c.RequireConverged()
	for _, n := range c.Nodes {
		if got := n.Value("SELECT string_agg(concat_ws('/', room, during, v, length(big)), ' ' ORDER BY room, during) FROM booking WHERE room > 1000"); got !=
			"1001/[1,5)/30/10001 1002/[1,5)/30/10002 1003/[1,5)/30/10003 1004/[1,5)/30/10004" {
			t.Errorf("%s: rows %s", n.Name, got)
		}
	}
}

// The newer of two rows that collide stays, whatever they collide by.
func temporalConflicts(t *testing.T, c *pgtest.Cluster) {
	for _, k := range []struct {
		name, table     string
		before          string
		older, newer    string
		want, conflicts string
	}{
		{"overlap", "booking", "", "INSERT INTO booking VALUES (2001, '[1,10)', 1), (2002, '[1,10)', 1)", "INSERT INTO booking VALUES (2001, '[5,15)', 2)",
			"2001/[5,15)/2 2002/[1,10)/1", "insert_exists"},
		{"same_key", "booking", "", "INSERT INTO booking VALUES (2011, '[1,10)', 1)", "INSERT INTO booking VALUES (2011, '[1,10)', 2)", "2011/[1,10)/2", "insert_exists"},
		{"one_over_several", "booking", "", "INSERT INTO booking VALUES (2021, '[1,3)', 1), (2021, '[3,5)', 1), (2021, '[7,9)', 1)", "INSERT INTO booking VALUES (2021, '[2,8)', 2)",
			"2021/[2,8)/2", "multiple_unique_conflicts"},
		{"several_over_one", "booking", "", "INSERT INTO booking VALUES (2031, '[2,8)', 1)", "INSERT INTO booking VALUES (2031, '[1,3)', 2), (2031, '[7,9)', 2)",
			"2031/[1,3)/2 2031/[7,9)/2", "insert_exists"},
		{"ranges_move", "booking", "INSERT INTO booking VALUES (2041, '[1,10)', 0), (2041, '[20,30)', 0)", "UPDATE booking SET during = '[1,15)', v = 1 WHERE room = 2041 AND v = 0 AND during = '[1,10)'",
			"UPDATE booking SET during = '[12,30)', v = 2 WHERE room = 2041 AND during = '[20,30)'", "2041/[12,30)/2", "update_pkey_exists"},
		{"one_row_moves_twice", "booking", "INSERT INTO booking VALUES (2051, '[1,10)', 0)", "UPDATE booking SET during = '[1,5)', v = 1 WHERE room = 2051",
			"UPDATE booking SET during = '[3,10)', v = 2 WHERE room = 2051", "2051/[3,10)/2", ""},
		{"delete_then_update", "booking", "INSERT INTO booking VALUES (2061, '[1,10)', 0)", "DELETE FROM booking WHERE room = 2061", "UPDATE booking SET v = 2 WHERE room = 2061",
			"2061/[1,10)/2", ""},
		{"update_then_delete", "booking", "INSERT INTO booking VALUES (2071, '[1,10)', 0)", "UPDATE booking SET v = 1 WHERE room = 2071", "DELETE FROM booking WHERE room = 2071",
			"", ""},
		{"whole_row", "booking_full", "", "INSERT INTO booking_full VALUES ('2001', '[2026-01-01,2026-02-01)', 1)", "INSERT INTO booking_full VALUES ('2001', '[2026-01-15,2026-02-15)', 2)",
			`2001/["2026-01-15 00:00:00","2026-02-15 00:00:00")/2`, "insert_exists"},
		{"multiranges", "booking_index", "", "INSERT INTO booking_index VALUES (1, '{[1,3),[5,7)}', '00000000-0000-0000-0000-000000002001', 1)",
			"INSERT INTO booking_index VALUES (2, '{[6,8)}', '00000000-0000-0000-0000-000000002001', 2)", "00000000-0000-0000-0000-000000002001/{[6,8)}/2", "insert_exists"},
		{"beside_a_key", "booking_keyed", "", "INSERT INTO booking_keyed VALUES (2001, 2001, '[1,10)', 1)", "INSERT INTO booking_keyed VALUES (2002, 2001, '[5,15)', 2)",
			"2001/[5,15)/2", "insert_exists"},
		{"partitions", "booking_parts", "", "INSERT INTO booking_parts VALUES (2001, '[1,10)', 1)", "INSERT INTO booking_parts VALUES (2001, '[5,15)', 2)", "2001/[5,15)/2", "insert_exists"},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := c.For(t)
			a, b := c.Nodes[0], c.Nodes[1]
			if k.before != "" {
				a.Exec(k.before)
			}
			c.RequireConverged()
			resume := clustertest.PauseAll(t, c)
			a.Exec(k.older)
			b.Exec(k.newer)
			resume()
			c.RequireConverged()
			rooms := "SELECT coalesce(string_agg(concat_ws('/', room, during, v), ' ' ORDER BY room, during), '') FROM " + k.table + " WHERE room::text ~ '(^|00000000)20[0-9]{2}$'"
			if got := a.Value(rooms); got != k.want {
				t.Errorf("rows %s, expected %s", got, k.want)
			}
			if k.conflicts != "" && a.Value(fmt.Sprintf("SELECT count(*) > 0 FROM bdr.conflict_history WHERE conflict_type = '%s'", k.conflicts)) != "t" {
				t.Errorf("conflicts of node1: %v", a.Rows("SELECT conflict_type, conflict_resolution, remote_tuple, local_tuple FROM bdr.conflict_history"))
			}
			a.Exec("DELETE FROM " + k.table + " WHERE room::text ~ '(^|00000000)20[0-9]{2}$'")
			c.RequireConverged()
			requireNoOverlap(t, c)
		})
	}
}

// A deletion counts against an older insert that comes later, by the key as by
// what overlaps it; and so it does after a rewrite of the table.
func temporalLate(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	for i, rewrite := range []string{"", "ALTER TABLE booking ALTER v TYPE numeric", "ALTER TABLE booking ALTER room TYPE bigint", "ALTER TABLE booking ALTER v TYPE bigint, ALTER room TYPE int"} {
		room := 3000 + i
		a.Exec(fmt.Sprintf("INSERT INTO booking VALUES (%d, '[1,10)', 0)", room))
		c.RequireConverged()
		d.Exec("SELECT bdr.alter_subscription_disable('bdr_app_app_group_node1_node3', immediate := true)")
		a.Exec(fmt.Sprintf("UPDATE booking SET v = 1 WHERE room = %d", room), fmt.Sprintf("INSERT INTO booking VALUES (%d, '[20,30)', 1)", room))
		b.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT sum(v)::int FROM booking WHERE room = %d", room), "2")
		b.Exec(fmt.Sprintf("DELETE FROM booking WHERE room = %d AND v = 1", room))
		b.Exec(fmt.Sprintf("INSERT INTO booking VALUES (%d, '[25,35)', 2)", room))
		d.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT coalesce(string_agg(during::text, ' '), '') FROM booking WHERE room = %d AND v = 2", room), "[25,35)")
		if rewrite != "" {
			c.ExecAll(rewrite)
		}
		d.Exec("SELECT bdr.alter_subscription_enable('bdr_app_app_group_node1_node3')")
		c.RequireConverged()
		if got := d.Value(fmt.Sprintf("SELECT string_agg(concat_ws('/', during, v), ' ') FROM booking WHERE room = %d", room)); got != "[25,35)/2" {
			t.Errorf("%q: rows %s", rewrite, got)
		}
	}
}

// A key with PERIOD is checked where a row is written, and not again.
func temporalForeignKeys(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE guest (id int PRIMARY KEY, room int, stay int4range, FOREIGN KEY (room, PERIOD stay) REFERENCES booking (room, PERIOD during))")
	a.Exec("INSERT INTO booking VALUES (4001, '[1,10)', 0), (4001, '[10,20)', 0)", "INSERT INTO guest VALUES (1, 4001, '[5,15)')")
	c.RequireConverged()
	if err := pgtest.PgError(b.Try("DELETE FROM booking WHERE room = 4001 AND during = '[1,10)'")); err == nil || err.Code != "23503" {
		t.Errorf("deletion of a period that is referred to: %v", err)
	}
	b.Exec("BEGIN; DELETE FROM guest; DELETE FROM booking WHERE room = 4001; COMMIT")
	c.RequireConverged()
	resume := clustertest.PauseAll(t, c)
	b.Exec("INSERT INTO booking VALUES (4001, '[1,10)', 0)", "INSERT INTO guest VALUES (1, 4001, '[5,10)')")
	a.Exec("INSERT INTO booking VALUES (4001, '[5,20)', 0)")
	resume()
	c.RequireConverged()
	a.Exec("DELETE FROM guest", "DELETE FROM booking WHERE room = 4001")
	c.RequireConverged()
}

// The triggers that set to NULL what points nowhere add up periods. When it was
// stays to be known.
func temporalForeignKeyTriggers(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TRIGGER fkey BEFORE INSERT OR UPDATE ON guest FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger()", "ALTER TABLE guest ENABLE REPLICA TRIGGER fkey",
		"CREATE TRIGGER fkey_del AFTER DELETE ON booking FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_on_del_trigger()", "ALTER TABLE booking ENABLE REPLICA TRIGGER fkey_del",
		"CREATE TABLE loose (id int PRIMARY KEY, guest int, CONSTRAINT loose_guest FOREIGN KEY (guest) REFERENCES guest NOT ENFORCED)",
		"CREATE TRIGGER fkey BEFORE INSERT OR UPDATE ON loose FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger()", "ALTER TABLE loose ENABLE REPLICA TRIGGER fkey")
	a.Exec("INSERT INTO booking VALUES (5001, '[1,10)', 0), (5001, '[10,20)', 0), (5001, '[30,40)', 0)")
	c.RequireConverged()
	resume := clustertest.PauseAll(t, c)
	a.Exec("DELETE FROM booking WHERE room = 5001 AND during = '[30,40)'")
	b.Exec("INSERT INTO guest VALUES (1, 5001, '[5,15)'), (2, 5001, '[30,35)'), (3, 5001, '[1,10)'), (4, NULL, '[1,2)')")
	b.Exec("INSERT INTO loose VALUES (1, 1), (2, 99)")
	resume()
	c.RequireConverged()
	const guests = "SELECT string_agg(concat_ws('/', id, coalesce(room::text, '-'), stay), ' ' ORDER BY id) FROM guest"
	if got := a.Value(guests); got != "1/5001/[5,15) 2/-/[30,35) 3/5001/[1,10) 4/-/[1,2)" {
		t.Errorf("guests %s", got)
	}
	if got := a.Value("SELECT string_agg(guest::text, ' ' ORDER BY id) FROM loose"); got != "1 99" {
		t.Errorf("a key that is not enforced: %s", got)
	}
	c.ExecAll("DROP TABLE loose, guest", "DROP TRIGGER fkey_del ON booking")
}

// temporalMany: rounds in which all nodes write the same few rooms without
// hearing of each other.
func temporalMany(t *testing.T, c *pgtest.Cluster) {
	seed := clustertest.SeedOr(1)
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 18))
	c.Nodes[0].Exec("DELETE FROM booking")
	c.ExecAll("TRUNCATE bdr.conflict_history")
	c.RequireConverged()
	temporalRounds(t, c, random, 12)
	clustertest.RequireClashes(t, c, 50, "insert_exists", "update_pkey_exists")
}

func temporalRounds(t *testing.T, c *pgtest.Cluster, random *rand.Rand, rounds int) {
	t.Helper()
	for range rounds {
		c.ExecAll("SELECT bdr.alter_subscription_disable(immediate := true)")
		for range 40 {
			n := c.Nodes[random.IntN(len(c.Nodes))]
			sql := temporalChange(random)
			if err := pgtest.PgError(n.Try(sql)); err != nil && !slices.Contains(clustertest.UserErrors, err.Code) {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
		for range 20 { // while they hear of each other again
			_ = c.Nodes[random.IntN(len(c.Nodes))].Try(temporalChange(random)) // it may be refused
		}
		c.RequireConverged()
		if t.Failed() {
			return
		}
	}
	requireNoOverlap(t, c)
}

func temporalChange(random *rand.Rand) string {
	table := []string{"booking", "booking_keyed", "booking_parts", "booking_full"}[random.IntN(4)]
	room := fmt.Sprint(1 + random.IntN(4))
	span := func() string {
		from := random.IntN(20)
		return fmt.Sprintf("int4range(%d, %d)", from, from+1+random.IntN(6))
	}
	id := ""
	if table == "booking_keyed" {
		id = fmt.Sprintf("%d, ", 10000+random.IntN(30))
	}
	if table == "booking_full" {
		room = "'" + room + "'"
		plain := span
		span = func() string {
			const hour = "timestamp '2026-01-01' + interval '1 h' * "
			return strings.Replace(strings.Replace(plain(), ", ", ", "+hour, 1), "int4range(", "tsrange("+hour, 1)
		}
	}
	at := fmt.Sprintf("room = %s AND during && %s", room, span())
	switch random.IntN(8) {
	case 0, 1, 2:
		return fmt.Sprintf("INSERT INTO %s VALUES (%s%s, %s, %d)", table, id, room, span(), random.Int32())
	case 3:
		return fmt.Sprintf("UPDATE %s SET v = %d WHERE %s", table, random.Int32(), at)
	case 4:
		return fmt.Sprintf("UPDATE %s SET during = %s, v = %d WHERE %s", table, span(), random.Int32(), at)
	case 5:
		return fmt.Sprintf("DELETE FROM %s WHERE %s", table, at)
	case 6:
		return fmt.Sprintf("BEGIN; DELETE FROM %[1]s WHERE %[2]s; INSERT INTO %[1]s VALUES (%[3]s%[4]s, %[5]s, %[6]d); COMMIT", table, at, id, room, span(), random.Int32())
	}
	return fmt.Sprintf("UPDATE %s SET room = %s WHERE %s", table, strings.Replace(room, "1", "2", 1), at)
}
