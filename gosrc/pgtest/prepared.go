package pgtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// initdb takes a third of a second where disks are fast and copying what it made
// a few hundredths. So the servers of one run are copies of one data directory,
// one for each server program and set of options.

var initdbOptions = []string{"-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "trust", "--no-sync", "--no-instructions"}

// prepared is the folder of data directories to copy.
var prepared struct {
	sync.Mutex // also lets one goroutine at a time make a data directory
	dir        string
}

// Main runs the tests of a package that starts many servers; it is what TestMain
// calls. Without it they are copies only in a run of several processes.
func Main(m *testing.M) {
	if os.Getenv(runVariable) == "" {
		dir, err := ScratchDirectory()
		if err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			os.Exit(1)
		}
		prepared.dir = dir
		defer os.RemoveAll(dir)
	}
	m.Run()
}

// preparedFolder is that of this process, or in the folder of the run. There is
// none where neither would remove it.
func preparedFolder(a account) (string, error) {
	run := os.Getenv(runVariable)
	if prepared.dir == "" && run != "" {
		dir := filepath.Join(run, "prepared")
		if err := errors.Join(os.MkdirAll(dir, 0o755), a.own(dir)); err != nil {
			return "", err
		}
		prepared.dir = dir
	}
	return prepared.dir, nil
}

// makeData makes the data directory: by initdb, or as a copy of what it made.
func (s *Server) makeData() error {
	prepared.Lock()
	defer prepared.Unlock()
	folder, err := preparedFolder(s.account)
	if err != nil {
		return err
	}
	if folder == "" {
		return s.initdb(s.DataDirectory())
	}
	original, err := s.original(folder)
	if err != nil {
		return err
	}
	cmd := s.account.command(s.Dir, "cp", "-a", original, s.DataDirectory())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the prepared data directory: %w: %s", err, out)
	}
	return giveIdentifier(s.DataDirectory())
}

func (s *Server) initdb(data string) error {
	cmd := s.account.command(s.Dir, filepath.Join(s.bin, "initdb"), append([]string{"-D", data}, initdbOptions...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// original is the data directory that copies are made of. Nothing ever writes
// to it or starts a server in it. Two processes may make it at the same time,
// each under a name of its own: the first to finish gives it the common name,
// which only a complete directory has, and the other takes that one.
func (s *Server) original(folder string) (string, error) {
	name, err := s.originalName()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	own := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := s.initdb(own); err != nil {
		return "", errors.Join(err, os.RemoveAll(own))
	}
	if err := os.Rename(own, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", errors.Join(err, os.RemoveAll(own))
	}
	return path, os.RemoveAll(own)
}

// originalName has all that the content depends on: program, version, options.
func (s *Server) originalName() (string, error) {
	version, err := exec.Command(filepath.Join(s.bin, "postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask postgres for its version: %w", err)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\n%s\n%q", s.bin, version, initdbOptions)
	return fmt.Sprintf("data-%016x", h.Sum64()), nil
}

// giveIdentifier makes a copied data directory another server than its
// original. The nodes of a cluster are told apart by system identifiers (one
// that reaches another server by its own connection string is refused, and so is
// a copy of a node), and a test with equal ones would see less than a user.
//
// No tool of the server sets the identifier, so it is written to its two places:
// the start of pg_control, with the checksum that follows its fields, and the
// first page header of each WAL segment. That is safe because the original never
// ran as anything but initdb, so that nothing else can have taken the identifier
// along, and because a server compares all of them when it starts: with a wrong
// one it does not start. A node's identity itself (its UUID, and the inode of
// PG_VERSION that a copy cannot have) is made later, by the node.
func giveIdentifier(data string) error {
	control := filepath.Join(data, "global", "pg_control")
	content, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	sum, err := checksumAt(content)
	if err != nil {
		return fmt.Errorf("%s: %w", control, err)
	}
	old := bytes.Clone(content[:8])
	// as initdb does: seconds, then bits that differ within one
	binary.NativeEndian.PutUint64(content, uint64(time.Now().Unix())<<32|uint64(rand.Uint32()))
	binary.NativeEndian.PutUint32(content[sum:], crc32.Checksum(content[:sum], castagnoli))
	if err := overwrite(control, 0, content); err != nil {
		return err
	}
	segments, err := filepath.Glob(filepath.Join(data, "pg_wal", strings.Repeat("[0-9A-F]", 24)))
	if err != nil || len(segments) == 0 {
		return errors.Join(err, fmt.Errorf("no WAL in %s", data))
	}
	for _, segment := range segments {
		if err := replaceAt(segment, longHeaderIdentifier, old, content[:8]); err != nil {
			return err
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// longHeaderIdentifier is where xlp_sysid stands in a segment.
const longHeaderIdentifier = 24

// checksumAt finds the checksum of pg_control: it stands behind the fields that
// it covers, whose number differs between major versions.
func checksumAt(control []byte) (int, error) {
	for at := 8; at+4 <= min(len(control), 512); at += 4 {
		if binary.NativeEndian.Uint32(control[at:]) == crc32.Checksum(control[:at], castagnoli) {
			return at, nil
		}
	}
	return 0, errors.New("its checksum was not found")
}

func replaceAt(path string, at int64, old, replacement []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	found := make([]byte, len(old))
	if _, err := f.ReadAt(found, at); err != nil {
		return err
	}
	if !bytes.Equal(found, old) {
		return fmt.Errorf("%s: %x is at %d instead of the system identifier %x", path, found, at, old)
	}
	return overwrite(path, at, replacement)
}

func overwrite(path string, at int64, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, at)
	return errors.Join(err, f.Close())
}
