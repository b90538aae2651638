package clustertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// Refusal is a call that must not succeed: one error of this SQLSTATE, whose
// text holds these words, with a detail and a hint where a user has to do
// something about his set-up; and nothing may have changed.
type Refusal struct {
	Name  string
	Call  string
	Code  string
	Words []string // in message, detail or hint
}

// Refused is a refusal of a call by an error with a SQLSTATE and words.
func Refused(name, call, code string, words ...string) Refusal {
	return Refusal{Name: name, Call: call, Code: code, Words: words}
}

// The states that users meet (house-style.md, "Messages").
const (
	WrongState    = "55000"
	NoSuchObject  = "42704"
	ExistsAlready = "42710"
	BadArgument   = "22023"
	BadName       = "42602"
	BadPassword   = "28P01"
	NoSuchBase    = "3D000"
	LostPeer      = "08006"
	BusyStarting  = "57P03"
	ObjectInUse   = "55006"
	DependsOnIt   = "2BP01"
	LacksResource = "53400"
	NotPermitted  = "42501"
	InTransaction = "25001"
)

// traces is everything that a refused call could have left behind. A subscription
// notes by itself which timeline it reads.
const traces = `SELECT concat_ws(' / ',
	(SELECT string_agg(n::text, ',') FROM bdr.node n), (SELECT string_agg(n::text, ',') FROM bdr.local_node n),
	(SELECT string_agg(g::text, ',') FROM bdr.node_group g), (SELECT string_agg((to_jsonb(s) - '{origin_system,origin_timeline}'::text[])::text, ',') FROM bdr.subscription s),
	(SELECT string_agg(step, ',') FROM bdr.local_join),
	(SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots),
	(SELECT string_agg(roname, ',' ORDER BY roname) FROM pg_replication_origin),
	(SELECT count(*) FROM pg_shseclabel WHERE provider = 'bdr'),
	(SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace))`

// RequireRefusal makes the call on n; n and others are then as before.
func RequireRefusal(t *testing.T, n *pgtest.Node, r Refusal, others ...*pgtest.Node) {
	t.Helper()
	all := append([]*pgtest.Node{n}, others...)
	var before []string
	for _, o := range all {
		before = append(before, o.Value(traces))
	}
	err := n.Try(r.Call)
	if err == nil {
		t.Fatalf("accepted: %s", r.Call)
	}
	requireClearError(t, err, r)
	for i, o := range all {
		if after := o.Value(traces); after != before[i] {
			t.Errorf("%s changed:\n%s\n%s", o.Name, before[i], after)
		}
	}
}

func requireClearError(t *testing.T, err error, r Refusal) {
	t.Helper()
	e := pgtest.PgError(err)
	if e == nil {
		t.Fatalf("not an error of the server: %v", err)
	}
	text := pgtest.Explain(err)
	if e.Code != r.Code {
		t.Errorf("SQLSTATE %s, expected %s: %s", e.Code, r.Code, text)
	}
	// A wrong argument that the message names in full needs no more words.
	plain := (e.Code == BadArgument || e.Code == InTransaction) && len(r.Words) > 0
	if !plain && e.Detail == "" && e.Hint == "" {
		t.Errorf("the error has neither detail nor hint: %s", text)
	}
	if r.Code != NoSuchObject && r.Code != BadArgument && len(r.Words) > 0 && !plain && (e.Detail == "" || e.Hint == "") {
		t.Errorf("the error lacks a detail or a hint: %s", text)
	}
	if strings.ContainsAny(e.Message, "\n") || strings.HasSuffix(e.Message, ".") {
		t.Errorf("the message is not one line without a full stop: %s", text)
	}
	for _, word := range r.Words {
		if !strings.Contains(text, word) {
			t.Errorf("the error does not mention %q: %s", word, text)
		}
	}
	if strings.Contains(text, Secret) {
		t.Errorf("the error shows a password: %s", text)
	}
}

// Secret is the wrong password of the tests; no message may show it.
const Secret = "s3cr3t-pass"

// RequireRefused runs SQL in a session of its own and looks at the error. The
// session has ended afterwards: it may have an origin that others want.
func RequireRefused(t *testing.T, n *pgtest.Node, sql, code, message string) {
	t.Helper()
	session := n.Session()
	_, err := pgtest.RunOn(session, sql, time.Minute)
	if e := pgtest.PgError(err); e == nil || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("%s\ngot %v, expected %s with %q", sql, err, code, message)
	}
	_ = session.Close(context.Background())
	n.Wait(time.Minute, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d", session.PID()), "0")
}

// RequireNoErrors requires that no subscription of a node has met an error.
func RequireNoErrors(t *testing.T, n *pgtest.Node) {
	t.Helper()
	const query = "SELECT coalesce(string_agg(sub_name || ': ' || last_error, '; '), 'none') FROM bdr.subscription_summary JOIN bdr.stat_subscription USING (sub_name) WHERE nerror > 0"
	if got := n.Value(query); got != "none" {
		t.Errorf("%s: errors %s", n.Name, got)
	}
}
