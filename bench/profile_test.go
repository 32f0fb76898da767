//go:build linux

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const pprofSaid = `File: urlsession
Type: cpu
Time: 2026-11-30 19:07:44 UTC
Duration: 611.62ms, Total samples = 250ms (40.88%)
Showing nodes accounting for 180ms, 72.00% of 250ms total
Showing top 10 nodes out of 133
      flat  flat%   sum%        cum   cum%
      80ms 32.00% 32.00%       90ms 36.00%  os.(*File).pwrite
      10ms  4.00% 36.00%       20ms  8.00%  github.com/urlsession/urlsession/internal/engine.growStack (inline)
      10ms  4.00% 40.00%       10ms  4.00%  github.com/urlsession/urlsession.(*Session).newSpec
         0     0% 40.00%       40ms 16.00%  net/http.(*persistConn).readLoop
`

func TestParseTop(t *testing.T) {
	total, top, err := parseTop(pprofSaid)
	want := []profileLine{{"32.00%", "36.00%", "os.(*File).pwrite"}, {"4.00%", "8.00%", "internal/engine.growStack"}, {"4.00%", "4.00%", "urlsession.(*Session).newSpec"}}
	if err != nil || total != "250ms" || !reflect.DeepEqual(top, want) {
		t.Errorf("%q, %q, %v", total, top, err)
	}
	for _, none := range []string{"", "Type: cpu\nDuration: 6ms, Total samples = 0 \n      flat  flat%   sum%        cum   cum%\n"} {
		if _, _, err := parseTop(none); err == nil {
			t.Errorf("%q: no error", none)
		}
	}
}

// What a process of ours leaves is what pprof reads; the page has it below the scenario's name, and keeps what stands outside the marks.
func TestProfilesAreRecorded(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(profileVariable, filepath.Join(dir, "cpu"))
	end, err := profiled()
	if err != nil {
		t.Fatal(err)
	}
	end()
	if files, err := filepath.Glob(filepath.Join(dir, "cpu.*")); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}

	b := book{dir, filepath.Join(dir, "page.md")}
	page := "before\n" + marks(partTable) + "between\n" + marks(partProfiles) + "after\n"
	if err := os.WriteFile(b.doc, []byte(page), 0o666); err != nil {
		t.Fatal(err)
	}
	p := &profile{subject: newSubject(scenarioOf("large"), 1<<30, 1)}
	if p.Total, p.Top, err = parseTop(pprofSaid); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again: nothing is there twice
		if err := b.keep(filepath.Join(profiles, "large"), p); err != nil {
			t.Fatal(err)
		}
		if err := b.write(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(b.doc)
	for _, want := range []string{"before\n", "between\n", "after\n", "### large\n", "1 GiB, of 250ms (", "| 32.00% | 36.00% | `os.(*File).pwrite` |\n"} {
		if err != nil || strings.Count(string(text), want) != 1 {
			t.Errorf("%q is not there once, %v:\n%s", want, err, text)
		}
	}
}

// A note is of a scenario that there is.
func TestProfileNotes(t *testing.T) {
	for name := range profileNotes {
		if scenarioOf(name).name == "" {
			t.Errorf("no scenario is named %q", name)
		}
	}
}
