package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Geometry of the plot, in pixels.
const (
	plotWidth  = 900
	labelWidth = 300
	scaleWidth = 380 // of native's cost, 1.0
	barHeight  = 11
	barStep    = 14
	groupGap   = 14
	topMargin  = 62
	shareMax   = 1.1 // longer bars are cut off
)

// plotStyle has colours for light and dark surroundings; the plot has no
// background of its own.
const plotStyle = `text { font: 12px system-ui, sans-serif; fill: #24292f }
.small { font-size: 10.5px; fill: #57606a }
.axis { stroke: #8c959f; stroke-width: 1 }
.target { stroke: #cf222e; stroke-width: 2 }
.a { fill: #0969da } .b { fill: #1a7f37 } .c { fill: #9a6700 }
@media (prefers-color-scheme: dark) {
 text { fill: #e6edf3 } .small { fill: #9198a1 } .axis { stroke: #656c76 } .target { stroke: #ff7b72 }
 .a { fill: #4493f8 } .b { fill: #3fb950 } .c { fill: #d29922 }
}`

// bar is one share of native binary's cost; target 0 is none.
type bar struct {
	class         string
	share, target float64
	label         string
}

// plot draws what each workload costs with us as a share of what it costs with
// native binary: the shorter the bar the better, a tick is the target.
func plot(t *throughputResult) string {
	var b strings.Builder
	y := topMargin
	for _, w := range t.Workloads {
		bars := barsOf(w)
		if len(bars) == 0 {
			continue
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-10, y+len(bars)*barStep/2+3, html.EscapeString(w.Title))
		for _, one := range bars {
			b.WriteString(one.draw(y))
			y += barStep
		}
		y += groupGap
	}
	height := y + 4
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img">`+"\n",
		plotWidth, height)
	fmt.Fprintf(&out, "<title>Cost of bdr as a share of native logical replication, binary</title>\n<style>%s</style>\n", plotStyle)
	out.WriteString(legend())
	out.WriteString(axis(height))
	return out.String() + b.String() + "</svg>\n"
}

func barsOf(w workloadResult) []bar {
	native, ours := w.variant("native binary"), w.variant("bdr")
	if native == nil || ours == nil {
		return nil
	}
	if ours.Lag != nil {
		return []bar{
			{"a", ours.Lag.Median / native.Lag.Median, w.Target.Lag, fmt.Sprintf("median %.2f ms, native %.2f", ours.Lag.Median, native.Lag.Median)},
			{"a", ours.Lag.P99 / native.Lag.P99, w.Target.Lag, fmt.Sprintf("p99 %.2f ms, native %.2f", ours.Lag.P99, native.Lag.P99)},
		}
	}
	wall := bar{"a", ours.Wall / native.Wall, 0, fmt.Sprintf("%.2fx faster, %.2f s", native.Wall/ours.Wall, ours.Wall)}
	if w.Target.Wall > 0 {
		wall.target = 1 / w.Target.Wall
	}
	return []bar{wall, cpuBar("b", ours.applying(), native.applying(), w.Target.Applier),
		cpuBar("c", ours.CPU[senderRole], native.CPU[senderRole], w.Target.Sender)}
}

func cpuBar(class string, ours, native, target float64) bar {
	return bar{class, ours / native, target, fmt.Sprintf("%.2fx, %.2f CPU s", ours/native, ours)}
}

func (b bar) draw(y int) string {
	share := min(b.share, shareMax)
	if math.IsNaN(share) {
		return ""
	}
	width := share * scaleWidth
	s := fmt.Sprintf(`<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", b.class, labelWidth, y, width, barHeight)
	edge := width
	if b.target > 0 {
		x := labelWidth + b.target*scaleWidth
		s += fmt.Sprintf(`<path class="target" d="M%.1f %dv%d"/>`+"\n", x, y-1, barHeight+2)
		if x-labelWidth > width && x-labelWidth < width+170 {
			edge = x - labelWidth // the label stands behind the tick
		}
	}
	return s + fmt.Sprintf(`<text class="small" x="%.1f" y="%d">%s</text>`+"\n", labelWidth+edge+6, y+barHeight-2, html.EscapeString(b.label))
}

func legend() string {
	var s strings.Builder
	s.WriteString(`<text x="10" y="18">Cost against native logical replication, binary (1.0): shorter is better</text>` + "\n")
	x := 10
	for _, entry := range []struct{ class, text string }{{"a", "wall time, lag"}, {"b", "applier CPU"}, {"c", "sender CPU"}} {
		fmt.Fprintf(&s, `<rect class="%s" x="%d" y="28" width="11" height="11" rx="2"/><text class="small" x="%d" y="38">%s</text>`+"\n",
			entry.class, x, x+16, entry.text)
		x += 110
	}
	fmt.Fprintf(&s, `<path class="target" d="M%d 27v13"/><text class="small" x="%d" y="38">target</text>`+"\n", x, x+8)
	return s.String()
}

func axis(height int) string {
	var s strings.Builder
	for _, share := range []float64{0, 0.5, 1} {
		x := labelWidth + share*scaleWidth
		fmt.Fprintf(&s, `<path class="axis" d="M%.1f %dV%d"/><text class="small" x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n",
			x, topMargin-6, height-6, x, topMargin-9, share)
	}
	return s.String()
}
