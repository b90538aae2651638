package ipc

import (
	"strconv"
	"time"

	"bdr/gosrc/lsn"
)

// Number is a value of a row.
func Number(n uint64) *string { return Text(strconv.FormatUint(n, 10)) }

// Positive shows zero as NULL.
func Positive(n uint64) *string {
	if n == 0 {
		return nil
	}
	return Number(n)
}

// Position shows zero as NULL.
func Position(l lsn.LSN) *string {
	if l == lsn.Zero {
		return nil
	}
	return Text(l.String())
}

// Milliseconds shows nil as NULL.
func Milliseconds(d *time.Duration) *string {
	if d == nil {
		return nil
	}
	return Text(strconv.FormatInt(d.Milliseconds(), 10))
}

// NonEmpty shows the empty text as NULL.
func NonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Moment shows a time in UTC, whatever the zone here is, and the zero time as NULL.
func Moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return Text(t.UTC().Format("2006-01-02 15:04:05.999999+00"))
}

// CommitTime turns a timestamp of the server into its text form.
func CommitTime(microseconds int64) *string {
	if microseconds == 0 {
		return nil
	}
	return Moment(TimeOf(microseconds))
}

// TimeOf converts a timestamp of the server: microseconds since 2000.
func TimeOf(microseconds int64) time.Time {
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	return time.UnixMicro(epoch.UnixMicro() + microseconds).UTC()
}
