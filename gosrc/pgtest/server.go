package pgtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Server is one PostgreSQL instance, started or not.
type Server struct {
	Options string // of the sessions of Run and Connect: "-c name=value ..."
	Name    string
	Dir     string // holds data, log and the Unix socket
	Port    int

	bin          string
	installation *Installation // nil: that of all servers
	account      account

	mu      sync.Mutex
	process *exec.Cmd
	exited  chan struct{}
	conns   map[string]*pgconn.PgConn // by database, for statements in turn
	shown   int64                     // of the log, by tests that failed
}

// startTimeout bounds initdb, a start with recovery, and an orderly stop.
const startTimeout = 60 * time.Second

// StopMode is how a server is asked to end.
type StopMode syscall.Signal

const (
	Smart     = StopMode(syscall.SIGTERM) // waits for the sessions of users
	Fast      = StopMode(syscall.SIGINT)
	Immediate = StopMode(syscall.SIGQUIT)
)

// NewServer makes a data directory below dir. Settings are laid over what bdr
// needs; an empty value removes a setting.
func NewServer(dir, name string, settings map[string]string) (*Server, error) {
	bin, err := binDirectory()
	if err != nil {
		return nil, err
	}
	return newServer(bin, dir, name, settings)
}

// newServer makes a data directory with the programs of one installation.
func newServer(bin, dir, name string, settings map[string]string) (*Server, error) {
	a, err := serverAccount()
	if err != nil {
		return nil, err
	}
	s := &Server{Name: name, Dir: filepath.Join(dir, name), bin: bin, account: a, conns: map[string]*pgconn.PgConn{}}
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := a.own(s.Dir); err != nil {
		return nil, err
	}
	if s.Port, err = freePort(); err != nil {
		return nil, err
	}
	return s, s.initialise(settings)
}

// DataDirectory is the server's PGDATA.
func (s *Server) DataDirectory() string { return filepath.Join(s.Dir, "data") }

// LogPath is the file with everything that the server said.
func (s *Server) LogPath() string { return filepath.Join(s.Dir, "log") }

// DSN reaches a database of the server directly, not through a proxy.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=postgres", s.Port, database)
}

func (s *Server) initialise(settings map[string]string) error {
	if err := s.makeData(); err != nil {
		return err
	}
	if err := s.writeOwned("pg_hba.conf", hostBasedAuthentication); err != nil {
		return err
	}
	all := defaults(s.Port, s.Dir)
	all["output_plugin_libraries"] = "pgoutput, test_decoding, bdr_output"
	all = merge(all, settings)
	if !s.knowsOutputPluginLibraries() {
		delete(all, "output_plugin_libraries")
	}
	return s.writeOwned("postgresql.conf", configuration(all))
}

// knowsOutputPluginLibraries asks the server program itself: the setting came
// with a minor release, and an older one refuses to start with it.
func (s *Server) knowsOutputPluginLibraries() bool {
	cmd := s.account.command(s.Dir, filepath.Join(s.bin, "postgres"), "-C", "output_plugin_libraries", "-D", s.DataDirectory())
	return cmd.Run() == nil
}

func (s *Server) writeOwned(name, text string) error {
	path := filepath.Join(s.DataDirectory(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return s.account.own(path)
}

// Configure adds settings to postgresql.conf; they count after Reload or a restart.
func (s *Server) Configure(settings map[string]string) error {
	f, err := os.OpenFile(filepath.Join(s.DataDirectory(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(configuration(settings))
	return err
}

// Start runs the server and returns when it takes connections.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return fmt.Errorf("server %q runs already", s.Name)
	}
	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.account.command(s.Dir, filepath.Join(s.bin, "postgres"), "-D", s.DataDirectory())
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	s.process, s.exited = cmd, exited
	return s.waitReady(cmd.Process.Pid, exited)
}

// waitReady returns when the server answers; a server that ended is forgotten.
func (s *Server) waitReady(pid int, exited chan struct{}) error {
	deadline := time.Now().Add(startTimeout)
	for {
		select {
		case <-exited:
			s.process = nil
			return fmt.Errorf("server %q did not start: %s", s.Name, s.LogTail(15))
		default:
		}
		conn, err := s.connect("postgres")
		if err == nil {
			return conn.Close(context.Background())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("server %q (pid %d) does not take connections: %w", s.Name, pid, err)
		}
		pause()
	}
}

// Running says whether the server was started and has not ended.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process != nil && !closed(s.exited)
}

// PID is the postmaster's process id, 0 when it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Process.Pid
}

// Stop ends the server in an orderly way and says how long that took. Every
// process of the server is gone when it returns.
func (s *Server) Stop(mode StopMode) (time.Duration, error) {
	processes := s.all()
	began := time.Now()
	exited, err := s.signalPostmaster(syscall.Signal(mode))
	if err != nil || exited == nil {
		return 0, err
	}
	select {
	case <-exited:
	case <-time.After(startTimeout):
		tail := s.LogTail(15)
		return time.Since(began), errors.Join(fmt.Errorf("server %q did not stop: %s", s.Name, tail), s.Kill9())
	}
	s.forget()
	return time.Since(began), waitGone(processes, startTimeout)
}

// Kill9 ends the postmaster and all its processes with SIGKILL, as when
// somebody pulls the plug of one node.
func (s *Server) Kill9() error {
	if _, err := s.signalPostmaster(syscall.SIGSTOP); err != nil {
		return err
	}
	postmaster := Process{PID: s.PID()}
	for postmaster.PID != 0 && !postmaster.Stopped() { // forks no more: no child is overlooked
		time.Sleep(time.Millisecond)
	}
	processes := s.all()
	exited, err := s.signalPostmaster(syscall.SIGKILL)
	if err != nil || exited == nil {
		return err
	}
	for _, p := range processes {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	<-exited
	s.forget()
	return waitGone(processes, startTimeout)
}

// KillPostmaster ends the postmaster only and says how long the orphans took
// to notice.
func (s *Server) KillPostmaster() (time.Duration, error) {
	processes := s.all()
	began := time.Now()
	exited, err := s.signalPostmaster(syscall.SIGKILL)
	if err != nil || exited == nil {
		return 0, err
	}
	<-exited
	s.forget()
	err = waitGone(processes, startTimeout)
	return time.Since(began), err
}

// Restart stops fast and starts again.
func (s *Server) Restart() error {
	if _, err := s.Stop(Fast); err != nil {
		return err
	}
	return s.Start()
}

// Reload makes the server read its configuration again.
func (s *Server) Reload() error {
	_, err := s.signalPostmaster(syscall.SIGHUP)
	return err
}

func (s *Server) signalPostmaster(sig syscall.Signal) (chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil, nil
	}
	if err := s.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, err
	}
	return s.exited, nil
}

// forget drops what belonged to the process that has ended.
func (s *Server) forget() {
	s.mu.Lock()
	s.process, s.exited = nil, nil
	s.mu.Unlock()
	s.CloseSessions()
}

// LogTail is the end of the server's log.
func (s *Server) LogTail(lines int) string {
	text, err := os.ReadFile(s.LogPath())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// LogContains says whether the server has ever logged a text.
func (s *Server) LogContains(text string) bool {
	log, err := os.ReadFile(s.LogPath())
	return err == nil && strings.Contains(string(log), text)
}

// freePort finds a port below the range from which the kernel serves outgoing
// connections, so that a server which is restarted finds its port still free.
func freePort() (int, error) {
	for range 200 {
		port := 12000 + rand.IntN(18000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
