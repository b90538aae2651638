package control

import (
	"reflect"
	"testing"

	"bdr/gosrc/lsn"
	"bdr/gosrc/wire"
)

// Only the node's own end of stream ends its subscription.
func TestIsEndOfStream(t *testing.T) {
	tests := []struct {
		name, content string
		want          bool
	}{
		{"own", `{"farewell": 7}`, true},
		{"of_another_node", `{"farewell": 8}`, false},
		{"marker", `{"marker": 7, "id": "x", "progress": {}}`, false},
		{"not_json", `farewell 7`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := IsEndOfStream(wire.Message{Content: []byte(tt.content)}, 7); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// What one end writes the other reads.
func TestCatchUpPoint(t *testing.T) {
	point := CatchUpPoint{Joiner: 7, ID: "x", Progress: map[uint32]lsn.LSN{2: 0x1_0000_00AB, 3: 5}}
	content, err := point.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, is, err := DecodeCatchUpPoint(wire.Message{Content: []byte(content), LSN: 9})
	point.LSN = 9
	if err != nil || !is || !reflect.DeepEqual(got, point) {
		t.Errorf("got %+v, %v, %v", got, is, err)
	}
	for _, other := range []string{`{"farewell": 7}`, "{", ""} {
		if _, is, err := DecodeCatchUpPoint(wire.Message{Content: []byte(other)}); is || err != nil {
			t.Errorf("%q: %v, %v", other, is, err)
		}
	}
	for _, bad := range []string{`{"marker": 7, "progress": {"x": "0/1"}}`, `{"marker": 7, "progress": {"2": "1"}}`} {
		if _, _, err := DecodeCatchUpPoint(wire.Message{Content: []byte(bad)}); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
