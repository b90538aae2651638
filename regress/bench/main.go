// Command bench compares our replication with PostgreSQL's own, on the same
// servers, in the same run, and says what replication costs when there is
// nothing to do, and what a value of a sequence costs.
//
// A bulk workload is generated once while receiving is paused, then released:
// wall time runs from the release until the last row is visible on the
// receiver, so that neither side is held up by the generator. A live workload
// is pgbench, with probes that measure how long a commit takes to be visible.
// Variants take turns, medians are printed, and every pass is checked: both
// sides must hold the same rows.
//
// Complete sections of a run at full scale are kept in a file of results, from
// which the plot and the tables of docs/performance.md are made.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// options are what the caller chose.
type options struct {
	repeats  int
	scale    float64
	chosen   []string // names of workloads and sections
	variants []string
	results  string // file of the results
	record   bool   // keep them whatever the scale
	replot   bool   // only make plot and page again
}

// section is a part of the benchmark with servers of its own.
type section struct {
	names []string // what chooses it; all of them make it complete
	run   func(options, *report) error
}

func sections() []section {
	var loads []string
	for _, w := range workloads(1) {
		loads = append(loads, w.name)
	}
	return []section{
		{loads, throughput},
		{[]string{"quiet"}, quiet},
		{[]string{"peers"}, peers},
		{[]string{"idle"}, idle},
		{[]string{"conflicts"}, conflicts},
		{[]string{"sequences"}, sequences},
	}
}

func main() {
	var names []string
	for _, s := range sections() {
		names = append(names, s.names...)
	}
	o := options{}
	flag.IntVar(&o.repeats, "repeats", 3, "passes of each variant")
	flag.Float64Var(&o.scale, "scale", 1, "multiplies rows and seconds")
	chosen := flag.String("workloads", "", "some of: "+strings.Join(names, " "))
	variants := flag.String("variants", "binary bdr", "some of: text binary bdr")
	flag.StringVar(&o.results, "results", "docs/performance.json", "file of the results")
	flag.BoolVar(&o.record, "record", false, "keep results that are not at full scale, too")
	flag.BoolVar(&o.replot, "replot", false, "only make plot and page again from the results")
	flag.Parse()
	o.chosen, o.variants = strings.Fields(*chosen), strings.Fields(*variants)
	if len(o.chosen) == 0 {
		o.chosen = names
	}
	err := o.check(names)
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) check(names []string) error {
	if o.repeats < 1 || o.scale <= 0 {
		return errors.New("repeats and scale must be positive")
	}
	for _, name := range o.chosen {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no workload %q; there are %s", name, strings.Join(names, " "))
		}
	}
	return nil
}

func (o options) wants(name string) bool { return slices.Contains(o.chosen, name) }

// run measures the chosen sections one after the other; what is complete is
// kept at once, so that a later section's failure does not lose it.
func run(o options) error {
	kept, err := readReport(o.results)
	if err != nil {
		return err
	}
	for _, s := range sections() {
		if o.replot || !slices.ContainsFunc(s.names, o.wants) {
			continue
		}
		fresh := &report{}
		if err := s.run(o, fresh); err != nil {
			return err
		}
		fmt.Println(fresh.text())
		full := o.scale == 1 && !slices.ContainsFunc(s.names, func(n string) bool { return !o.wants(n) })
		if o.record || full {
			kept.take(fresh)
			if err := kept.publish(o.results); err != nil {
				return err
			}
		}
	}
	if o.replot {
		return kept.publish(o.results)
	}
	return nil
}
