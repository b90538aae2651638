package release

import "testing"

func TestNewer(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"0.2.0", "0.1.0", true}, {"0.1.0", "0.2.0", false}, {"0.2.0", "0.2.0", false}, {"0.10.0", "0.9.9", true},
		{"1.0.0", "0.99.99", true}, {"0.2.1", "0.2.0", true},
		{"0.3", "0.2.0", true}, {"0.2.0", "0.3", false}, {"0.2.0-rc1", "9.0.0", true}, {"x", "y", false}, {"", "0.1.0", true},
	} {
		if got := Newer(tt.a, tt.b); got != tt.want {
			t.Errorf("Newer(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}

// Both sides must come to the same version, whoever asks.
func TestCommon(t *testing.T) {
	for _, tt := range []struct {
		a, b    Range
		version int
		ok      bool
	}{
		{Range{2, 2}, Range{2, 2}, 2, true},
		{Range{2, 2}, Range{2, 4}, 2, true},
		{Range{2, 3}, Range{1, 5}, 3, true},
		{Range{2, 2}, Range{3, 4}, 2, false},
	} {
		for _, pair := range [][2]Range{{tt.a, tt.b}, {tt.b, tt.a}} {
			if version, ok := pair[0].Common(pair[1]); version != tt.version && ok || ok != tt.ok {
				t.Errorf("%v and %v: %d, %v", pair[0], pair[1], version, ok)
			}
		}
	}
}
