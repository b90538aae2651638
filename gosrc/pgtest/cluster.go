package pgtest

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// Cluster is a few servers with one database each, made for one test.
type Cluster struct {
	Nodes    []*Node
	Dir      string
	t        testing.TB
	proxies  []*Proxy
	standbys []*Node
}

// Option changes how NewCluster makes a cluster.
type Option func(*plan)

type plan struct {
	proxies  bool
	members  int // how many of the nodes join; the others only get the extension
	database string
	settings map[string]string
	majors   []int // of the nodes in turn; empty: the server that we build for
	prepare  []preparation

	installation *Installation // nil: that of all servers
}

// A preparation puts files into the cluster's folder, and returns settings with
// those that name them.
type preparation func(dir string, settings map[string]string) (map[string]string, error)

// WithProxies puts a proxy before every node, for Link.
func WithProxies() Option { return func(p *plan) { p.proxies = true } }

// WithMembers lets only the first n nodes become members.
func WithMembers(n int) Option { return func(p *plan) { p.members = n } }

// WithSettings lays settings over those of every server.
func WithSettings(s map[string]string) Option { return func(p *plan) { p.settings = s } }

// WithMajors gives the nodes servers of these major versions, one each.
func WithMajors(majors ...int) Option { return func(p *plan) { p.majors = majors } }

// WithDatabase gives the database of each node a name of the test's own.
func WithDatabase(name string) Option { return func(p *plan) { p.database = name } }

const (
	database   = "app"
	groupName  = "app_group"
	joinLimit  = 90 * time.Second
	drainLimit = 90 * time.Second
)

// NewCluster starts n servers, creates the extension and makes them one
// cluster. All of it is gone after the test; a test that failed shows the last
// seconds of the logs, keeps its directories and says where they are.
func NewCluster(t testing.TB, n int, options ...Option) *Cluster {
	t.Helper()
	p := plan{members: n}
	for _, o := range options {
		o(&p)
	}
	c := newCluster(t)
	for _, prepare := range p.prepare {
		var err error
		if p.settings, err = prepare(c.Dir, p.settings); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		c.addNode(i, p)
	}
	for i := range p.members {
		c.Member(i)
	}
	if p.members > 1 {
		c.WaitMesh(c.Nodes[:p.members]...)
	}
	return c
}

// StartPlain starts one server as initdb and the settings make it: no database
// and no extension of ours. It is the database postgres, and it is gone after
// the test as a cluster is.
func StartPlain(t testing.TB, name string, settings map[string]string) *Node {
	t.Helper()
	return newCluster(t).start(0, name, plan{settings: settings}, "postgres")
}

func newCluster(t testing.TB) *Cluster {
	t.Helper()
	dir, err := ScratchDirectory()
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Dir: dir, t: t}
	t.Cleanup(c.tearDown)
	return c
}

func (c *Cluster) start(i int, name string, p plan, database string) *Node {
	c.t.Helper()
	s, err := p.server(c.Dir, name, i)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &Node{Server: s, Database: database, NodeDSN: s.DSN(database), t: c.t}
	c.Nodes = append(c.Nodes, n)
	n.Must(s.Start())
	return n
}

func (p plan) server(dir, name string, i int) (*Server, error) {
	if p.installation != nil {
		s, err := newServer(p.installation.bin(), dir, name, p.settings)
		if err == nil {
			s.installation = p.installation
		}
		return s, err
	}
	bin, err := p.binDirectory(i)
	if err != nil {
		return nil, err
	}
	return newServer(bin, dir, name, p.settings)
}

func (c *Cluster) addNode(i int, p plan) {
	c.t.Helper()
	n := c.start(i, fmt.Sprintf("node%d", i+1), p, cmp.Or(p.database, database))
	if p.proxies {
		proxy, err := newProxy(n.Port, c.serverOf)
		n.Must(err)
		c.proxies = append(c.proxies, proxy)
		n.NodeDSN = fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=postgres", proxy.Port, n.Database)
	}
	if _, err := n.Run("postgres", "CREATE DATABASE "+n.Database); err != nil {
		c.t.Fatal(err)
	}
	n.Exec("CREATE EXTENSION bdr CASCADE")
}

func (p plan) binDirectory(i int) (string, error) {
	if len(p.majors) == 0 {
		return binDirectory()
	}
	return majorDirectory(p.majors[i])
}

// Member makes node i a member: the first one founds the group.
func (c *Cluster) Member(i int) {
	c.t.Helper()
	n := c.Nodes[i]
	n.CreateNode()
	if i == 0 {
		n.Exec(fmt.Sprintf("SELECT bdr.create_node_group(node_group_name := '%s')", groupName),
			"SELECT bdr.wait_for_join_completion()")
		return
	}
	n.Join(c.Nodes[0])
}

// CreateNode makes the database a node under the server's name.
func (n *Node) CreateNode() {
	n.t.Helper()
	n.Exec(fmt.Sprintf("SELECT bdr.create_node(node_name := '%s', local_dsn := '%s')", n.Name, n.NodeDSN))
}

// Join joins through another node and waits for the end of it.
func (n *Node) Join(target *Node) {
	n.t.Helper()
	n.Exec(fmt.Sprintf("SELECT bdr.join_node_group(join_target_dsn := '%s', wait_for_completion := true)", target.NodeDSN),
		"SELECT bdr.wait_for_join_completion(verbose_progress := true)")
}

// StartJoin begins to join through another node.
func (n *Node) StartJoin(target *Node) {
	n.t.Helper()
	n.Exec(fmt.Sprintf("SELECT bdr.join_node_group(join_target_dsn := '%s', wait_for_completion := false)", target.NodeDSN))
}

// WaitMesh returns when every node sees all of them active and streams from
// every other.
func (c *Cluster) WaitMesh(nodes ...*Node) {
	c.t.Helper()
	for _, n := range nodes {
		n.Wait(joinLimit, "SELECT count(*) FROM bdr.node_summary WHERE peer_state_name = 'ACTIVE'", fmt.Sprint(len(nodes)))
		n.Wait(joinLimit, activeSlots, fmt.Sprint(len(nodes)-1))
	}
}

// activeSlots counts the peers that read this node, by PostgreSQL's own views.
const activeSlots = `SELECT count(*) FROM pg_replication_slots
 WHERE active AND plugin = 'bdr_output' AND NOT temporary AND database = current_database()`

// Link is every connection that one node opens to another. The cluster must
// have proxies.
func (c *Cluster) Link(from, to *Node) *Link {
	for i, n := range c.Nodes {
		if n.Name == to.Name {
			return c.proxies[i].From(from.Name)
		}
	}
	c.t.Fatalf("no node %q", to.Name)
	return nil
}

// ExecAll runs the same statements on every node: DDL does not replicate.
func (c *Cluster) ExecAll(statements ...string) {
	c.t.Helper()
	for _, n := range c.Nodes {
		n.Exec(statements...)
	}
}

// For returns the cluster with failures going to a subtest.
func (c *Cluster) For(t testing.TB) *Cluster {
	copied := *c
	copied.t = t
	copied.Nodes = nil
	for _, n := range c.Nodes {
		copied.Nodes = append(copied.Nodes, n.For(t))
	}
	return &copied
}

// ownerLimit is how long the server of a connection is looked for.
const ownerLimit = 5 * time.Second

// serverOf names the server that opened a connection, or nothing for the test
// itself. The kernel's list of sockets may lack some while others come and go, so
// a socket that is not found is looked for again.
func (c *Cluster) serverOf(client, proxy int) (name string, found bool) {
	for deadline := time.Now().Add(ownerLimit); time.Now().Before(deadline); pause() {
		inode, ok := socketInode(client, proxy)
		if !ok {
			continue
		}
		if (Process{PID: os.Getpid()}).ownsSocket(inode) {
			return "", true
		}
		children := childrenByParent()
		for _, n := range c.Nodes {
			for _, pid := range n.descendants(children) {
				if (Process{PID: pid}).ownsSocket(inode) {
					return n.Name, true
				}
			}
		}
	}
	return "", false
}

func (c *Cluster) tearDown() {
	servers := append(slices.Clip(c.Nodes), c.standbys...)
	for _, n := range servers {
		n.showLog(c.t)
	}
	for _, n := range servers {
		if _, err := n.Stop(Immediate); err != nil {
			c.t.Errorf("%s: %v", n.Name, err)
			n.showLog(c.t)
		}
	}
	for _, p := range c.proxies {
		p.Close()
	}
	if c.t.Failed() {
		c.t.Logf("data and logs are kept in %s", c.Dir)
		return
	}
	_ = os.RemoveAll(c.Dir)
}
