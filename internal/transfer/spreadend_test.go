package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// A cancelled download leaves nothing that runs, and what has come can be gone on from: by several connections, or by one
// after the other's holes.
func TestSpreadCancel(t *testing.T) {
	for name, n := range map[string]int{"by several": 4, "by one": 1} {
		t.Run(name, func(t *testing.T) {
			spreadOver(t, 4, func(t *testing.T, d *spreading) {
				ctx, cancel := context.WithCancelCause(t.Context())
				mine := errors.New("the user had enough")
				time.AfterFunc(3*time.Second, func() { cancel(mine) })
				res, err := Run(ctx, d.a)
				if err != mine {
					t.Fatalf("error %v, want the cause", err)
				}
				if d.hosts.out != 0 {
					t.Errorf("%d connections are out", d.hosts.out)
				}
				if res.ResumeData == nil || len(res.ResumeData.Held) != 4 {
					t.Fatalf("resume data %+v", res.ResumeData)
				}
				d.a.Spec.Policy.Connections = n
				before := d.srv.Count("/f")
				d.resume(t, big, res.ResumeData)
				if n == 1 {
					want := ""
					at := res.ResumeData.Held[0][1]
					for _, r := range res.ResumeData.Held[1:] {
						want += fmt.Sprintf("%d-%d if \"v1\", ", at, r[0]-1)
						at = r[1]
					}
					want += fmt.Sprintf("%d- if \"v1\"", at)
					if got := strings.Join(strings.Split(ranges(d.srv), ", ")[before:], ", "); got != want {
						t.Errorf("asked for %s\n     want %s", got, want)
					}
				}
			})
		})
	}
}

// Another task gets a connection as soon as it wants one, each time.
func TestSpreadWanted(t *testing.T) {
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		for want := 4; want >= 0; want-- {
			time.AfterFunc(time.Second+time.Duration(5-want)*10*time.Millisecond, func() {
				d.hosts.wanted <- struct{}{}
				time.Sleep(time.Millisecond)
				d.hosts.mu.Lock()
				defer d.hosts.mu.Unlock()
				if d.hosts.out != want {
					t.Errorf("%d are out, want %d", d.hosts.out, want)
				}
				d.hosts.free-- // it is another's
			})
		}
		d.mustRun(t, big)
		if took := time.Since(d.start); took < 15*time.Second {
			t.Errorf("it took %v: more than one connection", took)
		}
	})
}

// While a host has no connection left, more are asked for now and then.
func TestSpreadLater(t *testing.T) {
	spreadOver(t, 1, func(t *testing.T, d *spreading) {
		time.AfterFunc(5*time.Second, func() {
			d.hosts.mu.Lock()
			defer d.hosts.mu.Unlock()
			if d.hosts.refused < 3 || d.hosts.refused > 6 {
				t.Errorf("asked %d times", d.hosts.refused)
			}
			d.hosts.free = 5
		})
		d.mustRun(t, big)
		if took := time.Since(d.start); took > 11*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// The limit holds for all of them together.
func TestSpreadLimit(t *testing.T) {
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		limit := new(Limit)
		limit.Set(perConnection * 2)
		d.a.Limits = Limits{limit}
		d.mustRun(t, big)
		if took := time.Since(d.start); took < 11*time.Second || took > 14*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// When nothing comes over any connection, the attempt has timed out; that others are tried does not put it off.
func TestSpreadIdle(t *testing.T) {
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		d.srv.Always("/f", StallAt(AtBody(1<<20), Forever))
		_, err := Run(t.Context(), d.a)
		wantCode(t, err, task.TimedOut)
	})
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		d.srv.Script("/f", StallAt(AtBody(1<<20), Forever))
		d.srv.Always("/f", StallAt(BeforeHeader(), Forever))
		_, err := Run(t.Context(), d.a)
		wantCode(t, err, task.TimedOut)
		if took := time.Since(d.start); took > 62*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// further has do answer requests for a range.
type further struct {
	http.RoundTripper
	do func(*http.Request) (*http.Response, error)
}

func (f further) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Range") != "" {
		return f.do(req)
	}
	return f.RoundTripper.RoundTrip(req)
}

// What a further request panics with is the caller's of Run, and the part file is the next one's.
func TestSpreadLeftByPanic(t *testing.T) {
	spreadOver(t, 4, func(t *testing.T, d *spreading) {
		rt := d.a.RoundTripper
		d.a.RoundTripper = further{rt, func(*http.Request) (*http.Response, error) { panic("the app's") }}
		func() {
			defer func() {
				if got := recover(); got != "the app's" {
					t.Errorf("panic %v", got)
				}
			}()
			_, _ = Run(t.Context(), d.a)
		}()
		d.a = again(d.a)
		d.seen = d.a.Observer.(*observer)
		d.a.RoundTripper = rt
		d.mustRun(t, big)
	})
}

// Further requests go to where the file came from, as the request that brought it, and ask nobody.
func TestSpreadAfterRedirect(t *testing.T) {
	spreadOver(t, 3, func(t *testing.T, d *spreading) {
		d.srv.Always("/old", Redirect(302, "http://other.test/f"))
		d.a.Spec.Request.URL = d.srv.URL + "/old"
		d.a.Spec.Request.Header = http.Header{"Authorization": {"Bearer secret"}, "X-Mine": {"1"}}
		d.mustRun(t, big)
		if d.srv.Count("/old") != 1 || d.hosts.peak != 2 || d.seen.told() != "redirect 302, response 200" {
			t.Errorf("%d requests for the old URL; %d taken; told %s", d.srv.Count("/old"), d.hosts.peak, d.seen.told())
		}
		for _, r := range d.srv.RequestsTo("/f") {
			if r.Header.Get("Authorization") != "" || r.Header.Get("X-Mine") != "1" || r.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("sent %v", r.Header)
			}
		}
	})
}

// alone fails when it is called by two at once.
type alone struct {
	*observer
	t    *testing.T
	busy atomic.Bool
}

func (o *alone) Received(total, expected int64) {
	if o.busy.Swap(true) {
		o.t.Error("called by two at once")
	}
	time.Sleep(time.Millisecond)
	o.observer.Received(total, expected)
	o.busy.Store(false)
}

func TestSpreadTellsOneByOne(t *testing.T) {
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		d.a.Observer = &alone{observer: d.seen, t: t}
		d.mustRun(t, big)
	})
}

// A disk that takes nothing more ends all.
func TestSpreadDiskFails(t *testing.T) {
	spreadOver(t, 4, func(t *testing.T, d *spreading) {
		time.AfterFunc(2*time.Second, func() {
			if err := os.RemoveAll(filepath.Dir(d.a.Spec.Download.Path)); err != nil {
				t.Error(err)
			}
		})
		_, err := Run(t.Context(), d.a)
		if err == nil {
			t.Error("a file in a folder that is gone")
		}
	})
}

// Cancelled at any moment, again and again, it goes on from what it had, and is whole in the end.
func TestSpreadCancelledOften(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		spreadOver(t, 5, func(t *testing.T, d *spreading) {
			d.srv.Publish("/f", Resource{Content: brief, ETag: `"v1"`, Digests: []Digest{ReprDigest("sha-256")}})
			var requests atomic.Int32
			d.srv.Always("/f", When(func(*http.Request) bool { return requests.Add(1)%5 == 0 }, Truncate(rnd.Int64N(1<<20))))
			held := int64(0)
			for n := 0; ; n++ {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(rnd.IntN(900))*time.Millisecond, context.Canceled)
				res, err := Run(ctx, d.a)
				cancel()
				if err == nil {
					wantFile(t, res, err, brief)
					return
				}
				if seen := d.seen.received; len(seen) > 0 && (!slices.IsSorted(seen) || seen[0] < held || seen[len(seen)-1] > brief.Size) {
					t.Fatalf("seed %d: it held %d bytes, and received %v", seed, held, seen)
				}
				if d.hosts.out != 0 {
					t.Fatalf("seed %d: %d connections are out", seed, d.hosts.out)
				}
				if res.ResumeData != nil {
					held = partial.Ranges(res.ResumeData.Held).Total()
				}
				if n > 100 {
					t.Fatalf("seed %d: it does not end: %v", seed, err)
				}
				d.a = again(d.a)
				d.seen = d.a.Observer.(*observer)
			}
		})
	}
}

// However little a server answers each request with, what is reported of them is bounded.
func TestSpreadManyRequests(t *testing.T) {
	spreadOver(t, 4, func(t *testing.T, d *spreading) {
		d.srv.Publish("/f", Resource{Content: brief, ETag: `"v1"`})
		d.srv.Script("/f", StallAt(AtBody(1<<20), Forever))
		rt := d.a.RoundTripper
		d.a.RoundTripper = further{rt, func(r *http.Request) (*http.Response, error) {
			var first, last int64
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
				return nil, err
			}
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, min(last, first+4<<10-1)))
			return rt.RoundTrip(r)
		}}
		res := d.mustRun(t, brief)
		if n := len(res.Transactions); d.srv.Count("/f") < mostTransactions+100 || n > mostTransactions+1 {
			t.Errorf("%d requests, %d transactions", d.srv.Count("/f"), n)
		}
	})
}

// Whenever a file changes, and however often the download is cancelled, what gets the final name is of one version: by an entity
// tag, or by a date alone, and of a server that heeds no If-Range.
func TestSpreadIsOfOneVersion(t *testing.T) {
	old, young := brief, Body{Seed: 2, Size: brief.Size}
	long := Body{Seed: 2, Size: brief.Size + 5}
	for seed := range uint64(24) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		spreadOver(t, 5, func(t *testing.T, d *spreading) {
			before, after := Resource{Content: old, ETag: `"v1"`}, Resource{Content: young, ETag: `"v2"`}
			if seed%3 == 1 {
				before.ETag, after.ETag = "", ""
				before.LastModified, after.LastModified = d.start.Add(-2*time.Hour), d.start.Add(-time.Hour)
			}
			if seed%3 == 2 { // it lies about its version, but not about its length
				after.Content, after.ETag = long, before.ETag
			}
			d.srv.Publish("/f", before)
			if seed%2 == 0 {
				d.srv.Always("/f", IgnoreIfRange())
			}
			change := time.AfterFunc(time.Duration(rnd.IntN(1800))*time.Millisecond, func() { d.srv.Publish("/f", after) })
			defer change.Stop()
			for {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(300+rnd.IntN(3000))*time.Millisecond, context.Canceled)
				res, err := Run(ctx, d.a)
				cancel()
				if err != nil {
					d.a = again(d.a)
					continue
				}
				if old.CheckFile(res.Path) != nil && young.CheckFile(res.Path) != nil && long.CheckFile(res.Path) != nil {
					t.Errorf("seed %d: it is neither", seed)
				}
				return
			}
		})
	}
}
