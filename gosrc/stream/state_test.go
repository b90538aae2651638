package stream

import (
	"testing"

	"bdr/gosrc/lsn"
)

// A node may have been away for several promotions.
func TestSwitchPoint(t *testing.T) {
	const history = "1\t0/3000148\tno recovery target specified\n\n2\t1/A0\tno recovery target specified\n"
	for timeline, want := range map[int]lsn.LSN{1: 0x3000148, 2: 1<<32 | 0xA0, 3: 0} {
		if got, err := switchPoint(history, timeline); err != nil || got != want {
			t.Errorf("timeline %d was left at %s, %v; expected %s", timeline, got, err, want)
		}
	}
	if _, err := switchPoint("1\tnowhere", 1); err == nil {
		t.Error("a history without a position was understood")
	}
}

// A position within the header of a page is as good as the end of the last one.
func TestBeyond(t *testing.T) {
	for _, k := range []struct {
		position, end lsn.LSN
		want          bool
	}{
		{0x2000, 0x2000, false}, {0x2028, 0x2000, false}, {0x2030, 0x2000, true}, {0x2038, 0x2030, true}, {0x2030, 0x2038, false},
	} {
		if got := beyond(k.position, k.end); got != k.want {
			t.Errorf("%s is beyond %s: %v", k.position, k.end, got)
		}
	}
}
