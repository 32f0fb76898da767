//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// subject is what a record is of, and on what it was taken.
type subject struct {
	Scenario string    `json:"scenario"`
	Work     string    `json:"work"`
	Size     int64     `json:"sizeBytes"`
	Count    int       `json:"count"`
	Time     time.Time `json:"time"`
	Machine  string    `json:"machine"`
	Go       string    `json:"go"`
}

// result is a scenario's raw record, as bench/results keeps it.
type result struct {
	subject
	Contenders []described `json:"contenders,omitempty"` // urlsession first
	Pairs      []pair      `json:"pairs,omitempty"`      // in the order in which they ran

	// Of a scenario without peers, the quantities of each run by their names.
	Runs []map[string]float64 `json:"runs,omitempty"`
}

type described struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Command string `json:"command"`
}

// pair is urlsession and one peer, the one right after the other.
type pair struct {
	Peer    string `json:"peer"`
	Instead string `json:"instead,omitempty"` // who ran in urlsession's place; "": nobody
	Ours    usage  `json:"urlsession"`
	Theirs  usage  `json:"theirs"`
}

func newSubject(s scenario, size int64, count int) subject {
	return subject{Scenario: s.name, Work: s.work, Size: size, Count: count,
		Time: time.Now().UTC().Truncate(time.Second), Machine: machine(), Go: runtime.Version()}
}

// on says when and where it was taken.
func (s subject) on() string {
	return fmt.Sprintf("%s, %s, %s", s.Time.Format(time.DateOnly), s.Machine, s.Go)
}

// machine says what may matter of this one, and nothing that tells which one it is.
func machine() string {
	var model string
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = ", " + strings.TrimSpace(value)
			break
		}
	}
	version, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	kernel, _, _ := strings.Cut(string(version), "-")
	return fmt.Sprintf("%d cores%s, Linux %s", runtime.NumCPU(), model, strings.TrimSpace(kernel))
}

// spread is a figure over all pairs.
type spread struct{ median, min, max float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return spread{}
	}
	return spread{median: (v[(n-1)/2] + v[n/2]) / 2, min: v[0], max: v[n-1]}
}

// comparison is what the pairs with one peer say.
type comparison struct {
	peer         string
	pairs        int
	ours, theirs map[string]spread // by figure
	ratio        map[string]spread // of each pair, ours / theirs
}

var figures = []string{"wall", "cpu", "rss"}

func (u usage) figure(name string) float64 {
	switch name {
	case "wall":
		return u.Wall
	case "cpu":
		return u.CPU
	case "rss":
		return float64(u.RSS)
	}
	panic("no figure " + name)
}

func (r *result) comparisons() (all []comparison) {
	if len(r.Contenders) == 0 {
		return nil
	}
	for _, c := range r.Contenders[1:] {
		pairs := slices.DeleteFunc(slices.Clone(r.Pairs), func(p pair) bool { return p.Peer != c.Name })
		if len(pairs) == 0 {
			continue
		}
		cmp := comparison{peer: c.Name, pairs: len(pairs), ours: map[string]spread{}, theirs: map[string]spread{}, ratio: map[string]spread{}}
		for _, f := range figures {
			var ours, theirs, ratio []float64
			for _, p := range pairs {
				a, b := p.Ours.figure(f), p.Theirs.figure(f)
				ours, theirs = append(ours, a), append(theirs, b)
				ratio = append(ratio, a/max(b, 1e-9))
			}
			cmp.ours[f], cmp.theirs[f], cmp.ratio[f] = spreadOf(ours), spreadOf(theirs), spreadOf(ratio)
		}
		all = append(all, cmp)
	}
	return all
}

// scenarioOf is the scenario of a record; the zero one where it is no more.
func scenarioOf(name string) scenario {
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	if i < 0 {
		return scenario{}
	}
	return scenarios[i]
}

// verdict says how a scenario's bars for one peer stand; "" where it has none for it.
func verdict(name string, c comparison) string {
	bars := scenarioOf(name).bars
	var said []string
	for n, b := range bars {
		var got, limit string
		met := false
		switch {
		case b.peer == c.peer:
			r := c.ratio[b.figure].median
			met, got, limit = r <= b.limit, fmt.Sprintf("%.2f", r), fmt.Sprintf("%.2f×", b.limit)
		case b.peer == "" && n > 0 && bars[n-1].peer == c.peer: // stands with the peer before it
			v := c.ours[b.figure].median
			met, got, limit = v <= b.limit, fmt.Sprintf("%.1f", v/(1<<20)), fmt.Sprintf("%.0f MiB", b.limit/(1<<20))
		default:
			continue
		}
		if met {
			said = append(said, fmt.Sprintf("%s ≤ %s met", b.figure, limit))
		} else {
			said = append(said, fmt.Sprintf("**%s ≤ %s missed: %s**", b.figure, limit, got))
		}
	}
	return strings.Join(said, ", ")
}

// table is the results in Markdown, the commands below.
func table(results []*result) string {
	var b strings.Builder
	compared, alone := false, false
	for _, r := range results {
		compared, alone = compared || len(r.Pairs) > 0, alone || len(r.observed()) > 0
	}
	if compared {
		tableOfPairs(&b, results)
	}
	if compared && alone {
		b.WriteByte('\n')
	}
	if alone {
		tableOfRuns(&b, results)
	}
	b.WriteString("\nThe commands, and on what they ran:\n\n")
	for _, r := range results {
		fmt.Fprintf(&b, "- **%s**, %s (%s)\n", r.Scenario, r.Work, r.on())
		for _, c := range r.Contenders {
			fmt.Fprintf(&b, "  - `%s`", c.Command)
			if c.Version != "" {
				fmt.Fprintf(&b, " (%s)", c.Version)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func tableOfPairs(b *strings.Builder, results []*result) {
	b.WriteString("| scenario | against | pairs | wall | CPU | peak memory | wall ratio | CPU ratio | bar |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range results {
		for _, c := range r.comparisons() {
			fmt.Fprintf(b, "| %s, %s | %s | %d | %.2f : %.2f s | %.2f : %.2f s | %.1f : %.1f MiB | %s | %s | %s |\n",
				r.Scenario, amount(r.Size, r.Count), c.peer, c.pairs,
				c.ours["wall"].median, c.theirs["wall"].median, c.ours["cpu"].median, c.theirs["cpu"].median,
				c.ours["rss"].median/(1<<20), c.theirs["rss"].median/(1<<20),
				c.ratio["wall"], c.ratio["cpu"], verdict(r.Scenario, c))
		}
	}
}

// String is the median, with the least and the most.
func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median, s.min, s.max) }

// amount is "2 GiB" or "10000 × 16 KiB".
func amount(size int64, count int) string {
	s := fmt.Sprintf("%d B", size)
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if u := int64(1) << (10 * (i + 1)); size >= u {
			s = fmt.Sprintf("%.4g %s", float64(size)/float64(u), unit)
		}
	}
	if count > 1 {
		return fmt.Sprintf("%d × %s", count, s)
	}
	return s
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
