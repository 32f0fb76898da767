//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// quantity is something that a scenario without peers measures, and the bar that it asks for.
type quantity struct {
	name, unit string
	limit      float64 // at most, or at least, so much; 0: it is told only
	atLeast    bool
}

// text is a value with the unit, to three digits; large ones whole.
func (q quantity) text(v float64) string { return number(v) + " " + q.unit }

func number(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// verdict says how its bar stands; "" where it has none.
func (q quantity) verdict(median float64) string {
	sign, met := "≤", median <= q.limit
	if q.atLeast {
		sign, met = "≥", median >= q.limit
	}
	switch asked := sign + " " + q.text(q.limit); {
	case q.limit == 0:
		return ""
	case met:
		return asked + " met"
	default:
		return "**" + asked + " missed**"
	}
}

// tableOfRuns is a row a quantity of each scenario without peers.
func tableOfRuns(b *strings.Builder, results []*result) {
	b.WriteString("| scenario | measured | runs | median (least–most) | bar |\n")
	b.WriteString("| --- | --- | --- | --- | --- |\n")
	for _, r := range results {
		for _, q := range scenarioOf(r.Scenario).quantities {
			var values []float64
			for _, run := range r.Runs {
				if v, ok := run[q.name]; ok {
					values = append(values, v)
				}
			}
			if len(values) == 0 {
				continue
			}
			s := spreadOf(values)
			fmt.Fprintf(b, "| %s, %s | %s | %d | %s (%s–%s) | %s |\n", r.Scenario, amount(r.Size, r.Count), q.name, len(values),
				q.text(s.median), number(s.min), number(s.max), q.verdict(s.median))
		}
	}
}
