//go:build linux

package main

import (
	"fmt"
	"strings"
)

// svg draws the ratios of wall time and CPU to each peer as bars from 0, whiskers from the least to the most, and a line at
// 1, where the two would be equal.
func svg(results []*result) string {
	const (
		left, width, right = 210, 520, 60
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
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img">`+"\n", left+width+right, y+30)
	b.WriteString("<title>urlsession / peer: wall time and CPU, medians of pairs; less is better</title>\n" +
		"<style>text{font:13px sans-serif;fill:#222}.number{font-size:11px}.wall{fill:#4477aa}.cpu{fill:#ccbb44}" +
		".whisker{stroke:#222;stroke-width:1.5;fill:none}.one{stroke:#aa3377;stroke-dasharray:4 3}</style>\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", left+width+right, y+30)
	fmt.Fprintf(&b, `<rect class="wall" x="%d" y="14" width="12" height="12"/><text x="%d" y="25">wall time</text>`+"\n", left, left+18)
	fmt.Fprintf(&b, `<rect class="cpu" x="%d" y="14" width="12" height="12"/><text x="%d" y="25">CPU; urlsession / peer, less is better</text>`+"\n", left+100, left+118)
	b.WriteString(rows.String())
	fmt.Fprintf(&b, `<path class="one" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">1: equal</text>`+"\n", x(1), top-10, y, x(1), y+18)
	b.WriteString("</svg>\n")
	return b.String()
}
