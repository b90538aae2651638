package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"bdr/gosrc/pgerr"
)

// Answers carry no number: each must reach who asked, also when some of those
// do not wait any more.
func TestMainAnswersInOrder(t *testing.T) {
	m, c := newMainPair(t)
	go func() {
		for {
			question, err := c.read()
			if err != nil {
				return
			}
			d := decoder{rest: question.body}
			d.u16()
			c.send(kindRows, rowsBody(0, Text(d.str())))
		}
	}()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			sql := fmt.Sprint("select ", i)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%5 == 0 {
				go cancel()
			}
			results, err := m.Run(ctx, Stmt{SQL: sql})
			if i%5 == 0 && errors.Is(err, context.Canceled) {
				return
			}
			if err != nil || *results[0].Rows[0][0] != sql {
				t.Errorf("%s: %v %v", sql, results, err)
			}
		})
	}
	wg.Wait()
}

// A fault keeps its code and texts.
func TestMainFault(t *testing.T) {
	m, c := newMainPair(t)
	go func() {
		c.expect(kindSQL)
		c.send(kindFault, encodeFault(pgerr.New(pgerr.UndefinedObject, "no").WithHint("look")))
		c.expect(kindLaunch)
		c.send(kindFault, encodeFault(pgerr.New(pgerr.InsufficientResources, "full")))
		c.expect(kindLaunch)
		c.send(kindLaunched, []byte{0, 0, 0, 0})
	}()
	_, err := m.Run(t.Context(), Stmt{SQL: "x", Args: []any{1, nil}})
	var fault *pgerr.Error
	if !errors.As(err, &fault) || fault.Code != pgerr.UndefinedObject || fault.Hint != "look" {
		t.Errorf("got %v", err)
	}
	if err := m.Launch(t.Context(), 1, "w"); pgerr.Code(err) != pgerr.InsufficientResources {
		t.Errorf("got %v", err)
	}
	if err := m.Launch(t.Context(), 1, "w"); err != nil {
		t.Errorf("got %v", err)
	}
}

// When the main thread is gone, everybody who waits must hear of it.
func TestMainGone(t *testing.T) {
	m, c := newMainPair(t)
	go func() {
		c.expect(kindSQL)
		c.close()
	}()
	if _, err := m.Run(t.Context(), Stmt{SQL: "x"}); pgerr.Code(err) != pgerr.AdminShutdown {
		t.Errorf("got %v", err)
	}
	<-m.Done()
	if _, err := m.Run(t.Context(), Stmt{SQL: "x"}); pgerr.Code(err) != pgerr.AdminShutdown {
		t.Errorf("got %v", err)
	}
	m.Log(Log, "nobody hears", "", "")
}

// Close is how Go asks the main thread to end the process.
func TestMainClose(t *testing.T) {
	m, c := newMainPair(t)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	c.expectEnd()
}

// Settings come at the start and after each reload.
func TestMainSettings(t *testing.T) {
	m, c := newMainPair(t)
	changed := make(chan struct{})
	m.OnSettings(func() { changed <- struct{}{} })
	for _, value := range []string{"1", "2"} {
		var e encoder
		e.u16(1)
		e.str("bdr.x")
		e.str(value)
		c.send(kindSettings, e)
		<-changed
		if got := m.Setting("bdr.x"); got != value {
			t.Errorf("got %q, want %q", got, value)
		}
	}
	if m.Setting("bdr.y") != "" {
		t.Error("unknown setting has a value")
	}
}

// A message that makes no sense is our own mistake: the goroutine panics, and
// the manager starts anew.
func TestMainViolation(t *testing.T) {
	for name, bytes := range map[string]string{
		"answer_without_question": "\x00\x00\x00\x03d\x00\x00",
		"not_for_go":              "\x00\x00\x00\x01q",
		"unknown":                 "\x00\x00\x00\x01?",
		"short_settings":          "\x00\x00\x00\x03u\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			one, other := net.Pipe()
			died := make(chan any)
			newMain(one, func(_ string, f func()) {
				go func() {
					defer func() { died <- recover() }()
					f()
				}()
			})
			raw(t, fake{t, newConn(other)}, bytes)
			if <-died == nil {
				t.Error("nobody noticed")
			}
		})
	}
}
