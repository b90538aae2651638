package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PrivateKilobytes is the memory that only this process has and that is not
// shared memory of the server: pages of its own, and pages of files that no
// other process maps, such as the code of a library that only it has loaded. It
// walks the page tables, so it is not for sampling.
func (p Process) PrivateKilobytes() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", p.PID))
	if err != nil {
		return 0
	}
	total, counts := 0, false
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2:
		case !strings.HasSuffix(fields[0], ":"): // a mapping begins: address, permissions
			counts = strings.HasSuffix(fields[1], "p")
		case counts && strings.HasPrefix(fields[0], "Private_"):
			n, _ := strconv.Atoi(fields[1])
			total += n
		}
	}
	return total
}

// AnonymousNowKilobytes is AnonymousKilobytes from the kernel's own counter:
// cheap enough to be sampled while something else is measured.
func (p Process) AnonymousNowKilobytes() int {
	return statusNumber(fmt.Sprintf("/proc/%d/status", p.PID), "RssAnon:")
}

// Wakeups is how often its threads have gone to sleep and come back so far.
func (p Process) Wakeups() int {
	total := 0
	for _, thread := range p.threads() {
		total += statusNumber(filepath.Join(thread, "status"), "voluntary_ctxt_switches:")
	}
	return total
}

// RunSeconds is the CPU time of the threads that it has now, to the nanosecond.
func (p Process) RunSeconds() float64 {
	total := 0.0
	for _, thread := range p.threads() {
		text, err := os.ReadFile(filepath.Join(thread, "schedstat"))
		if fields := strings.Fields(string(text)); err == nil && len(fields) > 0 {
			nanoseconds, _ := strconv.ParseFloat(fields[0], 64)
			total += nanoseconds / 1e9
		}
	}
	return total
}

func (p Process) threads() []string {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", p.PID))
	return threads
}

// statusNumber reads one line of a status file of /proc; 0 when it is not there.
func statusNumber(path, key string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}
