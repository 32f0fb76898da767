//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"
)

// chart is lines over two axes, the vertical one from 0.
type chart struct {
	title, x, y string
	log         bool // the horizontal axis is by powers of ten; else it begins at 0
	dots        bool // the points are seen
	lines       []line
}

type line struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// The colours of a chart's lines, by Paul Tol, who chose them to be told apart by everybody.
var lineColours = []string{"#4477aa", "#ee6677", "#228833", "#aa3377"}

func (c chart) svg() string {
	const (
		left, right, top, bottom = 70, 20, 50, 60
		width, height            = 700, 260
	)
	var least, most point
	least.x = math.Inf(1)
	for _, l := range c.lines {
		for _, p := range l.points {
			least.x, most.x, most.y = min(least.x, p.x), max(most.x, p.x), max(most.y, p.y)
		}
	}
	if !c.log {
		least.x = 0
	}
	step := roundStep(most.y)
	ceiling := step * math.Ceil(max(most.y/step, 1))
	at := func(p point) (x, y float64) {
		part := (p.x - least.x) / max(most.x-least.x, 1e-9)
		if c.log {
			part = math.Log(p.x/least.x) / max(math.Log(most.x/least.x), 1e-9)
		}
		return left + part*width, top + (1-p.y/ceiling)*height
	}
	var b strings.Builder
	begin(&b, left+width+right, top+height+bottom, c.title, ".grid{stroke:#ddd;fill:none}.line{stroke-width:2;fill:none}")
	for v := 0.; v <= ceiling*1.001; v += step {
		_, y := at(point{least.x, v})
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fh%d"/><text class="number" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y, width, left-8, y+4, number(v))
	}
	for _, v := range c.ticks(least.x, most.x) {
		x, _ := at(point{v, 0})
		fmt.Fprintf(&b, `<text class="number" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, top+height+18, thousands(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+width/2, top+height+42, c.x)
	fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", 10, top-32, c.y)
	for i, l := range c.lines {
		colour := lineColours[i%len(lineColours)]
		var path strings.Builder
		for n, p := range l.points {
			x, y := at(p)
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(n, 1)], x, y)
			if c.dots {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x, y, colour)
			}
		}
		fmt.Fprintf(&b, `<path class="line" stroke="%s" d="%s"/>`+"\n", colour, &path)
		x := left + 10 + i*(width/max(len(c.lines), 1))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", x, top-22, colour, x+18, top-11, l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// ticks are where the horizontal axis is numbered.
func (c chart) ticks(least, most float64) (all []float64) {
	if c.log {
		for v := math.Pow(10, math.Ceil(math.Log10(least))); v <= most*1.001; v *= 10 {
			all = append(all, v)
		}
		return all
	}
	for v, step := 0., roundStep(most); v <= most; v += step {
		all = append(all, v)
	}
	return all
}

// roundStep is a round number of which four to ten make up most.
func roundStep(most float64) float64 {
	if most <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{.1, .2, .25, .5, 1} {
		if most/(step*part) <= 10 {
			return step * part
		}
	}
	return step
}

// thousands writes a number with commas where it is long.
func thousands(v float64) string {
	s := number(v)
	for i := len(s) - 3; i > 0 && v >= 1000; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// begin writes what every plot begins with: its size, its title, the looks of text and some more, and a white ground.
func begin(b *strings.Builder, width, height int, title, looks string) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img">`+"\n", width, height)
	fmt.Fprintf(b, "<title>%s</title>\n<style>text{font:13px sans-serif;fill:#222}.number{font-size:11px}%s</style>\n", title, looks)
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
}
