package pgtest

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests exist because every other test on servers believes this package:
// a comparison that misses a difference, or a cut link that lets bytes through,
// would make all of them green for nothing. They need no bdr.

var plain = map[string]string{"shared_preload_libraries": "", "output_plugin_libraries": ""}

func plainServer(t *testing.T) *Node {
	t.Helper()
	return StartPlain(t, "plain", plain)
}

func TestServerLifeCycle(t *testing.T) {
	n := plainServer(t)
	n.Exec("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
	n.Must(n.Kill9())
	if n.Running() {
		t.Fatal("runs after kill -9")
	}
	n.Must(n.Start())
	if got := n.Value("SELECT a FROM t"); got != "1" {
		t.Fatalf("row after recovery: %s", got)
	}
	if _, err := n.Stop(Fast); err != nil {
		t.Fatal(err)
	}
	n.Must(n.Start())
	if _, err := n.KillPostmaster(); err != nil {
		t.Fatal(err)
	}
	n.Must(n.Start())
}

func TestContentsSeeDifferences(t *testing.T) {
	n := plainServer(t)
	for _, db := range []string{"a", "b"} {
		n.Exec("CREATE DATABASE " + db)
	}
	run := func(db, sql string) {
		t.Helper()
		if _, err := n.Run(db, sql); err != nil {
			t.Fatal(err)
		}
	}
	equal := func() bool {
		t.Helper()
		a, err := n.Contents("a")
		n.Must(err)
		b, err := n.Contents("b")
		n.Must(err)
		return a["public.t"] == b["public.t"] && a["public.t"].Rows != ""
	}
	run("a", "CREATE TABLE t (x int, y text); INSERT INTO t SELECT g, g::text FROM generate_series(1, 100) g")
	run("b", "CREATE TABLE t (y text, x int); INSERT INTO t SELECT g::text, g FROM generate_series(100, 1, -1) g")
	if !equal() {
		t.Fatal("the order of rows or columns counts")
	}
	run("b", "UPDATE t SET y = NULL WHERE x = 50")
	if equal() {
		t.Fatal("a changed value is not seen")
	}
	run("a", "UPDATE t SET y = NULL WHERE x = 50; INSERT INTO t VALUES (100, '100')")
	run("b", "INSERT INTO t VALUES (99, '99')")
	if equal() {
		t.Fatal("a doubled row is not seen")
	}
	a := &Node{Server: n.Server, Database: "a", t: t}
	b := &Node{Server: n.Server, Database: "b", t: t}
	columns := Content{Columns: "x, y"}
	if text := differingRows(a, b, "public.t", columns, columns); strings.Count(text, "only plain") != 2 {
		t.Fatalf("not the two differing rows: %s", text)
	}
}

func TestProxyLinks(t *testing.T) {
	n := plainServer(t)
	proxy, err := newProxy(n.Port, func(int, int) (string, bool) { return "peer", true })
	n.Must(err)
	t.Cleanup(proxy.Close)
	throughProxy := &Server{Port: proxy.Port}
	conn, err := throughProxy.Connect("postgres")
	n.Must(err)
	defer closeQuietly(conn)
	link := proxy.From("peer")

	link.Cut()
	answered := make(chan error, 1)
	go func() {
		_, err := RunOn(conn, "SELECT 1", time.Minute)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("a cut link answered: %v", err)
	case <-time.After(200 * time.Millisecond): // the time that a leak would need
	}
	link.Heal()
	n.Must(<-answered)

	link.Refuse()
	if _, err := RunOn(conn, "SELECT 1", time.Minute); err == nil {
		t.Fatal("a refused link answered")
	}
	if _, err := throughProxy.Connect("postgres"); err == nil {
		t.Fatal("a refused link took a connection")
	}
	link.Heal()
	again, err := throughProxy.Connect("postgres")
	n.Must(err)
	closeQuietly(again)
}

func TestSocketOwnerIsFound(t *testing.T) {
	n := plainServer(t)
	n.Exec("CREATE EXTENSION dblink")
	c := &Cluster{Nodes: []*Node{n}, t: t}
	owner := make(chan string, 4)
	proxy, err := newProxy(n.Port, func(client, proxy int) (string, bool) {
		name, found := c.serverOf(client, proxy)
		owner <- name
		return name, found
	})
	n.Must(err)
	t.Cleanup(proxy.Close)
	through := strings.ReplaceAll((&Server{Port: proxy.Port}).DSN("postgres"), "'", "")
	n.Exec("SELECT * FROM dblink('" + through + "', 'SELECT 1') AS x(a int)")
	if got := <-owner; got != "plain" {
		t.Fatalf("the connection of the server's own backend is from %q", got)
	}
}

func TestSocketsThatShareAPort(t *testing.T) {
	var inodes []string
	local := 0
	for range 2 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		remote := listener.Addr().(*net.TCPAddr).Port
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: local}, Control: reusable}
		conn, err := dialer.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		local = conn.LocalAddr().(*net.TCPAddr).Port
		Eventually(t, 10*time.Second, "the socket is listed", func() (bool, string) {
			inode, found := socketInode(local, remote)
			inodes = append(inodes, inode)
			return found, ""
		})
	}
	if first, last := inodes[0], inodes[len(inodes)-1]; first == last || !(Process{PID: os.Getpid()}).ownsSocket(last) {
		t.Fatalf("the sockets are taken for another: %v", inodes)
	}
}

func reusable(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	})
	return errors.Join(err, failed)
}
