package replicate

import (
	"testing"

	"bdr/gosrc/wire"
)

// Only the node's own farewell ends its subscription.
func TestIsFarewell(t *testing.T) {
	tests := []struct {
		name, prefix, content string
		want                  bool
	}{
		{"own", "bdr", `{"farewell": 7}`, true},
		{"of_another_node", "bdr", `{"farewell": 8}`, false},
		{"marker", "bdr", `{"marker": 7, "id": "x", "progress": {}}`, false},
		{"foreign", "app", `{"farewell": 7}`, false},
		{"not_json", "bdr", `farewell 7`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := isFarewell(wire.Message{Prefix: tt.prefix, Content: []byte(tt.content)}, 7); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
