package apply

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// takeMessages returns the messages of the kinds that are waiting in a slot,
// the first that are RELATION, and the others in their order.
func takeMessages(n *pgtest.Node, slot, kinds string) (messages [][]byte) {
	var list []string
	for name, value := range clustertest.StreamOptions(map[string]string{"server_version": n.Value("SHOW server_version_num")}) {
		list = append(list, fmt.Sprintf("'%s', '%s'", name, value))
	}
	for _, row := range n.Rows("SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('" + slot + "', NULL, NULL, " + strings.Join(list, ", ") + ")") {
		frame, err := hex.DecodeString(row[0])
		n.Must(err)
		for rest := frame[8:]; len(rest) > 0; {
			length := 5 + binary.BigEndian.Uint32(rest[1:])
			if strings.IndexByte(kinds, rest[0]) >= 0 {
				messages = append(messages, rest[:length])
			}
			rest = rest[length:]
		}
	}
	return messages
}

// unseen is the message TOMBSTONE about a relation.
func unseen(relid []byte, what byte, index string, values ...string) []byte {
	body := append(slices.Clone(relid), what)
	body = binary.BigEndian.AppendUint16(body, uint16(len(index)))
	body = append(body, index...)
	body = binary.BigEndian.AppendUint16(body, uint16(len(values)))
	for _, v := range values {
		body = append(body, 'l')
		body = binary.BigEndian.AppendUint32(body, uint32(len(v)))
		body = append(body, v...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{'N'}, uint32(len(body))), body...)
}

// TestNoMessageIsReadBeforeTheRunIsWritten exists because writing a run of
// inserts resets the memory that messages are read into: TOMBSTONE after INSERT,
// UPDATE, INSERT stored what lay there afterwards, or crashed. Every kind of
// message follows a run here; the server's assertions overwrite what is freed.
func TestNoMessageIsReadBeforeTheRunIsWritten(t *testing.T) {
	n := pgtest.NewCluster(t, 1, pgtest.WithMembers(0)).Nodes[0]
	n.Exec("CREATE TABLE t (id int PRIMARY KEY, u text UNIQUE, v text)")
	clustertest.CreateSlot(n, "order_of_messages")
	defer n.Exec("SELECT pg_drop_replication_slot('order_of_messages')")
	long := strings.Repeat("long ", 200)
	n.Exec("INSERT INTO t VALUES (1, 'one', '"+long+"')", "UPDATE t SET v = v || 'x' WHERE id = 1", "INSERT INTO t VALUES (2, 'two', '"+long+"')",
		"DELETE FROM t WHERE id = 2", "TRUNCATE t")
	m := takeMessages(n, "order_of_messages", "RIUDT")
	if len(m) != 6 {
		t.Fatalf("%d messages", len(m))
	}
	relation, insert, update, other, remove, truncate := m[0], m[1], m[2], m[3], m[4], m[5]
	relid := relation[5:9]
	value := strings.Repeat("a value that no row shows ", 20)
	n.LoadTestFunctions()
	conn := n.Session()
	run := func(sql string) string {
		rows, err := pgtest.RunOn(conn, sql, 20*time.Second)
		n.Must(err)
		if len(rows) == 0 {
			return ""
		}
		return rows[0][0]
	}
	for name, last := range map[string]struct {
		message   []byte
		look, say string
	}{
		"remembered": {unseen(relid, 'r', "t_u_key", value), "SELECT concat_ws(' ', node_id, commit_time > now() - interval '1 hour', index_name, key_values[1]) FROM bdr.remembered_version",
			"1 t t_u_key " + value},
		"evicted":  {slices.Concat(remove, other, unseen(relid, 'e', "", "77")), "SELECT string_agg(key_values[1], ',') FROM bdr.evicted_row", "77"},
		"relation": {relation, "SELECT string_agg(u, ',' ORDER BY id) FROM t", "one,two"},
		"update":   {update, "SELECT count(*)::text || max(length(v)) FROM t", "21001"},
		"delete":   {remove, "SELECT string_agg(u, ',') FROM t", "one"},
		"truncate": {truncate, "SELECT count(*)::text FROM t", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			run("BEGIN")
			defer run("ROLLBACK")
			run(fmt.Sprintf("SELECT bdr_test.apply('\\x%x')", slices.Concat(relation, insert, update, other, last.message)))
			if got := run(last.look); got != last.say {
				t.Errorf("got %.80q, want %.80q", got, last.say)
			}
		})
	}
}
