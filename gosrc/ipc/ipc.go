// Package ipc is Go's end of the Unix sockets to C: it runs SQL through the
// manager's main thread or in a caller's transaction, answers requests of
// backends, and feeds writers. It knows messages (docs/protocol.md, section 1)
// and nothing of what they are for.
package ipc

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"bdr/gosrc/pgerr"
)

// Stmt is one statement. Arguments are sent as text; the statement casts them.
// They may be nil, *string, string, []byte (as bytea hex), bool, integers,
// floats, time.Time, []string (as an array literal) and fmt.Stringer.
type Stmt struct {
	SQL  string
	Args []any
}

// Result is what one statement did and returned; a nil value is NULL.
type Result struct {
	Processed int64
	Rows      [][]*string
}

// Rows are the result of a request.
type Rows struct {
	Columns int
	Values  [][]*string
}

// Level is the severity of a message to users or to the server log.
type Level string

// The levels.
const (
	Debug   Level = "DEBUG1"
	Log     Level = "LOG"
	Info    Level = "INFO"
	Notice  Level = "NOTICE"
	Warning Level = "WARNING"
)

// Handler answers the requests of backends.
type Handler interface {
	// Request returns the rows of the function's result. An error becomes a
	// FAULT through pgerr.From. The context ends when the backend goes away.
	Request(ctx context.Context, r *Request) (Rows, error)
}

// Value returns one row with one column.
func Value(value string) Rows {
	return Rows{Columns: 1, Values: [][]*string{{&value}}}
}

// Text returns a pointer to value, for Rows.
func Text(value string) *string { return &value }

// argument turns a statement's argument into its text form.
func argument(value any) (*string, error) {
	text, err := argumentText(value)
	if err != nil || text == nil {
		return nil, err
	}
	if strings.IndexByte(*text, 0) >= 0 {
		return nil, pgerr.New(pgerr.CharacterNotInRepertoire, "text contains a zero byte")
	}
	return text, nil
}

func argumentText(value any) (*string, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case *string:
		return v, nil
	case string:
		return &v, nil
	case []byte:
		return bytesText(v), nil
	case []string:
		return Text(arrayText(v)), nil
	case bool:
		return Text(strconv.FormatBool(v)), nil
	case time.Time:
		return Text(v.UTC().Format("2006-01-02 15:04:05.999999+00")), nil
	case fmt.Stringer:
		return Text(v.String()), nil
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return Text(fmt.Sprint(v)), nil
	}
	return nil, pgerr.New(pgerr.InternalError, "statement argument of unknown type %T", value)
}

func bytesText(value []byte) *string {
	if value == nil {
		return nil
	}
	return Text(fmt.Sprintf(`\x%x`, value))
}

func arrayText(values []string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}
