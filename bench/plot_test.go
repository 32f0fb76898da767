//go:build linux

package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func isXML(t *testing.T, name, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%s is no XML: %v", name, err)
		}
	}
}

// curves are records of what is drawn over a length and over time.
func curves() []*result {
	queue := &result{subject: subject{Scenario: "queue", Size: 1 << 10, Count: 1_000_000}}
	for run := range 3 {
		seen := make(map[string]float64)
		for _, n := range queueLengths {
			seen[costAt(n)], seen[costBeside(n)] = 1.5+float64(run), 1
		}
		queue.Runs = append(queue.Runs, seen)
	}
	capped := &result{subject: subject{Scenario: "capped", Size: 1 << 30, Count: 1}}
	capped.Contenders = []described{{Name: us}, {Name: "aria2c"}}
	capped.Pairs = []pair{{Peer: "aria2c", Ours: usage{Wall: 1, Fresh: []int64{1e6, 18e6, 18e6}}, Theirs: usage{Wall: 1, Fresh: []int64{9e6, 9e6}}}}
	stalls := &result{subject: subject{Scenario: "slow-tail-stalls", Size: 1 << 30, Count: 1}}
	stalls.Contenders = []described{{Name: us}, {Name: evenly}, {Name: ariaEvenly}}
	stalls.Pairs = []pair{
		{Peer: evenly, Ours: usage{Wall: 1, Fresh: []int64{15e6, 18e6}}, Theirs: usage{Wall: 1, Fresh: []int64{18e6}}},
		{Peer: ariaEvenly, Instead: "aria2c", Ours: usage{Wall: 1, Fresh: []int64{15e6, 15e6, 0, 0, 1e6}}, Theirs: usage{Wall: 1, Fresh: []int64{18e6}}},
	}
	return []*result{sample(), queue, capped, stalls}
}

func TestPlots(t *testing.T) {
	dir := t.TempDir()
	b := book{dir, filepath.Join(dir, "page.md")}
	for _, r := range curves() {
		if err := b.keep(r.Scenario, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(b.doc)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{
		"page.svg":                  {"large / curl", "capped / aria2c"},
		"page-queue.svg":            {">1,000<", ">1,000,000<", ">through the queue<", ">ms of CPU a task<"},
		"page-capped.svg":           {">urlsession<", ">aria2c<", ">180<"},
		"page-slow-tail-stalls.svg": {"one connection in six stalls"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		isXML(t, file, string(text))
		for _, want := range want {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q:\n%s", file, want, text)
			}
		}
		if !strings.Contains(string(page), "]("+file+")") {
			t.Errorf("the page does not show %s", file)
		}
	}
}

// A line's points stand where the axes say: the median of the runs, and time and length from left to right.
func TestCurvesHaveWhatWasMeasured(t *testing.T) {
	all := curves()
	c := curve(all[1])
	if got := c.lines[0].points; len(got) != 4 || got[3] != (point{1_000_000, 2.5}) || c.lines[1].points[0] != (point{1_000, 1}) {
		t.Errorf("%+v", c.lines)
	}
	c = curve(all[2])
	if got := c.lines[0].points; len(got) != 3 || got[2] != (point{.2, 180}) || len(c.lines[1].points) != 2 {
		t.Errorf("%+v", c.lines)
	}
	c = curve(all[3])
	if got := c.lines[1].points; len(c.lines[0].points) != 2 || len(got) != 5 || got[4] != (point{.4, 10}) {
		t.Errorf("%+v", c.lines)
	}
	svg := chart{log: true, lines: []line{{"l", []point{{10, 0}, {100, 5}, {1000, 10}}}}}.svg()
	if !strings.Contains(svg, `d="M70.0 310.0L420.0 180.0L770.0 50.0"`) {
		t.Errorf("the line goes elsewhere:\n%s", svg)
	}
	if c := curve(&result{subject: subject{Scenario: "queue"}}); len(plots([]*result{{subject: subject{Scenario: "queue"}}})) != 1 || len(c.lines[0].points) != 0 {
		t.Error("what was not measured is drawn")
	}
}

// What was seen of peers stands beside ours, whose bar alone counts.
func TestQuantitiesOfPeers(t *testing.T) {
	r := &result{subject: subject{Scenario: "capped", Size: 1 << 30, Count: 1}, Contenders: []described{{Name: us}, {Name: "aria2c"}}}
	for i := range 3 {
		see := func(v float64) usage { return usage{Wall: 1, Saw: map[string]float64{shareOfSix.name: v}} }
		r.Pairs = append(r.Pairs, pair{Peer: "aria2c", Ours: see(.9 + float64(i)/100), Theirs: see(.5)},
			pair{Peer: ariaEvenly, Instead: "aria2c", Ours: see(.1), Theirs: see(.5)})
	}
	got := table([]*result{r})
	for _, want := range []string{
		"| capped, 1 GiB | rate, to that of six connections: urlsession | 3 | 0.91 × (0.9–0.92) | **≥ 0.95 × missed** |",
		"| capped, 1 GiB | rate, to that of six connections: aria2c | 6 | 0.3 × (0.1–0.5) |  |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
}
