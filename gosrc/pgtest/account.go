// Package pgtest starts and stops real, throw-away PostgreSQL servers with bdr
// in them and compares what they hold.
//
// It is for tests, the demo's checks and the benchmark, never linked into the
// product. It only ever touches servers that it made itself: their data lies in
// a directory of its own and they listen on loopback only. Nothing here waits
// by sleeping for "long enough": every wait has a condition and a deadline.
package pgtest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is the operating system user that servers run as.
type account struct {
	credential *syscall.Credential // nil: as ourselves
	uid, gid   int
}

// serverAccount picks postgres when we are root, since PostgreSQL refuses to
// run as root, and ourselves otherwise.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return account{}, fmt.Errorf("root needs the user postgres to run servers: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, err
	}
	credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return account{credential: credential, uid: uid, gid: gid}, nil
}

// command prepares a program that runs as the account. It dies when the test
// process dies: a test that hits its time limit leaves no server behind.
func (a account) command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: a.credential,
		Pdeathsig:  syscall.SIGQUIT,
		Setpgid:    true,
	}
	return cmd
}

// own gives a path to the account.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// binDirectory is where the programs of the server that we build for live.
func binDirectory() (string, error) { return pgConfig("--bindir") }

// pgConfig asks the pg_config of that server.
func pgConfig(option string) (string, error) {
	out, err := exec.Command(cmp.Or(os.Getenv("PG_CONFIG"), "pg_config"), option).Output()
	if err != nil {
		return "", fmt.Errorf("run pg_config: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// majorDirectory is where the programs of a server of a major version live, where
// those of several are side by side: Debian's folder, as BDR_SERVERS names it.
func majorDirectory(major int) (string, error) {
	servers := os.Getenv("BDR_SERVERS")
	if servers == "" {
		return "", errors.New("BDR_SERVERS is not set; \"make check-mixed\" runs the tests with servers of several majors")
	}
	return filepath.Join(servers, strconv.Itoa(major), "bin"), nil
}

// runVariable names the folder of a run of several test processes, where all of
// them have their servers. It is removed with the run.
const runVariable = "BDR_TEST_DIR"

// ScratchDirectory makes a new directory that the servers' user may enter.
func ScratchDirectory() (string, error) {
	dir, err := os.MkdirTemp(os.Getenv(runVariable), "bdr-test-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	a, err := serverAccount()
	if err != nil {
		return "", err
	}
	return filepath.Clean(dir), a.own(dir)
}
