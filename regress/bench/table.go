package main

import (
	"fmt"
	"strings"
)

// Bounds of private memory, in MB.
const (
	writerMemoryMax  = 30
	managerMemoryMax = 100
)

// table is a Markdown table in the making.
type table struct{ strings.Builder }

func newTable(columns ...string) *table {
	t := &table{}
	t.row(columns...)
	t.row(strings.Split(strings.Repeat("--- ", len(columns)-1)+"---", " ")...)
	return t
}

func (t *table) row(cells ...string) { fmt.Fprintf(t, "| %s |\n", strings.Join(cells, " | ")) }

// verdict compares with a target.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

// atLeast and atMost are a ratio beside its target.
func atLeast(ratio, target float64) string {
	if target == 0 {
		return fmt.Sprintf("%.2fx", ratio)
	}
	return fmt.Sprintf("%.2fx (%.1fx) %s", ratio, target, verdict(ratio >= target))
}

func atMost(ratio, target float64) string {
	if target == 0 {
		return fmt.Sprintf("%.2fx", ratio)
	}
	return fmt.Sprintf("%.2fx (%.2fx) %s", ratio, target, verdict(ratio <= target))
}

func (t *throughputResult) heading() string {
	return fmt.Sprintf("PostgreSQL %s, medians of %d, %s%s.\n\n", t.Server, t.Repeats, t.Date, scaleNote(t.Scale))
}

func scaleNote(scale float64) string {
	if scale == 1 {
		return ""
	}
	return fmt.Sprintf(", at %g of full scale", scale)
}

// targetTable compares with native binary; the target stands in brackets.
func (t *throughputResult) targetTable() string {
	out := newTable("Workload", "Wall, times faster", "Applier CPU, share", "Sender CPU, share")
	n := 0
	for _, w := range t.Workloads {
		native, ours := w.variant("native binary"), w.variant("bdr")
		if native == nil || ours == nil || ours.Lag != nil {
			continue
		}
		n++
		out.row(w.Title, atLeast(native.Wall/ours.Wall, w.Target.Wall), atMost(ours.applying()/native.applying(), w.Target.Applier),
			atMost(ours.CPU[senderRole]/native.CPU[senderRole], w.Target.Sender))
	}
	if n == 0 {
		return ""
	}
	return t.heading() + out.String()
}

// costTable has the seconds behind the ratios.
func (t *throughputResult) costTable() string {
	roles := []string{senderRole, applierRole, managerRole, walWriterRole, returnRole}
	out := newTable(append([]string{"Workload", "Variant", "Wall s"}, append(cpuTitles(roles), "CPU s per million changes, sender / applier + manager")...)...)
	n := 0
	for _, w := range t.Workloads {
		if w.Changes == 0 {
			continue
		}
		for _, f := range w.Variants {
			n++
			million := float64(w.Changes) / 1e6
			cells := []string{w.Title, f.Variant, fmt.Sprintf("%.2f", f.Wall)}
			for _, r := range roles {
				cells = append(cells, seconds(f, r))
			}
			out.row(append(cells, fmt.Sprintf("%.2f / %.2f", f.CPU[senderRole]/million, f.applying()/million))...)
		}
	}
	if n == 0 {
		return ""
	}
	return out.String()
}

func cpuTitles(roles []string) []string {
	var out []string
	for _, r := range roles {
		out = append(out, strings.ToUpper(r[:1])+r[1:]+" CPU s")
	}
	return out
}

// seconds of a role; a variant without the role has none.
func seconds(f figures, role string) string {
	s, ok := f.CPU[role]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2f", s)
}

func (t *throughputResult) liveTable() string {
	out := newTable("Load", "Variant", "Transactions/s", "Lag median ms", "p99 ms", "max ms", "Sender CPU s", "Applier CPU s", "Manager CPU s")
	n := 0
	for _, w := range t.Workloads {
		native := w.variant("native binary")
		for _, f := range w.Variants {
			if f.Lag == nil {
				continue
			}
			n++
			middle, late := fmt.Sprintf("%.2f", f.Lag.Median), fmt.Sprintf("%.2f", f.Lag.P99)
			if native != nil && f.Variant == "bdr" {
				middle += " " + verdict(f.Lag.Median <= w.Target.Lag*native.Lag.Median)
				late += " " + verdict(f.Lag.P99 <= w.Target.Lag*native.Lag.P99)
			}
			out.row(w.Title, f.Variant, fmt.Sprintf("%.0f", f.TPS), middle, late, fmt.Sprintf("%.2f", f.Lag.Max),
				seconds(f, senderRole), seconds(f, applierRole), seconds(f, managerRole))
		}
	}
	if n == 0 {
		return ""
	}
	return out.String()
}

// memoryTable has the highest private memory that was seen in any pass.
func (t *throughputResult) memoryTable() string {
	out := newTable("Workload", "Variant", "Sender MB", "Applier MB", "Manager MB", fmt.Sprintf("Writer <= %d MB, manager <= %d MB", writerMemoryMax, managerMemoryMax))
	for _, w := range t.Workloads {
		for _, f := range w.Variants {
			manager, met := "", ""
			if f.Variant == "bdr" {
				manager = fmt.Sprintf("%.1f", f.Memory[managerRole])
				met = verdict(f.Memory[applierRole] <= writerMemoryMax && f.Memory[managerRole] <= managerMemoryMax)
			}
			out.row(w.Title, f.Variant, fmt.Sprintf("%.1f", f.Memory[senderRole]), fmt.Sprintf("%.1f", f.Memory[applierRole]), manager, met)
		}
	}
	return out.String()
}
