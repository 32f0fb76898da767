//go:build linux

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// quantity is something that a scenario measures beside time and memory, and the bar that it asks for.
type quantity struct {
	name, unit string
	limit      float64 // at most, or at least, so much; 0: it is told only
	atLeast    bool
}

// text is a value with the unit, to three digits; large ones whole.
func (q quantity) text(v float64) string { return strings.TrimSpace(number(v) + " " + q.unit) }

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

// tableOfRuns is a row a quantity of each scenario, and where there are peers also of each of them.
func tableOfRuns(b *strings.Builder, results []*result) {
	b.WriteString("| scenario | measured | runs | median (least–most) | bar |\n")
	b.WriteString("| --- | --- | --- | --- | --- |\n")
	for _, r := range results {
		for _, q := range scenarioOf(r.Scenario).quantities {
			for _, o := range r.observed() {
				var values []float64
				for _, run := range o.runs {
					if v, ok := run[q.name]; ok {
						values = append(values, v)
					}
				}
				if len(values) == 0 {
					continue
				}
				s, name, verdict := spreadOf(values), q.name, q.verdict(spreadOf(values).median)
				if o.of != "" {
					name += ": " + o.of
				}
				if o.of != "" && o.of != us {
					verdict = ""
				}
				fmt.Fprintf(b, "| %s, %s | %s | %d | %s (%s–%s) | %s |\n", r.Scenario, amount(r.Size, r.Count), name, len(values),
					q.text(s.median), number(s.min), number(s.max), verdict)
			}
		}
	}
}

// us is urlsession among the contenders.
const us = "urlsession"

// observed is what was seen of one contender, or of a scenario without peers.
type observed struct {
	of   string // "": there are no peers
	runs []map[string]float64
}

// observed is what was seen in all runs, by contender, in the order in which they first ran.
func (r *result) observed() (all []observed) {
	if len(r.Runs) > 0 {
		return []observed{{runs: r.Runs}}
	}
	add := func(of string, u usage) {
		if u.Saw == nil {
			return
		}
		i := slices.IndexFunc(all, func(o observed) bool { return o.of == of })
		if i < 0 {
			i, all = len(all), append(all, observed{of: of})
		}
		all[i].runs = append(all[i].runs, u.Saw)
	}
	for _, p := range r.Pairs {
		add(cmp.Or(p.Instead, us), p.Ours)
		add(p.Peer, p.Theirs)
	}
	return all
}
