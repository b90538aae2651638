package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

const docs = "../../docs/performance"

// Numbers that somebody typed into the page, or a plot of another run, look
// like measurements. Both must be what the file of results makes of them.
func TestPageAndPlotAreMadeFromTheResults(t *testing.T) {
	r, err := readReport(docs + ".json")
	if err != nil || r.Throughput == nil {
		t.Fatalf("no results: %v", err)
	}
	page, svg := contentOf(t, docs+".md"), contentOf(t, docs+".svg")
	made, err := fill(page, r.parts())
	if err != nil {
		t.Fatal(err)
	}
	if made != page || plot(r.Throughput) != svg {
		t.Error("docs/performance.md or .svg differs from docs/performance.json: run regress/bench.sh replot")
	}
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFillReplacesNothingElse(t *testing.T) {
	const page = "before\n<!-- bench: a -->\nold\n<!-- bench: end -->\nbetween\n<!-- bench: b -->\n<!-- bench: end -->\nafter\n"
	got, err := fill(page, []part{{"a", "new\n"}})
	want := strings.Replace(page, "old", "new", 1)
	if err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := fill(page, []part{{"c", ""}}); err == nil {
		t.Error("a part without a place on the page is no error")
	}
}

// A ratio that is better than its target must not be called missed, in either
// direction, and a workload that costs more must still fit the plot.
func TestTargetsAndPlot(t *testing.T) {
	w := workloadResult{Title: "a & b", Changes: 1_000_000, Target: targets{Wall: 2, Applier: 0.5, Sender: 0.5}, Variants: []figures{
		{Variant: "native binary", Wall: 4, CPU: map[string]float64{senderRole: 2, applierRole: 2}},
		{Variant: "bdr", Wall: 2, CPU: map[string]float64{senderRole: 1, applierRole: 0.9, managerRole: 0.2}}}}
	live := workloadResult{Title: "live", Target: targets{Lag: 1}, Variants: []figures{
		{Variant: "native binary", Lag: &lag{Median: 1, P99: 2}}, {Variant: "bdr", Lag: &lag{Median: 0.5, P99: 40}}}}
	result := &throughputResult{Workloads: []workloadResult{w, live}}
	if row := "| a & b | 2.00x (2.0x) met | 0.55x (0.50x) **missed** | 0.50x (0.50x) met |"; !strings.Contains(result.targetTable(), row) {
		t.Errorf("not %s but %s", row, result.targetTable())
	}
	if table := result.liveTable(); !strings.Contains(table, "| 0.50 met | 40.00 **missed** |") {
		t.Error(table)
	}
	svg := plot(result)
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
	}
	if bars, ticks := strings.Count(svg, "<rect"), strings.Count(svg, `class="target"`); bars != 5+3 || ticks != 5+1 {
		t.Errorf("%d bars and %d ticks, the legend's included", bars, ticks)
	}
}

// A pass on a machine that does something else as well must not count for one kind
// and against another: shares are of the same pass.
func TestValuesAreComparedWithinAPass(t *testing.T) {
	load := sequenceLoad{title: "a load", values: 1000, target: sequenceTargets{1.05, 1}}
	passes := make([][]valueCost, len(sequenceKinds()))
	for i, k := range sequenceKinds() {
		for pass, slower := range []float64{1, 3, 1} {
			cpu := map[string]float64{nativeKind: 100, "local": 106, "snowflakeid": 50}[k.name]
			if pass == 2 && k.name == "local" {
				cpu = 90
			}
			passes[i] = append(passes[i], load.cost(k, cpu*slower*1e-6, time.Duration(cpu*slower*2000)))
		}
	}
	result := &sequencesResult{Scale: 1, Loads: []sequenceLoadCosts{load.summarise(passes)}}
	ratios := "| a load | 0.00x, 0.00x | 1.00x, 1.00x | 1.06x (1.05x) **missed**, 1.06x | 0.50x (1.00x) met, 0.50x |"
	costs := "| a load | 0, 0 | 100, 200 | 106, 212 | 50, 100 |"
	if table := result.table(); !strings.Contains(table, ratios) || !strings.Contains(table, costs) {
		t.Error(table)
	}
}

// Whoever is measured behind the same one each time gets what that left behind.
func TestOrderChanges(t *testing.T) {
	first, before := map[int]bool{}, map[[2]int]bool{}
	for pass := range 6 {
		order := orderOf(6, pass)
		first[order[0]] = true
		for i := range 5 {
			before[[2]int{order[i], order[i+1]}] = true
		}
	}
	if len(first) != 6 || len(before) != 12 {
		t.Errorf("%v are first, %v follow each other", first, before)
	}
}

func TestLagOf(t *testing.T) {
	began := time.Now()
	committed, arrived, polled := map[int]time.Time{}, map[int]time.Time{}, map[int]time.Time{}
	for id := range 100 {
		committed[id] = began
		arrived[id] = began.Add(time.Duration(id+1) * time.Millisecond)
	}
	polled[10] = arrived[10].Add(time.Millisecond)
	want := lag{Median: 51, P99: 100, Max: 100, Probes: 100, Polling: 1}
	if got := lagOf(committed, arrived, polled); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}
