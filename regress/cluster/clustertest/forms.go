package clustertest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"bdr/gosrc/pgtest"
)

// Forms listens to streams, for the forms in which values come: i internal, b
// send/recv, t text.
type Forms struct {
	mu      sync.Mutex
	readers map[*pgtest.Link]*FrameReader
	seen    map[string]string // forms by type
	faults  []string
}

// headerBytes stand before a frame in CopyData: 'w', two positions and a time.
const headerBytes = 25

// ListenForms listens to all connections that are made through the links from now on.
func ListenForms(links ...*pgtest.Link) *Forms {
	f := &Forms{readers: map[*pgtest.Link]*FrameReader{}, seen: map[string]string{}}
	for _, l := range links {
		f.readers[l] = NewFrameReader(true)
		l.Change(func(copyData []byte) []byte {
			f.hear(l, copyData)
			return copyData
		})
	}
	return f
}

func (f *Forms) hear(l *pgtest.Link, copyData []byte) {
	if len(copyData) <= headerBytes || copyData[0] != 'w' || !isFrame(copyData[headerBytes:]) {
		return // a keepalive, or rows of a join
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	reader := f.readers[l]
	if _, err := reader.Frame(copyData[headerBytes:]); err != nil {
		f.faults = append(f.faults, err.Error())
	}
	for _, relation := range reader.relations {
		for _, column := range relation.columns {
			if form := string(column.format); !strings.Contains(f.seen[column.kind], form) {
				f.seen[column.kind] += form
			}
		}
	}
}

// Of are the forms of a type so far.
func (f *Forms) Of(kind string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[kind]
}

// In are the types that came in a form so far, and how many came at all.
func (f *Forms) In(form byte) (kinds []string, all int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(f.seen)) {
		if strings.IndexByte(f.seen[kind], form) >= 0 {
			kinds = append(kinds, kind)
		}
	}
	if len(f.faults) > 0 {
		err = fmt.Errorf("%d frames could not be read: %s", len(f.faults), f.faults[0])
	}
	return kinds, len(f.seen), err
}
