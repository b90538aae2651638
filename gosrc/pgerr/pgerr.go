// Package pgerr is the one error type that users meet: an SQLSTATE, a message,
// and optionally detail, hint and context, as PostgreSQL reports them.
package pgerr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs that this project raises by itself.
const (
	ConnectionException      = "08000"
	CannotConnect            = "08001"
	ConnectionFailure        = "08006"
	ProtocolViolation        = "08P01"
	FeatureNotSupported      = "0A000"
	CardinalityViolation     = "21000"
	InvalidParameter         = "22023"
	CharacterNotInRepertoire = "22021"
	UniqueViolation          = "23505"
	ReadOnlyTransaction      = "25006"
	ActiveTransaction        = "25001"
	InvalidPassword          = "28P01"
	InvalidAuthorization     = "28000"
	SequenceLimit            = "2200H"
	SerializationFailure     = "40001"
	UndefinedSchema          = "3F000"
	InsufficientPrivilege    = "42501"
	InvalidName              = "42602"
	NameTooLong              = "42622"
	UndefinedColumn          = "42703"
	UndefinedObject          = "42704"
	DuplicateObject          = "42710"
	UndefinedFunction        = "42883"
	UndefinedTable           = "42P01"
	InsufficientResources    = "53000"
	ConfigLimit              = "53400"
	ProgramLimit             = "54000"
	WrongState               = "55000"
	ObjectInUse              = "55006"
	Deadlock                 = "40P01"
	LockNotAvailable         = "55P03"
	QueryCanceled            = "57014"
	AdminShutdown            = "57P01"
	CannotConnectNow         = "57P03"
	SystemError              = "58000"
	IOError                  = "58030"
	InternalError            = "XX000"
	DataCorrupted            = "XX001"
)

// Error is what a FAULT carries.
type Error struct {
	Code    string
	Message string
	Detail  string
	Hint    string
	Context string
	cause   error
}

// New returns an error with this SQLSTATE; a %w in format is kept as its cause.
func New(code, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: wrapped.Error(), cause: errors.Unwrap(wrapped)}
}

// WithDetail returns e with a detail: facts, as a sentence.
func (e *Error) WithDetail(format string, args ...any) *Error {
	c := *e
	c.Detail = fmt.Sprintf(format, args...)
	return &c
}

// WithHint returns e with a hint: what to do, as a sentence.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Error returns message and detail in one line, for wrapping and logs.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Message
	}
	return e.Message + ": " + e.Detail
}

// Unwrap returns what New was given with %w.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, pgerr.New(code, "")) a test of the SQLSTATE.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Code == e.Code
}

// From turns any error into one that can be sent to a user. Text that was
// wrapped around an *Error or a *pgconn.PgError stays in front of its message.
// It returns nil for nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own.wrapped(err, own.Error())
	}
	var remote *pgconn.PgError
	if errors.As(err, &remote) {
		e := &Error{Code: remote.Code, Message: remote.Message, Detail: remote.Detail, Hint: remote.Hint, Context: remote.Where, cause: err}
		return e.wrapped(err, remote.Error())
	}
	return &Error{Code: codeOf(err), Message: err.Error(), cause: err}
}

// wrapped puts back the text that err has around inner.
func (e *Error) wrapped(err error, inner string) *Error {
	prefix, found := strings.CutSuffix(err.Error(), inner)
	if !found || prefix == "" {
		return e
	}
	c := *e
	c.Message = prefix + e.Message
	c.cause = err
	return &c
}

func codeOf(err error) string {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return QueryCanceled
	}
	var network net.Error
	if errors.As(err, &network) {
		return ConnectionFailure
	}
	return InternalError
}

// IsInUse says whether somebody else has what is wanted, a slot or an origin, who may be
// about to end.
func IsInUse(err error) bool { return errors.Is(err, New(ObjectInUse, "")) || Code(err) == ObjectInUse }

// Code returns the SQLSTATE of err, "" for nil.
func Code(err error) string {
	if err == nil {
		return ""
	}
	return From(err).Code
}
