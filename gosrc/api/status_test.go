package api

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/replicate"
)

// The row and the function's declaration must have the same columns.
func TestStatusRowMatchesTheFunction(t *testing.T) {
	sql, err := os.ReadFile("../../sql/70_monitor.sql")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?s)FUNCTION bdr\.internal_subscription_status\((.*?)\)`).FindSubmatch(sql)
	want := strings.Count(string(declared[1]), "OUT ")
	if got := len(statusRow(replicate.Status{})); got != want {
		t.Errorf("%d values for %d columns", got, want)
	}
}

// What never happened is NULL, and times are in UTC whatever the zone here is.
func TestStatusRow(t *testing.T) {
	empty := statusRow(replicate.Status{SubID: 7, State: replicate.StateDown})
	if *empty[0] != "7" || *empty[1] != "down" || empty[2] != nil || empty[7] != nil || empty[18] != nil || empty[21] != nil {
		t.Errorf("got %v", empty)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("x", 3600))
	full := statusRow(replicate.Status{Applied: 0x1_0000_00AB, AppliedTime: 1_500_000, ConnectTime: at})
	if *full[5] != "1/AB" || *full[7] != "2000-01-01 00:00:01.5+00" || *full[18] != "2026-01-02 02:04:05.000006+00" {
		t.Errorf("got %s, %s, %s", *full[5], *full[7], *full[18])
	}
}
