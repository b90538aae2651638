package replicate

import (
	"testing"

	"bdr/gosrc/wire"
)

// Only the node's own farewell ends its subscription.
func TestIsFarewell(t *testing.T) {
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
			if got := isFarewell(wire.Message{Content: []byte(tt.content)}, 7); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
