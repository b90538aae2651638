package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Process is one operating system process of a server.
type Process struct {
	PID   int
	Title string // as ps shows it
}

// clockTicks is what Linux reports CPU time in; USER_HZ is 100 everywhere.
const clockTicks = 100

// Processes lists the server's processes without the postmaster, and what they
// started (a join runs pg_dump, for example).
func (s *Server) Processes() []Process {
	return slices.DeleteFunc(s.all(), func(p Process) bool { return p.Title == "" })
}

// all are these, and those that are ending: they have no title any more, but may
// have shared memory still.
func (s *Server) all() []Process {
	var out []Process
	for _, pid := range s.descendants(childrenByParent()) {
		title, _ := title(pid)
		out = append(out, Process{PID: pid, Title: title})
	}
	return out
}

// descendants are the process ids below the postmaster.
func (s *Server) descendants(children map[int][]int) []int {
	root := s.PID()
	if root == 0 {
		return nil
	}
	out := slices.Clone(children[root])
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// ProcessesTitled picks the processes whose title holds every one of the words.
func (s *Server) ProcessesTitled(words ...string) []Process {
	var out []Process
	for _, p := range s.Processes() {
		if containsAll(p.Title, words) {
			out = append(out, p)
		}
	}
	return out
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// Gone says whether the process has ended. One that ended but was not waited
// for by its parent counts as gone, once its last thread has: until then it holds
// its memory, and a server that shares it does not start.
func (p Process) Gone() bool {
	fields, ok := statFields(p.PID)
	return !ok || (fields[0] == "Z" || fields[0] == "X") && fields[17] <= "1"
}

// Stopped says whether the process does nothing more before SIGCONT, or ended.
func (p Process) Stopped() bool {
	fields, ok := statFields(p.PID)
	return !ok || fields[0] == "T" || p.Gone()
}

// CPUSeconds is the user and system time of all its threads so far.
func (p Process) CPUSeconds() float64 {
	fields, ok := statFields(p.PID)
	if !ok {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / clockTicks
}

// EndedCPUSeconds is the user and system time of the server's processes that have
// ended, up to those that have just done so.
func (s *Server) EndedCPUSeconds() float64 {
	for slices.ContainsFunc(s.descendants(childrenByParent()), isZombie) {
		pause() // the postmaster does not have its time yet
	}
	fields, ok := statFields(s.PID())
	if !ok {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[13], 64)
	system, _ := strconv.ParseFloat(fields[14], 64)
	return (user + system) / clockTicks
}

func isZombie(pid int) bool {
	fields, ok := statFields(pid)
	return ok && fields[0] == "Z"
}

// Threads is the number of its threads.
func (p Process) Threads() int {
	fields, ok := statFields(p.PID)
	if !ok {
		return 0
	}
	n, _ := strconv.Atoi(fields[17])
	return n
}

// Libraries are the paths of the shared libraries in its memory whose name begins
// so.
func (p Process) Libraries(begins string) []string {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.PID))
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(maps)) {
		at := strings.IndexByte(line, '/')
		if at < 0 {
			continue
		}
		path := strings.TrimSpace(line[at:])
		if strings.HasPrefix(filepath.Base(path), begins) && !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

// PSSKilobytes is its memory with shared pages divided among their users.
func (p Process) PSSKilobytes() int { return p.rollup("Pss:") }

// AnonymousKilobytes is the memory that belongs to no file and is not shared:
// what a leak or an unbounded buffer makes grow, and shared buffers do not.
func (p Process) AnonymousKilobytes() int { return p.rollup("Anonymous:") }

func (p Process) rollup(key string) int {
	return statusNumber(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID), key)
}

// waitGone returns when all processes have ended.
func waitGone(processes []Process, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for _, p := range processes {
		for !p.Gone() {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d (%s) is still there after %v", p.PID, p.Title, limit)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}

func childrenByParent() map[int][]int {
	out := map[int][]int{}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, _ := strconv.Atoi(filepath.Base(entry))
		if fields, ok := statFields(pid); ok {
			parent, _ := strconv.Atoi(fields[1])
			out[parent] = append(out[parent], pid)
		}
	}
	return out
}

// statFields are the fields of /proc/<pid>/stat behind the name, which may
// itself hold blanks and brackets: the first is the state.
func statFields(pid int) ([]string, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, false
	}
	end := strings.LastIndexByte(string(text), ')')
	if end < 0 {
		return nil, false
	}
	fields := strings.Fields(string(text[end+1:]))
	return fields, len(fields) > 17
}

func title(pid int) (string, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(text) == 0 {
		return "", false
	}
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " ")), true
}

// ownsSocket says whether the process holds the socket with this inode.
func (p Process) ownsSocket(inode string) bool {
	want := "socket:[" + inode + "]"
	entries, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
	for _, entry := range entries {
		if link, err := os.Readlink(entry); err == nil && link == want {
			return true
		}
	}
	return false
}

// socketInode finds the inode of one end of a loopback connection. Two connections
// to different servers may share a local port, so both ports count.
func socketInode(local, remote int) (string, bool) {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return "", false
	}
	ends := fmt.Sprintf("0100007F:%04X 0100007F:%04X", local, remote)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[1]+" "+fields[2] == ends && fields[9] != "0" {
			return fields[9], true
		}
	}
	return "", false
}
