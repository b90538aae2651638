// Command bench compares our replication with PostgreSQL's own, on the same
// servers, in the same run.
//
// Each workload is generated once while receiving is paused, then released:
// wall time runs from the release until the last row is visible on the
// receiver, so that neither side is held up by the generator. CPU seconds are
// those of the sender (walsender) and of the applier (native: apply worker;
// ours: writer and manager, shown apart). Variants take turns, medians are
// printed, and every run is checked: both sides must hold the same rows.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	repeats := flag.Int("repeats", 3, "runs of each variant")
	scale := flag.Float64("scale", 1, "multiplies the number of rows")
	footprintOnly := flag.Bool("footprint", false, "only what an idle cluster costs")
	flag.Parse()
	if err := run(*repeats, *scale, *footprintOnly); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(repeats int, scale float64, footprintOnly bool) error {
	if repeats < 1 || scale <= 0 {
		return errors.New("repeats and scale must be positive")
	}
	if !footprintOnly {
		if err := throughput(repeats, scale); err != nil {
			return err
		}
	}
	return footprint()
}
