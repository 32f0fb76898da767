//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// plot is a picture of records.
type plot struct {
	suffix string // of its file's name
	title  string
	svg    string
}

// plots are those that the records have the figures of.
func plots(results []*result) []plot {
	all := []plot{{title: "Ratios to the peers", svg: ratios(results)}}
	for _, r := range results {
		if c := curve(r); len(c.lines) > 0 && len(c.lines[0].points) > 1 {
			all = append(all, plot{"-" + r.Scenario, c.title, c.svg()})
		}
	}
	return all
}

// curve is what a scenario's record has over a length or a time; one without lines where it has nothing.
func curve(r *result) chart {
	switch r.Scenario {
	case "queue":
		return costs(r)
	case "capped":
		return rates(r, "The rate over time, six connections of 30 MB/s", "aria2c", "")
	case "slow-tail-stalls":
		return rates(r, "The same, where one connection in six stalls", evenly, ariaEvenly)
	}
	return chart{}
}

// costs are a task's by the length of the queue that it passes.
func costs(r *result) chart {
	c := chart{title: "What a task costs, by the length of the queue", x: "tasks that wait", y: "ms of CPU a task", log: true, dots: true}
	long, short := line{name: "through the queue"}, line{name: "through one of 1,000, in turn with it"}
	for _, n := range queueLengths {
		var at, beside []float64
		for _, run := range r.Runs {
			if v, ok := run[costAt(n)]; ok {
				at, beside = append(at, v), append(beside, run[costBeside(n)])
			}
		}
		if len(at) > 0 {
			long.points = append(long.points, point{float64(n), spreadOf(at).median})
			short.points = append(short.points, point{float64(n), spreadOf(beside).median})
		}
	}
	c.lines = []line{long, short}
	return c
}

// rates are what is new to urlsession and to aria2 in each tenth of a second: in the first pair with peer, or, where aria2 has pairs
// with another peer, its own, in the first of those.
func rates(r *result, title, peer, ariaPeer string) chart {
	c := chart{title: title, x: "seconds from the first request on", y: "MB/s"}
	first := func(peer string) (p pair) {
		if i := slices.IndexFunc(r.Pairs, func(p pair) bool { return p.Peer == peer }); i >= 0 {
			p = r.Pairs[i]
		}
		return p
	}
	aria := first(peer).Theirs
	if ariaPeer != "" {
		aria = first(ariaPeer).Ours
	}
	c.lines = []line{{us, overTime(first(peer).Ours.Fresh)}, {"aria2c", overTime(aria.Fresh)}}
	return c
}

// overTime are MB/s, by seconds, of what came in each tenth of a second.
func overTime(fresh []int64) (all []point) {
	for tenth, n := range fresh {
		all = append(all, point{float64(tenth) / 10, float64(n) * 10 / 1e6})
	}
	return all
}

// ratios draws those of wall time and CPU to each peer as bars from 0, whiskers from the least to the most, and a line at 1,
// where the two would be equal.
func ratios(results []*result) string {
	const (
		left, width, right = 290, 520, 60
		row, bar, top      = 44, 14, 56
		most               = 1.6 // what is more is cut, its number tells
	)
	x := func(ratio float64) float64 { return left + min(ratio, most)/most*width }
	var rows strings.Builder
	y := top
	for _, r := range results {
		for _, c := range r.comparisons() {
			fmt.Fprintf(&rows, `<text x="%d" y="%d" text-anchor="end">%s / %s</text>`+"\n", left-10, y+bar+5, r.Scenario, c.peer)
			for i, f := range []string{"wall", "cpu"} {
				s, at := c.ratio[f], y+i*(bar+2)
				fmt.Fprintf(&rows, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`+"\n", f, left, at, x(s.median)-left, bar)
				fmt.Fprintf(&rows, `<path class="whisker" d="M%.1f %.1fH%.1f"/>`+"\n", x(s.min), float64(at)+bar/2., x(s.max))
				fmt.Fprintf(&rows, `<text class="number" x="%.1f" y="%d">%.2f</text>`+"\n", x(s.max)+6, at+bar-3, s.median)
			}
			y += row
		}
	}
	var b strings.Builder
	begin(&b, left+width+right, y+30, "urlsession / peer: wall time and CPU, medians of pairs; less is better",
		".wall{fill:#4477aa}.cpu{fill:#ccbb44}.whisker{stroke:#222;stroke-width:1.5;fill:none}.one{stroke:#aa3377;stroke-dasharray:4 3}")
	fmt.Fprintf(&b, `<rect class="wall" x="%d" y="14" width="12" height="12"/><text x="%d" y="25">wall time</text>`+"\n", left, left+18)
	fmt.Fprintf(&b, `<rect class="cpu" x="%d" y="14" width="12" height="12"/><text x="%d" y="25">CPU; urlsession / peer, less is better</text>`+"\n", left+100, left+118)
	b.WriteString(rows.String())
	fmt.Fprintf(&b, `<path class="one" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">1: equal</text>`+"\n", x(1), top-10, y, x(1), y+18)
	b.WriteString("</svg>\n")
	return b.String()
}
