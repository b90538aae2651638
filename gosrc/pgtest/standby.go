package pgtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Standby makes a physical standby of a node, by the slot of its name, and starts
// it. It is not among the nodes of the cluster.
func (c *Cluster) Standby(primary *Node, name string, settings map[string]string) *Node {
	c.t.Helper()
	s := &Server{Name: name, Dir: filepath.Join(c.Dir, name), bin: primary.bin, account: primary.account, conns: map[string]*pgconn.PgConn{}}
	n := &Node{Server: s, Database: primary.Database, NodeDSN: primary.NodeDSN, t: c.t}
	n.Must(os.Mkdir(s.Dir, 0o755))
	n.Must(s.account.own(s.Dir))
	var err error
	s.Port, err = freePort()
	n.Must(err)
	backup := s.account.command(s.Dir, filepath.Join(s.bin, "pg_basebackup"), "-D", s.DataDirectory(),
		"-d", primary.DSN("postgres"), "-X", "stream", "-c", "fast", "-C", "-S", name)
	if said, err := backup.CombinedOutput(); err != nil {
		c.t.Fatalf("pg_basebackup: %v: %s", err, said)
	}
	all := map[string]string{"port": fmt.Sprint(s.Port), "unix_socket_directories": s.Dir, "primary_slot_name": name,
		"primary_conninfo": primary.DSN(primary.Database) + " application_name=" + name, "hot_standby_feedback": "on",
		"wal_receiver_status_interval": "1s"}
	maps.Copy(all, settings)
	n.Must(s.Configure(all))
	n.Must(s.writeOwned("standby.signal", ""))
	n.Must(s.Start())
	c.standbys = append(c.standbys, n)
	return n
}

// Promote ends the recovery of a standby.
func (n *Node) Promote() {
	n.t.Helper()
	n.Exec("SELECT pg_promote()")
	n.Wait(30*time.Second, "SELECT pg_is_in_recovery()", "f")
}

// TakeAddress makes the server listen where another one did that has ended.
func (n *Node) TakeAddress(of *Node) {
	n.t.Helper()
	_, err := n.Stop(Fast)
	n.Must(err)
	n.Port = of.Port
	n.Must(n.Configure(map[string]string{"port": fmt.Sprint(n.Port)}))
	n.Must(n.Start())
}
