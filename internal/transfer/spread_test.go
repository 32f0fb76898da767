package transfer

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// connections are those of a host, of which other tasks may want some.
type connections struct {
	mu        sync.Mutex
	free      int
	out, peak int
	refused   int
	wanted    chan struct{}
}

func newConnections(free int) *connections {
	return &connections{free: free, wanted: make(chan struct{})}
}

func (c *connections) Take(string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.free == 0 {
		c.refused++
		return false
	}
	c.free--
	c.out++
	c.peak = max(c.peak, c.out)
	return true
}

func (c *connections) Give() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out--; c.out < 0 {
		panic("more are given than were taken")
	}
	c.free++
}

func (c *connections) Wanted() <-chan struct{} { return c.wanted }

// spreading is a download of big over several connections, in a bubble.
type spreading struct {
	srv   *Server
	hosts *connections
	a     *Attempt
	seen  *observer
	start time.Time
}

const perConnection = 1 << 20 // bytes a second that an origin gives

// big takes 24 s over one connection, 4 over six; brief, a quarter of that.
var (
	big   = Body{Seed: 9, Size: 24<<20 + 777}
	brief = Body{Seed: 9, Size: 6<<20 + 777}
)

// spreadOver runs f with an origin that gives perConnection to each, and a download that may have n connections.
func spreadOver(t *testing.T, n int, f func(t *testing.T, d *spreading), opts ...Option) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(append([]Option{InMemory(), ConnectionRate(perConnection)}, opts...)...)
		srv.Publish("/f", Resource{Content: big, ETag: `"v1"`})
		rt, err := transport.New(transport.Options{Dial: srv.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		d := &spreading{srv: srv, hosts: newConnections(n - 1), a: newTask(task.Download, rt, srv.URL+"/f"), start: time.Now()}
		d.seen = d.a.Observer.(*observer)
		d.a.Connections = d.hosts
		d.a.Spec.Download = &task.DownloadSpec{Path: filepath.Join(folder, "x"), Destination: "x"}
		defer srv.Close()
		defer rt.CloseIdleConnections()
		f(t, d)
		if d.hosts.out != 0 {
			t.Errorf("%d connections were not given back", d.hosts.out)
		}
	})
}

// mustRun runs the attempt to its end, which is the file.
func (d *spreading) mustRun(t *testing.T, want Body) Result {
	t.Helper()
	res, err := Run(t.Context(), d.a)
	wantFile(t, res, err, want)
	if got := d.seen.received; got[len(got)-1] != want.Size {
		t.Errorf("received %v", got)
	}
	return res
}

func TestSpread(t *testing.T) {
	for n := 1; n <= 6; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			spreadOver(t, n, func(t *testing.T, d *spreading) {
				res := d.mustRun(t, big)
				took := time.Since(d.start)
				if ideal := time.Duration(big.Size) * time.Second / time.Duration(n) / perConnection; took > ideal*11/10+300*time.Millisecond {
					t.Errorf("it took %v, and %v would do", took, ideal)
				}
				if d.hosts.peak != n-1 {
					t.Errorf("%d connections taken", d.hosts.peak)
				}
				if len(res.Transactions) != d.srv.Count("/f") {
					t.Errorf("%d transactions of %d requests", len(res.Transactions), d.srv.Count("/f"))
				}
				if extra := d.srv.Sent("/f") - big.Size; extra > int64(n)*(1<<20) {
					t.Errorf("%d bytes were sent in vain", extra)
				}
				if d.seen.told() != "response 200" || !slices.IsSorted(d.seen.received) {
					t.Errorf("told %s; received %v", d.seen.told(), d.seen.received)
				}
			})
		})
	}
}

// What is never spread: one request brings it.
func TestNotSpread(t *testing.T) {
	small := Body{Seed: 9, Size: spreadLeast - 1}
	for name, c := range map[string]struct {
		res  Resource
		step Step
		with func(a *Attempt)
	}{
		"no validator":   {Resource{Content: big}, nil, nil},
		"weak validator": {Resource{Content: big, ETag: `W/"v1"`}, nil, nil},
		"small":          {Resource{Content: small, ETag: `"v1"`}, nil, nil},
		"fast":           {Resource{Content: Body{Seed: 9, Size: 1 << 19}, ETag: `"v1"`}, nil, nil},
		"no ranges":      {Resource{Content: big, ETag: `"v1"`, Header: http.Header{"Accept-Ranges": {"none"}}}, nil, nil},
		"unknown length": {Resource{Content: big, ETag: `"v1"`}, Chunked(), nil},
		"error":          {Resource{Content: big, ETag: `"v1"`}, func(r *Reply) { r.Status = 404 }, nil},
		"coded":          {Resource{Content: big, ETag: `"v1"`, Header: http.Header{"Content-Encoding": {"gzip"}}}, nil, nil},
		"not allowed":    {Resource{Content: big, ETag: `"v1"`}, nil, func(a *Attempt) { a.Spec.Policy.Connections = 1 }},
		"none to be had": {Resource{Content: big, ETag: `"v1"`}, nil, func(a *Attempt) { a.Connections = nil }},
		"post":           {Resource{Content: big, ETag: `"v1"`}, nil, func(a *Attempt) { a.Spec.Request.Method = "POST" }},
	} {
		t.Run(name, func(t *testing.T) {
			spreadOver(t, 6, func(t *testing.T, d *spreading) {
				d.srv.Publish("/f", c.res)
				if c.step != nil {
					d.srv.Always("/f", c.step)
				}
				if c.with != nil {
					c.with(d.a)
				}
				d.mustRun(t, c.res.Content.(Body))
				if d.srv.Count("/f") != 1 || d.hosts.peak != 0 {
					t.Errorf("%d requests, %d connections taken", d.srv.Count("/f"), d.hosts.peak)
				}
			})
		})
	}
}

// The user's digest is as good as a strong validator.
func TestSpreadByDigest(t *testing.T) {
	spreadOver(t, 3, func(t *testing.T, d *spreading) {
		d.srv.Publish("/f", Resource{Content: big})
		d.a.Spec.Download.Digests = []string{fmt.Sprintf("sha-256=%x", big.SHA256())}
		res := d.mustRun(t, big)
		if d.hosts.peak != 2 || res.Digest != d.a.Spec.Download.Digests[0] {
			t.Errorf("%d connections, digest %s", d.hosts.peak, res.Digest)
		}
		for _, r := range d.srv.RequestsTo("/f") {
			if r.Header.Get("If-Range") != "" {
				t.Errorf("If-Range %s", r.Header.Get("If-Range"))
			}
		}
	})
}

// Digests are right whatever the order of the bytes, and a wrong one is found.
func TestSpreadDigests(t *testing.T) {
	for name, digests := range map[string][]Digest{
		"one": {ReprDigest("sha-256")}, "two": {ReprDigest("sha-256"), ReprDigest("sha-512")},
	} {
		t.Run(name, func(t *testing.T) {
			spreadOver(t, 6, func(t *testing.T, d *spreading) {
				d.srv.Publish("/f", Resource{Content: big, ETag: `"v1"`, Digests: digests})
				if res := d.mustRun(t, big); res.Digest == "" {
					t.Error("no digest")
				}
			})
		})
	}
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		d.a.Spec.Download.Digests = []string{"sha-256=" + strings.Repeat("0", 64)}
		_, err := Run(t.Context(), d.a)
		wantCode(t, err, task.DigestMismatch)
		wantNoFile(t, d.a)
	})
}

// A file that changes in the midst starts anew, and is of the new version alone; so does one of which a part was not what it
// was to be.
func TestSpreadChanged(t *testing.T) {
	changed := Body{Seed: 2, Size: big.Size}
	for name, c := range map[string]struct {
		step Step
		want Body
	}{
		"same length, If-Range ignored": {All(Changed(Resource{Content: changed, ETag: `"v2"`}), IgnoreIfRange()), changed},
		"If-Range heeded":               {Changed(Resource{Content: changed, ETag: `"v2"`}), changed},
	} {
		t.Run(name, func(t *testing.T) {
			spreadOver(t, 4, func(t *testing.T, d *spreading) {
				d.srv.Script("/f", Honest(), Honest(), Honest(), c.step)
				res, err := Run(t.Context(), d.a)
				wantFile(t, res, err, c.want)
				requests := d.srv.RequestsTo("/f")
				if last := requests[len(requests)-1]; last.Range() != "" {
					t.Errorf("the last request asks for %s", last.Range())
				}
				if d.seen.told() != "response 200, response 200" {
					t.Errorf("told %s", d.seen.told())
				}
			})
		})
	}
}

// A connection that stalls, crawls or is slow costs little: others take over what it lacks.
func TestSpreadSlowTail(t *testing.T) {
	var without time.Duration
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		d.mustRun(t, big)
		without = time.Since(d.start)
	})
	for _, n := range []int{1, 2, 4} { // the first, the first to join, one of several
		for name, step := range map[string]Step{
			"stalls at once": StallAt(AtBody(0), Forever),
			"stalls":         StallAt(AtBody(500_000), Forever),
			"crawls":         Slow(10_000),
			"is slow":        Slow(perConnection / 4),
		} {
			t.Run(fmt.Sprint(name, "/", n), func(t *testing.T) {
				spreadOver(t, 6, func(t *testing.T, d *spreading) {
					d.srv.Always("/f", OnConnection(n, step))
					d.mustRun(t, big)
					limit := without * 115 / 100
					if name == "is slow" {
						limit = without * 6 / 5 * 110 / 100 // and is left alone: at worst one connection in six is missing
					}
					if n == 1 {
						limit += time.Second // it is noticed before others are there
					}
					if took := time.Since(d.start); took > limit {
						t.Errorf("it took %v, and without %v", took, without)
					}
				})
			})
		}
	}
}

// A server that allows two connections has two.
func TestSpreadRefused(t *testing.T) {
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		d.srv.Always("/f", Beyond(2, Status(503)))
		d.mustRun(t, big)
		refused := 0
		for _, r := range d.srv.RequestsTo("/f") {
			if r.Status == 503 {
				refused++
			}
		}
		if refused == 0 || refused > 3 {
			t.Errorf("%d requests were refused", refused)
		}
		if took := time.Since(d.start); took > 14*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Connections that add nothing are given up.
func TestSpreadWithoutGain(t *testing.T) {
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		d.mustRun(t, big)
		if d.hosts.peak > 1 {
			t.Errorf("%d connections were taken", d.hosts.peak)
		}
		if n := d.srv.Count("/f"); n > 12 {
			t.Errorf("%d requests", n)
		}
	}, Rate(perConnection))
}

// The connection with which it began may be lost as any other; the last one that there is ends the attempt, and what has
// come can be gone on from.
func TestSpreadLost(t *testing.T) {
	t.Run("first", func(t *testing.T) {
		spreadOver(t, 4, func(t *testing.T, d *spreading) {
			d.srv.Script("/f", Truncate(2<<20))
			d.mustRun(t, big)
		})
	})
	t.Run("all", func(t *testing.T) {
		spreadOver(t, 4, func(t *testing.T, d *spreading) {
			d.srv.Always("/f", When(func(*http.Request) bool { return time.Since(d.start) > 2*time.Second }, Silent()))
			var cut sync.WaitGroup
			cut.Go(func() {
				time.Sleep(2*time.Second + time.Millisecond)
				d.srv.Disconnect()
			})
			res, err := Run(t.Context(), d.a)
			cut.Wait()
			wantCode(t, err, task.ConnectionLost)
			wantNoFile(t, d.a)
			if res.ResumeData == nil || len(res.ResumeData.Held) < 3 {
				t.Fatalf("resume data %+v", res.ResumeData)
			}
			d.resume(t, big, res.ResumeData)
		})
	})
}

// What fails in the end before it has left is not the attempt's only request.
func TestSpreadIsSent(t *testing.T) {
	spreadOver(t, 2, func(t *testing.T, d *spreading) {
		d.srv.Script("/f", Truncate(2<<20))
		rt := d.a.RoundTripper
		var asked atomic.Int32
		d.a.RoundTripper = further{rt, func(r *http.Request) (*http.Response, error) {
			if asked.Add(1) == 1 {
				return rt.RoundTrip(r)
			}
			return nil, &task.Error{Op: "GET", Code: task.CannotConnect, Unsent: true, Err: errors.New("refused")}
		}}
		res, err := Run(t.Context(), d.a)
		wantCode(t, err, task.CannotConnect)
		if err.(*task.Error).Unsent || res.Unsent {
			t.Error("it says that nothing had left")
		}
	})
}

// A panic of the Observer ends all connections.
func TestSpreadObserverPanics(t *testing.T) {
	spreadOver(t, 4, func(t *testing.T, d *spreading) {
		d.seen.onReceived = func(int64) {
			if time.Since(d.start) > 2*time.Second {
				d.seen.onReceived = nil
				panic("the app's")
			}
		}
		func() {
			defer func() {
				if got := recover(); got != "the app's" {
					t.Errorf("panic %v", got)
				}
			}()
			_, _ = Run(t.Context(), d.a)
		}()
		if d.hosts.peak != 3 || d.hosts.out != 0 {
			t.Errorf("%d connections were taken, %d are out", d.hosts.peak, d.hosts.out)
		}
		d.a = again(d.a)
		d.seen = d.a.Observer.(*observer)
		d.mustRun(t, big)
	})
}

// A hole is asked for by its bounds, and an answer that goes beyond them is of no use.
func TestHoleIsBounded(t *testing.T) {
	srv, a := newFixture(t)
	f, err := partial.Open(filepath.Join(filepath.Dir(a.Spec.Download.Path), partial.Name("file.bin", partial.Key(a.Spec.Request.URL, a.Spec.Download.Path))))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Begin(partial.Validator{ETag: `"v1"`}, file.Size); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{100_000, 150_000}, {200_000, 250_000}} {
		if _, err := f.WriteAt(file.Bytes()[r[0]:r[1]], r[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	srv.Script("/f", Truncate(40_000), Honest(), Partial(150_000, file.Size-1))
	_, err = Run(t.Context(), a)
	wantCode(t, err, task.ConnectionLost)
	a = again(a)
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)
	wantRanges(t, srv, `0-99999 if "v1", 40000-99999 if "v1", 150000-199999 if "v1", -`)
	if got := a.Observer.(*observer).received[0]; got != 140_000 {
		t.Errorf("it began with %d bytes", got)
	}
}

// What a file's beginning has come to is hashed while the rest is on its way.
func TestFollower(t *testing.T) {
	part := filepath.Join(t.TempDir(), partial.Name("x", partial.Key("u", "x")))
	synctest.Test(t, func(t *testing.T) {
		f, err := partial.Open(part)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Discard()
		content := Body{Seed: 1, Size: 5 << 20}
		if err := f.Begin(partial.Validator{}, content.Size); err != nil {
			t.Fatal(err)
		}
		var v verifier
		for _, s := range []string{fmt.Sprintf("sha-256=%x", content.SHA256()), "md5=" + strings.Repeat("0", 32)} {
			e, err := parseDigest(s)
			if err != nil {
				t.Fatal(err)
			}
			v.want(e)
		}
		if err := v.prepare(t.Context(), f, 0); err != nil {
			t.Fatal(err)
		}
		follow := v.follow(t.Context(), f)
		write := func(from, to int64) {
			p := content.Bytes()[from:to]
			if _, err := f.WriteAt(p, from); err != nil {
				t.Fatal(err)
			}
			v.write(p, from)
			follow.wake()
			synctest.Wait()
		}
		for _, w := range [][3]int64{{0, 1000, 1000}, {2 << 20, 4 << 20, 1000}, {1000, 2 << 20, 4 << 20}, {4 << 20, 5 << 20, 5 << 20}} {
			write(w[0], w[1])
			for _, h := range v.hashes {
				if h.upto != w[2] {
					t.Errorf("after %d to %d %s is at %d, want %d", w[0], w[1], h.name, h.upto, w[2])
				}
			}
		}
		follow.end()
		if got := fmt.Sprintf("%x", v.hashes[0].Sum(nil)); got != fmt.Sprintf("%x", content.SHA256()) {
			t.Errorf("sha-256 is %s", got)
		}
	})
}

// resume goes on with what was held, honestly, and fetches little of it again.
func (d *spreading) resume(t *testing.T, body Body, data *task.ResumeData) {
	t.Helper()
	missing := body.Size
	for _, r := range data.Held {
		missing -= r[1] - r[0]
	}
	d.srv.Always("/f", Honest())
	sent := d.srv.Sent("/f")
	d.a = again(d.a)
	d.seen = d.a.Observer.(*observer)
	d.mustRun(t, body)
	if d.seen.received[0] < body.Size-missing || !slices.IsSorted(d.seen.received) {
		t.Errorf("%d of %d bytes were held, and it received %v", body.Size-missing, body.Size, d.seen.received)
	}
	if sent = d.srv.Sent("/f") - sent; sent > missing+2<<20 {
		t.Errorf("%d bytes were sent, and %d were missing", sent, missing)
	}
}
