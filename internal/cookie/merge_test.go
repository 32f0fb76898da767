package cookie

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// Several Storages on one file are changed at random and written in any order; then each has of every cookie the last
// change that anybody made.
func TestStoragesAgree(t *testing.T) {
	for seed := range uint64(3) {
		path := jarPath(t)
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			all := []*Storage{open(t, path), open(t, path), open(t, path)}
			last := map[string]string{} // by name; absent: it is gone
			for i := range 90 {
				time.Sleep(time.Duration(1 + r.IntN(300e6))) // sometimes a lazy write comes between
				s := all[r.IntN(len(all))]
				c := Cookie{Name: fmt.Sprintf("k%d", r.IntN(6)), Value: fmt.Sprint(i), Domain: "example.org", Path: "/", Expires: time.Now().Add(time.Hour)}
				switch r.IntN(8) {
				case 0, 1, 2, 3:
					if err := s.Set(c); err != nil {
						t.Fatal(err)
					}
					last[c.Name] = c.Value
				case 4, 5:
					if s.Remove(c) {
						delete(last, c.Name)
					}
				case 6:
					flush(t, s)
				case 7:
					k := r.IntN(len(all))
					if err := all[k].Close(); err != nil {
						t.Fatal(err)
					}
					all[k] = open(t, path)
				}
			}
			for range 2 {
				for _, s := range all {
					flush(t, s)
				}
			}
			pass()
			all = append(all, open(t, path))
			for i, s := range all {
				got := map[string]string{}
				for _, c := range s.All() {
					got[c.Name] = c.Value
				}
				if !maps.Equal(got, last) {
					t.Fatalf("seed %d: storage %d has %v, want %v", seed, i, got, last)
				}
			}
		})
	}
}

// What is told of removals does not grow for ever.
func TestRemovalsAreForgotten(t *testing.T) {
	path := jarPath(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		mustReceive(t, s, site, "k=1"+forDays)
		flush(t, s)
		mustReceive(t, s, site, "k=; Max-Age=0")
		flush(t, s)
		if len(s.file.removed) != 1 {
			t.Errorf("%d removals", len(s.file.removed))
		}
		time.Sleep(goneFor + 1)
		mustReceive(t, s, site, "l=1"+forDays)
		flush(t, s)
		again := open(t, path)
		if len(s.file.removed) != 0 || len(again.file.removed) != 0 {
			t.Errorf("%d and %d removals", len(s.file.removed), len(again.file.removed))
		}
		for i := range maxInAll + 10 {
			s.file.noteRemoved(0, key{name: fmt.Sprint(i)}, time.Now())
		}
		if n := len(s.file.removed); n > maxInAll {
			t.Errorf("%d removals", n)
		}
	})
}

// Two processes' cookies together may be over the limits; then all agree on what goes.
func TestMergeKeepsTheLimits(t *testing.T) {
	path := jarPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := open(t, path), open(t, path)
		for i := range 100 {
			mustReceive(t, a, site, fmt.Sprintf("a%d=1%s", i, forDays))
			mustReceive(t, b, site, fmt.Sprintf("b%d=1%s", i, forDays))
		}
		flush(t, a)
		flush(t, b)
		pass()
		want := summary(b)
		if got := summary(a); got != want || len(b.All()) != maxPerSite {
			t.Errorf("a has %d cookies, b %d", len(a.All()), len(b.All()))
		}
	})
}

func TestMergeKeepsTheLimitOfAll(t *testing.T) {
	s := New()
	now := time.Now()
	for i := range maxInAll + 10 {
		e := &entry{Cookie: Cookie{Name: fmt.Sprint(i), Domain: fmt.Sprintf("h%d.example", i/100), HostOnly: true, Path: "/", Created: now.Add(time.Duration(i))}}
		e.accessed.Store(int64(i))
		s.insert(e)
	}
	s.evictAll(now)
	if s.count.Load() != maxInAll || s.sites["h0.example"] != 90 {
		t.Errorf("%d cookies, %d of the site that was used longest ago", s.count.Load(), s.sites["h0.example"])
	}
}
