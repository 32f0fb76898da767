//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{9, 1, 2}, spread{2, 1, 9}},
		{[]float64{4, 1, 2, 3}, spread{2.5, 1, 4}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.values, got, c.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "16KiB": 16 << 10, "2GiB": 2 << 30, "0": 0, "-1": 0, "2GB": 0, "": 0, "9999999999GiB": 0} {
		got, err := parseSize(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
}

func sample() *result {
	r := &result{subject: subject{Scenario: "large", Work: "one file", Size: 2 << 30, Count: 1, Time: time.Now()}, Contenders: []described{{Name: "urlsession"}, {Name: "curl", Command: "curl -o f URL"}}}
	for i := range 3 {
		r.Pairs = append(r.Pairs, pair{"curl", "", usage{Wall: 1 + float64(i), CPU: 1, RSS: 30 << 20}, usage{Wall: 2, CPU: 4, RSS: 10 << 20}})
	}
	return r
}

func TestTableTellsWhichBarsAreMet(t *testing.T) {
	got := table([]*result{sample()})
	for _, want := range []string{"1.00 (0.50–1.50)", "0.25 (0.25–0.25)", "**wall ≤ 0.80× missed: 1.00**", "cpu ≤ 0.75× met", "**rss ≤ 24 MiB missed: 30.0**", "`curl -o f URL`"} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
}

func TestRecordKeepsWhatOtherRunsFound(t *testing.T) {
	dir := t.TempDir()
	doc := filepath.Join(dir, "docs", "benchmarks.md")
	b := book{dir, doc}
	first, second := sample(), sample()
	second.Scenario = "small"
	if err := errors.Join(b.keep("large", first), b.write(), b.keep("small", second), b.write()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(doc)
	if err != nil || strings.Count(string(text), "| large, 2 GiB |") != 1 || strings.Count(string(text), "| small, 2 GiB |") != 1 {
		t.Errorf("%v\n%s", err, text)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "large.json"))
	var back result
	if err := errors.Join(err, json.Unmarshal(raw, &back)); err != nil || len(back.Pairs) != 3 {
		t.Errorf("%v: %s", err, raw)
	}
}

func TestBetweenNeedsItsMarks(t *testing.T) {
	if _, err := between("no marks", partTable, "x"); err == nil {
		t.Error("no error")
	}
}

// A child is measured alone: what this process weighs is not counted as the child's.
func TestMeasure(t *testing.T) {
	if err := adoptOrphans(); err != nil {
		t.Skip(err)
	}
	ballast := make([]byte, 64<<20)
	for i := range ballast {
		ballast[i] = 1
	}
	stderr := filepath.Join(t.TempDir(), "stderr")
	u, err := measure(t.Context(), []string{"sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"}, os.Environ(), stderr)
	if err != nil || u.RSS == 0 || u.RSS > int64(len(ballast))/2 || u.CPU <= 0 || u.Wall <= 0 || ballast[1] != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err = measure(t.Context(), []string{"sh", "-c", "echo broken >&2; exit 3"}, os.Environ(), stderr); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err = measure(ctx, []string{"sleep", "60"}, os.Environ(), stderr); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, size := range []int64{0, 1, 256 << 10, 1<<20 + 1} {
		if err := errors.Join(randomFile(a, 1, size), randomFile(b, 1, size)); err != nil {
			t.Fatal(err)
		}
		if err := sameFile(a, b); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		f, err := os.OpenFile(b, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("x")
		f.Close()
		if sameFile(a, b) == nil || sameFile(b, a) == nil {
			t.Errorf("%d bytes and one more are the same", size)
		}
	}
}

func TestQuantities(t *testing.T) {
	r := &result{subject: subject{Scenario: "queue", Work: "tasks", Size: 1 << 10, Count: 1_000_000, Time: time.Now()}}
	for i := range 3 {
		r.Runs = append(r.Runs, map[string]float64{"enqueued by 10,000": 40_000 + float64(i), "peak memory": 300, "memory at rest": 100.25})
	}
	got := table([]*result{sample(), r})
	for _, want := range []string{
		"| large, 2 GiB | curl |",
		"| queue, 1000000 × 1 KiB | enqueued by 10,000 | 3 | 40001 /s (40000–40002) | ≥ 30000 /s met |",
		"| peak memory | 3 | 300 MiB (300–300) | **≤ 256 MiB missed** |",
		"| memory at rest | 3 | 100 MiB (100–100) |  |",
		"- **queue**, tasks (",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "first byte") {
		t.Error("the table tells what was not measured")
	}
}

// Every quantity is named once, or a run's record would lose one.
func TestScenariosAreWhole(t *testing.T) {
	for _, s := range scenarios {
		if (s.prepare == nil) == (s.observe == nil) || s.runs == 0 || s.count == 0 {
			t.Errorf("%s: it must have peers or quantities, a count and a number of runs", s.name)
		}
		names := make(map[string]bool)
		for _, q := range s.quantities {
			if names[q.name] {
				t.Errorf("%s has %q twice", s.name, q.name)
			}
			names[q.name] = true
		}
	}
}

func TestProc(t *testing.T) {
	pid := os.Getpid()
	now, peak, err := memory(pid)
	if err != nil || now < 1<<20 || peak < now {
		t.Errorf("memory: %d, peak %d, %v", now, peak, err)
	}
	before, err := cpu(pid)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		if after, err := cpu(pid); err != nil || after > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a loop takes no CPU")
		}
	}
	if n, err := wakeUpsASecond(t.Context(), pid, 10*time.Millisecond); err != nil || n <= 0 {
		t.Errorf("woken %v times, %v: at least the one that asks was", n, err)
	}
	if _, _, err := memory(0); err == nil {
		t.Error("process 0 has memory")
	}
}

func TestOriginHolds(t *testing.T) {
	o, err := serveOrigin(holding(10))
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	if err := fetch(o.url+"/now/1", 10); err != nil {
		t.Error(err)
	}
	held := make(chan error)
	go func() { held <- fetch(o.url+"/held/1", 10) }()
	if err := o.busy(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-held:
		t.Fatalf("it was not held: %v", err)
	case <-o.first:
	}
	o.release()
	if err := <-held; err != nil {
		t.Error(err)
	}
}

func fetch(url string, want int) error {
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return errors.Join(err, expect(resp.StatusCode, len(body), want))
}

func TestDiskRenewsItsFolders(t *testing.T) {
	d, err := openDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for range 2 {
		if err := errors.Join(randomFile(d.path("out", "f"), 1, 2<<20), randomFile(d.path("state", "f"), 1, 10)); err != nil {
			t.Fatal(err)
		}
		if err := d.renew(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"out", "state"} {
			if entries, err := os.ReadDir(d.path(name)); err != nil || len(entries) > 0 {
				t.Errorf("%s holds %v, %v", name, entries, err)
			}
		}
	}
	if info, err := os.Stat(d.path("out-2", "f")); err != nil || info.Size() != 0 {
		t.Errorf("%v, %v: it is to be there without its space", info, err)
	}
}
