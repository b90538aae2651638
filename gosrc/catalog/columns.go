package catalog

import (
	"fmt"
	"strconv"
	"strings"

	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
)

// columns reads one row from left to right and keeps the first error.
type columns struct {
	row  []*string
	next int
	err  error
}

func (c *columns) text() string {
	if c.next >= len(c.row) {
		c.fail(fmt.Errorf("row has %d columns, more were expected", len(c.row)))
		return ""
	}
	value := c.row[c.next]
	c.next++
	if value == nil {
		return ""
	}
	return *value
}

func (c *columns) integer() int64 {
	text := c.text()
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	c.fail(err)
	return n
}

func (c *columns) oid() uint32 {
	text := c.text()
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 32)
	c.fail(err)
	return uint32(n)
}

func (c *columns) xid8() uint64 {
	text := c.text()
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	c.fail(err)
	return n
}

func (c *columns) boolean() bool {
	text := c.text()
	return text == "t" || text == "true" || text == "on"
}

func (c *columns) lsn() lsn.LSN {
	text := c.text()
	if text == "" {
		return 0
	}
	at, err := lsn.Parse(text)
	c.fail(err)
	return at
}

func (c *columns) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *columns) done() error {
	if c.err == nil && c.next != len(c.row) {
		c.err = fmt.Errorf("row has %d columns, %d were expected", len(c.row), c.next)
	}
	if c.err != nil {
		return fmt.Errorf("read catalog row: %w", c.err)
	}
	return nil
}

// each reads every row of a result.
func each[T any](r ipc.Result, read func(*columns) T) ([]T, error) {
	all := make([]T, 0, len(r.Rows))
	for _, row := range r.Rows {
		c := columns{row: row}
		one := read(&c)
		if err := c.done(); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// QuoteIdentifier returns name as an SQL identifier.
func QuoteIdentifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteLiteral returns value as an SQL string constant, whatever
// standard_conforming_strings says.
func QuoteLiteral(value string) string {
	quoted := `'` + strings.ReplaceAll(value, `'`, `''`) + `'`
	if strings.Contains(value, `\`) {
		return ` E` + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
