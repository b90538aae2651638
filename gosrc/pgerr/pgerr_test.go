package pgerr

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// A user sees only what From makes of an error, so each source is tested for
// code and text.
func TestFrom(t *testing.T) {
	base := New(WrongState, "cannot part node %q", "b").WithDetail("Node is joining.").WithHint("Wait.")
	remote := &pgconn.PgError{Severity: "ERROR", Code: "42P01", Message: "relation does not exist", Hint: "look"}
	tests := []struct {
		name, code, message, detail string
		err                         error
	}{
		{"own", WrongState, `cannot part node "b"`, "Node is joining.", base},
		{"own_wrapped", WrongState, `part: cannot part node "b"`, "Node is joining.", fmt.Errorf("part: %w", base)},
		{"remote", "42P01", "relation does not exist", "", remote},
		{"remote_wrapped", "42P01", "read node: relation does not exist", "", fmt.Errorf("read node: %w", remote)},
		{"canceled", QueryCanceled, "wait: context canceled", "", fmt.Errorf("wait: %w", context.Canceled)},
		{"deadline", QueryCanceled, context.DeadlineExceeded.Error(), "", context.DeadlineExceeded},
		{"other", InternalError, "odd", "", errors.New("odd")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := From(tt.err)
			if e.Code != tt.code || e.Message != tt.message || e.Detail != tt.detail {
				t.Errorf("got %q %q %q", e.Code, e.Message, e.Detail)
			}
		})
	}
	if From(nil) != nil || Code(nil) != "" {
		t.Error("nil is not an error")
	}
}

// The chain must survive: callers test for causes and codes.
func TestErrorChain(t *testing.T) {
	cause := errors.New("disk")
	e := New(IOError, "could not write: %w", cause)
	if !errors.Is(e, cause) || !errors.Is(From(fmt.Errorf("x: %w", e)), cause) {
		t.Error("cause lost")
	}
	if !errors.Is(fmt.Errorf("y: %w", e), New(IOError, "")) || errors.Is(e, New(WrongState, "")) {
		t.Error("code test")
	}
}

// A password in a message ends in logs; hiding too much only costs comfort.
func TestMaskDSN(t *testing.T) {
	tests := map[string]string{
		"host=a password=secret dbname=x":       "host=a password=******** dbname=x",
		"host=a password = 'se cr\\'et' user=b": "host=a password = ******** user=b",
		"password=se\\ cret user=b":             "password=******** user=b",
		"host=a user=b":                         "host=a user=b",
		"host=a sslpassword=x":                  "host=a sslpassword=********",
		"postgres://u:p@h:5432/d":               "postgres://u:********@h:5432/d",
		"postgresql://u:p@q@h/d?password=z&a=b": "postgresql://u:********@h/d?password=********&a=b",
		"postgresql://u@h/d?sslmode=require":    "postgresql://u@h/d?sslmode=require",
		"password='unterminated":                "password=********",
		"":                                      "",
		"nonsense":                              "nonsense",
		"password=":                             "password=********",
		"dbname=x password=a\\":                 "dbname=x password=********",
		"application_name='password=p' host=h":  "application_name='password=p' host=h",
		"  postgres://u:p@h/d":                  "postgres://u:********@h/d",
		"host=h\tpassword=p\nuser=u":            "host=h\tpassword=********\nuser=u",
	}
	for in, want := range tests {
		if got := MaskDSN(in); got != want {
			t.Errorf("MaskDSN(%q) = %q, want %q", in, got, want)
		}
	}
}

// Any text may come in as a DSN.
func FuzzMaskDSN(f *testing.F) {
	f.Add("host=a password='x' b=\\")
	f.Fuzz(func(_ *testing.T, s string) { MaskDSN(s) })
}
