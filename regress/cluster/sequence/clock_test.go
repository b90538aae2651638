package sequence

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// draws takes values of a sequence in one statement, and returns the first and the
// last of them. They ascend, or the test fails.
func draws(t *testing.T, n *pgtest.Node, sequence string, count int) (first, last int64) {
	t.Helper()
	rows := n.Rows(fmt.Sprintf(`SELECT min(v), max(v), bool_and(v > before) IS NOT FALSE FROM
		(SELECT v, lag(v) OVER (ORDER BY i) AS before FROM (SELECT i, nextval('%s') AS v FROM generate_series(1, %d) i OFFSET 0) d) d`, sequence, count))
	if rows[0][2] != "t" {
		t.Errorf("values of %s do not ascend", sequence)
	}
	first, err := strconv.ParseInt(rows[0][0], 10, 64)
	n.Must(err)
	last, err = strconv.ParseInt(rows[0][1], 10, 64)
	n.Must(err)
	return first, last
}

// lead is how far the ids of a node are ahead of the real time.
func lead(n *pgtest.Node) time.Duration {
	seconds, err := strconv.ParseFloat(n.Value("SELECT extract(epoch FROM bdr.extract_timestamp_from_snowflakeid(nextval('s')) - clock_timestamp())"), 64)
	n.Must(err)
	return time.Duration(seconds * float64(time.Second))
}

// moveClock has the clock of ids take the time to be other than it is, and draws
// until that is noticed.
func moveClock(n *pgtest.Node, seconds int) {
	setClock(n, seconds)
	n.Must(n.Reload())
	shown := strconv.Itoa(seconds)
	if seconds > 0 {
		shown += "s"
	}
	n.Wait(10*time.Second, "SHOW bdr.debug_id_clock", shown)
}

// TestIdsAscend exists because ids are sorted by, and a clock that is set back, or a
// restart meanwhile, must not bring ids that come before those that there are. Nor
// may the clock of ids stay ahead for ever.
func TestIdsAscend(t *testing.T) {
	n := pgtest.NewCluster(t, 1).Nodes[0]
	kinds := map[string]string{"s": "snowflakeid", "t": "timeshard"}
	for name, kind := range kinds {
		n.Exec(fmt.Sprintf("SET bdr.default_sequence_kind = %s; CREATE SEQUENCE %s", kind, name))
	}
	last := map[string]int64{}
	step := func(what string) {
		for name := range kinds {
			first, highest := draws(t, n, name, 10000)
			if first <= last[name] {
				t.Errorf("%s: a value of %s is %d after %d", what, name, first, last[name])
			}
			last[name] = highest
		}
	}
	step("at first")
	if d := lead(n).Abs(); d > time.Second {
		t.Errorf("ids are %s away from the time", d)
	}
	for _, seconds := range []int{-10, 5, -3600} {
		moveClock(n, seconds)
		step(fmt.Sprintf("clock moved by %d s", seconds))
	}
	n.Must(n.Restart())
	step("after a restart")
	n.Must(n.Kill9())
	n.Must(n.Start())
	step("after a crash")
	if !n.LogContains("behind the times of ids that it has made") {
		t.Error("the log does not tell of a clock that is an hour behind")
	}

	// a tenth of the time that passes is lost
	before := lead(n)
	began := time.Now()
	pgtest.Eventually(t, 30*time.Second, "ids come nearer to the clock", func() (bool, string) {
		lost := before - lead(n)
		return lost > 500*time.Millisecond, lost.String()
	})
	if lost, passed := before-lead(n), time.Since(began); lost > passed/5 {
		t.Errorf("%s of the lead were lost in %s", lost, passed)
	}
	step("while the lead is lost")

	moveClock(n, 0)
	pgtest.Eventually(t, 10*time.Second, "ids follow a clock that is put forward", func() (bool, string) {
		d := lead(n)
		return d > -time.Second && d < 10*time.Second, d.String()
	})
	// as a dump of a server does that is a little ahead
	ahead := last["s"] + 30_000<<22
	n.Exec(fmt.Sprintf("SELECT setval('s', %d)", ahead))
	last["s"] = ahead
	step("after setval")
	if err := n.Try(fmt.Sprintf("SELECT setval('s', %d)", ahead+7_200_000<<22)); err == nil {
		t.Error("setval puts the clock ahead by hours")
	}
	step("after all")
}
