package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// report is what the file of results holds: the last complete run of each
// section.
type report struct {
	Throughput *throughputResult `json:"throughput,omitempty"`
	Quiet      *quietResult      `json:"quiet,omitempty"`
	Peers      *peersResult      `json:"peers,omitempty"`
	Idle       *idleResult       `json:"idle,omitempty"`
	Conflicts  *conflictsResult  `json:"conflicts,omitempty"`
	Sequences  *sequencesResult  `json:"sequences,omitempty"`
}

// throughputResult is one run, the medians of its passes.
type throughputResult struct {
	Date      string           `json:"date"`
	Server    string           `json:"server"`
	Repeats   int              `json:"repeats"`
	Scale     float64          `json:"scale"`
	Workloads []workloadResult `json:"workloads"`
}

type workloadResult struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Changes  int       `json:"changes,omitempty"`
	Target   targets   `json:"target"`
	Variants []figures `json:"variants"`
}

// readReport reads kept results; there need not be any.
func readReport(path string) (*report, error) {
	r := &report{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return r, json.Unmarshal(text, r)
}

// take replaces the sections that the other report has.
func (r *report) take(other *report) {
	r.Throughput = cmp.Or(other.Throughput, r.Throughput)
	r.Quiet = cmp.Or(other.Quiet, r.Quiet)
	r.Peers = cmp.Or(other.Peers, r.Peers)
	r.Idle = cmp.Or(other.Idle, r.Idle)
	r.Conflicts = cmp.Or(other.Conflicts, r.Conflicts)
	r.Sequences = cmp.Or(other.Sequences, r.Sequences)
}

// text is the report for a terminal and for the page.
func (r *report) text() string {
	var parts []string
	for _, p := range r.parts() {
		parts = append(parts, p.text)
	}
	return strings.Join(parts, "\n")
}

// part is the generated text of one place of the page.
type part struct{ name, text string }

func (r *report) parts() []part {
	var out []part
	if t := r.Throughput; t != nil {
		out = append(out, part{"targets", t.targetTable()}, part{"throughput", t.costTable()}, part{"live", t.liveTable()},
			part{"memory", t.memoryTable()})
	}
	if r.Quiet != nil {
		out = append(out, part{"quiet", r.Quiet.table()})
	}
	if r.Peers != nil {
		out = append(out, part{"peers", r.Peers.table()})
	}
	if r.Idle != nil {
		out = append(out, part{"idle", r.Idle.table()})
	}
	if r.Conflicts != nil {
		out = append(out, part{"conflicts", r.Conflicts.table()})
	}
	if r.Sequences != nil {
		out = append(out, part{"sequences", r.Sequences.table()})
	}
	return slices.DeleteFunc(out, func(p part) bool { return p.text == "" })
}

// publish keeps the results and makes what depends on them: the plot, and the
// generated parts of the page when there is one. All have the name of the
// file of results.
func (r *report) publish(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	base := strings.TrimSuffix(path, ".json")
	if r.Throughput != nil {
		if err := os.WriteFile(base+".svg", []byte(plot(r.Throughput)), 0o644); err != nil {
			return err
		}
	}
	page, err := os.ReadFile(base + ".md")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	filled, err := fill(string(page), r.parts())
	if err != nil {
		return err
	}
	return os.WriteFile(base+".md", []byte(filled), 0o644)
}

// fill replaces what stands between the markers of each part.
func fill(page string, parts []part) (string, error) {
	for _, p := range parts {
		begin, end := "<!-- bench: "+p.name+" -->\n", "<!-- bench: end -->"
		before, rest, ok := strings.Cut(page, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			return "", fmt.Errorf("the page has no place %q", strings.TrimSpace(begin))
		}
		page = before + begin + p.text + end + after
	}
	return page, nil
}

// summarise takes the medians of a workload's passes.
func summarise(w workload, passes [][]figures, chosen []variant) workloadResult {
	r := workloadResult{Name: w.name, Title: w.title, Changes: w.changes, Target: w.target}
	for i, v := range chosen {
		r.Variants = append(r.Variants, middle(v, passes[i]))
	}
	return r
}

func middle(v variant, passes []figures) figures {
	f := figures{Variant: v.name, CPU: map[string]float64{}, Memory: map[string]float64{}}
	f.Wall = median(passes, func(f figures) float64 { return f.Wall })
	f.TPS = median(passes, func(f figures) float64 { return f.TPS })
	for _, role := range v.roles {
		f.CPU[role.name] = median(passes, func(f figures) float64 { return f.CPU[role.name] })
		f.Memory[role.name] = highest(passes, func(f figures) float64 { return f.Memory[role.name] })
	}
	if passes[0].Lag != nil {
		f.Lag = &lag{
			Median:  median(passes, func(f figures) float64 { return f.Lag.Median }),
			P99:     median(passes, func(f figures) float64 { return f.Lag.P99 }),
			Max:     highest(passes, func(f figures) float64 { return f.Lag.Max }),
			Polling: median(passes, func(f figures) float64 { return f.Lag.Polling }),
			Probes:  passes[0].Lag.Probes,
		}
	}
	return f
}

func median(passes []figures, of func(figures) float64) float64 {
	values := valuesOf(passes, of)
	return values[len(values)/2]
}

func highest(passes []figures, of func(figures) float64) float64 {
	return slices.Max(valuesOf(passes, of))
}

func valuesOf(passes []figures, of func(figures) float64) []float64 {
	var values []float64
	for _, f := range passes {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values
}

// variant returns the figures of a variant, nil when it was not measured.
func (w workloadResult) variant(name string) *figures {
	for i := range w.Variants {
		if w.Variants[i].Variant == name {
			return &w.Variants[i]
		}
	}
	return nil
}

// applying is the CPU time of all that receives and applies.
func (f figures) applying() float64 { return f.CPU[applierRole] + f.CPU[managerRole] }

func (f figures) short() string {
	s := fmt.Sprintf("%6.2f s", f.Wall)
	if f.Lag != nil {
		s = fmt.Sprintf("%6.0f tps, lag %.2f ms, p99 %.2f ms", f.TPS, f.Lag.Median, f.Lag.P99)
	}
	return s
}
