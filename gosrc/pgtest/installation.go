package pgtest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An Installation is a PostgreSQL of one server's own: that of PG_CONFIG, with the
// files of a version of bdr that may be replaced. PostgreSQL finds its folders by
// where its program lies, so all of them are below a root at their own paths.
type Installation struct {
	root                           string
	programs, libraries, extension string // as pg_config has them, without root
}

// Files are those of one version of bdr, by the folders that they are in.
type Files struct{ libraries, extension string }

var (
	ourLibraries = []string{"bdr.so", "bdr_output.so", "bdr_go.so"}
	usedPrograms = []string{"postgres", "initdb", "pg_dump", "pg_restore", "pgbench", "psql"}
)

// Installed are the files that the tests of this checkout use.
func Installed() (Files, error) {
	libraries, err := pgConfig("--pkglibdir")
	if err != nil {
		return Files{}, err
	}
	share, err := pgConfig("--sharedir")
	return Files{libraries, filepath.Join(share, "extension")}, err
}

// ErrNoSource says that a version cannot be built here.
var ErrNoSource = errors.New("the source of the version is not here")

// BuildRelease builds a released version in a folder, from an archive of it or
// from the history of the checkout.
func BuildRelease(dir, version, commit string) (Files, error) {
	root, err := moduleRoot()
	if err != nil {
		return Files{}, err
	}
	archive, err := os.ReadFile(filepath.Join(root, "tmp_check", "bdr-"+version+".tar"))
	if err != nil {
		git := exec.Command("git", "-c", "safe.directory=*", "-C", root, "archive", commit)
		if archive, err = git.Output(); err != nil {
			return Files{}, fmt.Errorf("%w: git archive %s: %w", ErrNoSource, commit, err)
		}
	}
	unpack := exec.Command("tar", "xf", "-", "-C", dir, "--no-same-owner")
	unpack.Stdin = bytes.NewReader(archive)
	if out, err := unpack.CombinedOutput(); err != nil {
		return Files{}, fmt.Errorf("unpack bdr %s: %w: %s", version, err, out)
	}
	build := exec.Command("make", "-s", "-j2", "-C", dir, "PG_CONFIG="+cmp.Or(os.Getenv("PG_CONFIG"), "pg_config"), "all")
	build.Env = append(os.Environ(), "MAKEFLAGS=", "MAKEOVERRIDES=") // not those of a make that runs the tests
	if out, err := build.CombinedOutput(); err != nil {
		return Files{}, fmt.Errorf("build bdr %s: %w: %s", version, err, out)
	}
	return Files{dir, dir}, nil
}

// newInstallation makes one below dir, without bdr.
func newInstallation(dir string) (*Installation, error) {
	i := &Installation{root: dir}
	share, err := pgConfig("--sharedir")
	if err != nil {
		return nil, err
	}
	if i.libraries, err = pgConfig("--pkglibdir"); err != nil {
		return nil, err
	}
	if i.programs, err = pgConfig("--bindir"); err != nil {
		return nil, err
	}
	i.extension = filepath.Join(share, "extension")
	for _, folder := range []string{share, i.extension, i.libraries} {
		if err := i.mirror(folder); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(i.bin(), 0o755); err != nil {
		return nil, err
	}
	for _, program := range usedPrograms { // a link would lead back to where it is
		if err := copyFile(filepath.Join(i.programs, program), filepath.Join(i.bin(), program), 0o755); err != nil {
			return nil, err
		}
	}
	return i, nil
}

func (i *Installation) bin() string { return filepath.Join(i.root, i.programs) }

// mirror makes a folder with links to what is in one, but for what is ours.
func (i *Installation) mirror(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	to := filepath.Join(i.root, folder)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if path == i.extension || isOurs(entry.Name()) {
			continue
		}
		if err := os.Symlink(path, filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func isOurs(name string) bool {
	return strings.HasPrefix(name, "bdr.") || strings.HasPrefix(name, "bdr_") || strings.HasPrefix(name, "bdr--")
}

// put installs a version of bdr, as make install does: a server that runs keeps
// the files that it has mapped.
func (i *Installation) put(f Files) error {
	for _, library := range ourLibraries {
		if err := copyFile(filepath.Join(f.libraries, library), filepath.Join(i.root, i.libraries, library), 0o755); err != nil {
			return err
		}
	}
	old, err := filepath.Glob(filepath.Join(i.root, i.extension, "bdr--*.sql"))
	if err != nil {
		return err
	}
	for _, script := range old {
		if err := os.Remove(script); err != nil {
			return err
		}
	}
	scripts, err := filepath.Glob(filepath.Join(f.extension, "bdr--*.sql"))
	if err != nil {
		return err
	}
	for _, script := range append(scripts, filepath.Join(f.extension, "bdr.control")) {
		if err := copyFile(script, filepath.Join(i.root, i.extension, filepath.Base(script)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyFile replaces a file as a whole; who has the old one open keeps it.
func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// NewClusterOf makes a cluster whose servers have an installation each, with these
// files of bdr.
func NewClusterOf(t testing.TB, n int, files Files) *Cluster {
	t.Helper()
	c := newCluster(t)
	for k := range n {
		name := fmt.Sprintf("node%d", k+1)
		i, err := newInstallation(filepath.Join(c.Dir, name+"-installation"))
		if err == nil {
			err = i.put(files)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.addNode(k, plan{installation: i})
	}
	for k := range n {
		c.Member(k)
	}
	c.WaitMesh(c.Nodes...)
	return c
}

// Install replaces the files of bdr in the server's own installation.
func (n *Node) Install(files Files) {
	n.t.Helper()
	n.Must(n.installation.put(files))
}

// Beside returns another database of the node's server, with the extension as in
// a version. It is a node of another name.
func (n *Node) Beside(name, version string) *Node {
	n.t.Helper()
	if _, err := n.Run("postgres", "CREATE DATABASE "+name); err != nil {
		n.t.Fatalf("%s: %v", n.Name, err)
	}
	other := &Node{Server: n.Server, Database: name, NodeDSN: n.DSN(name), t: n.t}
	other.Exec(fmt.Sprintf("CREATE EXTENSION bdr VERSION '%s'", version),
		fmt.Sprintf("SELECT bdr.create_node(node_name := '%s', local_dsn := '%s')", name, other.NodeDSN))
	return other
}
