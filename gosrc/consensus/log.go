package consensus

import (
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// repeatPause is how long a message that raft repeats is kept back: while a
// peer is away it complains several times a second.
const repeatPause = time.Minute

// logWriter takes raft's log lines and gives them fitting levels.
type logWriter struct {
	log  LogFunc
	mu   sync.Mutex
	last map[string]time.Time // by message, without its values
}

func newLogger(log LogFunc) hclog.Logger {
	var out io.Writer = &logWriter{log: log, last: make(map[string]time.Time)}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: out, DisableTime: true})
}

// Write takes one line: "[WARN]  message: key=value".
func (w *logWriter) Write(line []byte) (int, error) {
	level, message := splitLine(strings.TrimSpace(string(line)))
	if level == "DEBUG1" || w.first(message) {
		w.log(level, "consensus: "+message)
	}
	return len(line), nil
}

// first says whether the message has not been written for a while.
func (w *logWriter) first(message string) bool {
	key, _, _ := strings.Cut(message, "error=")
	key, _, _ = strings.Cut(key, "time=")
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, seen := w.last[key]; seen && now.Sub(last) < repeatPause {
		return false
	}
	if len(w.last) > 1000 {
		clear(w.last)
	}
	w.last[key] = now
	return true
}

// splitLine maps raft's levels: what it calls an error is mostly a peer that
// is away, which is no more than worth knowing.
func splitLine(line string) (level, message string) {
	head, rest, found := strings.Cut(line, "]")
	if !found {
		return "LOG", line
	}
	switch strings.TrimPrefix(head, "[") {
	case "ERROR", "WARN":
		return "LOG", strings.TrimSpace(rest)
	default:
		return "DEBUG1", strings.TrimSpace(rest)
	}
}
