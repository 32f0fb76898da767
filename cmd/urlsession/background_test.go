package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseTaskName(t *testing.T) {
	for text, want := range map[string]taskName{
		"a/1": {"a", 1}, "com.example/films/18446744073709551615": {"com.example/films", 1<<64 - 1}, "a b/2": {"a b", 2}, "a//3": {"a/", 3},
	} {
		if got, err := parseTaskName(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "1", "/1", "a/", "a/0", "a/-1", "a/1x", "a/18446744073709551616", "a/ 1"} {
		if got, err := parseTaskName(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{
		"com.example/a-b_c:1": "com.example/a-b_c:1", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "ä": "'ä'",
	} {
		if got := shellWord(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// A table holds some rows at a time; its columns get wider and never narrower.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out, "A", "B")
	for range tableRows {
		if err := table.add("x", "ä\x1b[31m"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(table.rows); n > tableRows {
		t.Errorf("it holds %d rows", n)
	}
	if err := table.add("longer", "y"); err != nil {
		t.Fatal(err)
	}
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != tableRows+2 || lines[0] != "A  B" || lines[1] != "x  ä?[31m" || lines[len(lines)-1] != "longer  y" {
		t.Errorf("%d lines: %q … %q", len(lines), lines[:2], lines[len(lines)-1])
	}
}

// Jobs that come together are one batch; one that comes late does not hold up those before.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := make(chan job)
		go func() {
			defer close(feed)
			for range batchMost + 3 {
				feed <- job{}
			}
			time.Sleep(time.Hour)
			feed <- job{}
		}()
		start := time.Now()
		var sizes []int
		var at []time.Duration
		for batch := range batches(t.Context(), feed) {
			sizes, at = append(sizes, len(batch)), append(at, time.Since(start))
		}
		if len(sizes) != 3 || sizes[0] != batchMost || sizes[1] != 3 || sizes[2] != 1 {
			t.Errorf("batches of %v", sizes)
		}
		if at[1] != batchPause || at[2] != time.Hour {
			t.Errorf("at %v", at)
		}
	})
}

func TestBatchesEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Hour)
			cancel()
		}()
		for range batches(ctx, make(chan job)) {
			t.Error("a batch of nothing")
		}
	})
}
