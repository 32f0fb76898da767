//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"testing"
)

// Each peer runs in turn with urlsession, or with who stands in its place, as often as it is to; what the server saw of each run is
// that run's.
func TestCompare(t *testing.T) {
	if err := adoptOrphans(); err != nil {
		t.Skip(err)
	}
	l := &lab{dir: t.TempDir(), disk: &disk{dir: t.TempDir()}, env: os.Environ()}
	for _, folder := range []string{"received", "out"} {
		if err := os.Mkdir(l.path(folder), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	does := func(name, word string) contender {
		return contender{name: name, argv: []string{"sh", "-c", "echo " + word + " >" + l.path("out", "f")}}
	}
	other, rare := does("other", "other"), does("rare", "rare")
	rare.instead, rare.pairs = &other, 1
	begun, closed, checked := 0, false, 0
	w := workload{
		ours: does(us, "ours"), peers: []contender{does("peer", "peer"), {name: "none", argv: []string{"no such program"}}, rare},
		check: func() error { checked++; return nil },
		close: func() { closed = true },
		before: func(context.Context) error {
			begun++
			if _, err := os.Stat(l.path("out", "f")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a run begins with what the one before has left, %v", err)
			}
			return nil
		},
		after: func(_ context.Context, u *usage) error {
			text, err := os.ReadFile(l.path("out", "f"))
			u.Saw = map[string]float64{string(text): 1}
			return err
		},
	}
	s := scenario{name: "test", prepare: func(context.Context, *lab, int64, int) (workload, error) { return w, nil }}
	r := new(result)
	if err := l.compare(t.Context(), s, r, 2); err != nil {
		t.Fatal(err)
	}
	if !closed || checked != 4 || begun != 4+2*3 || len(r.Contenders) != 4 {
		t.Errorf("closed: %v, checked %d, begun %d, contenders %+v", closed, checked, begun, r.Contenders)
	}
	want := []struct{ peer, instead, ours, theirs string }{{"peer", "", "ours\n", "peer\n"}, {"peer", "", "ours\n", "peer\n"}, {"rare", "other", "other\n", "rare\n"}}
	if len(r.Pairs) != len(want) {
		t.Fatalf("%+v", r.Pairs)
	}
	for i, p := range r.Pairs {
		if w := want[i]; p.Peer != w.peer || p.Instead != w.instead || p.Ours.Saw[w.ours] != 1 || p.Theirs.Saw[w.theirs] != 1 {
			t.Errorf("pair %d: %+v, want %+v", i, p, w)
		}
	}
}
