package transfer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// sections are n, of 100 bytes each.
func sections(n int) (list []section) {
	for i := range n {
		list = append(list, section{i + 1, int64(i) * 100, int64(i+1) * 100})
	}
	return list
}

// besides is a parallel in a bubble, whose sections do what do says and are done after a second.
type besides struct {
	*parallel
	hosts *connections
	seen  *resumer
	start time.Time

	mu   sync.Mutex
	log  []int // the sections that have begun
	now  int
	peak int
}

// inParallel runs f with a parallel of n sections, and as many connections beside the attempt's own.
func inParallel(t *testing.T, n, connections int, do func(ctx context.Context, r *run, s section) (*http.Response, error), f func(b *besides)) {
	synctest.Test(t, func(t *testing.T) {
		b := &besides{hosts: newConnections(connections), seen: &resumer{}, start: time.Now()}
		ctx, stop := context.WithCancelCause(t.Context())
		r := &run{Attempt: &Attempt{ID: 1, Connections: b.hosts, Observer: b.seen, Stop: stop, Spec: &task.Spec{
			Kind: task.Upload, Request: task.Request{Method: "POST", URL: "http://a/"}, Policy: task.Policy{RequestTimeout: 10 * time.Second},
		}}}
		r.begin(ctx, stop)
		defer r.idle.stop()
		b.parallel = &parallel{run: r, size: int64(n) * 100, sections: sections(n), target: func(section) string { return "http://a/" }}
		b.bring = func(ctx context.Context, r *run, s section) (*http.Response, error) {
			b.mu.Lock()
			b.log = append(b.log, s.number)
			b.now++
			b.peak = max(b.peak, b.now)
			b.mu.Unlock()
			defer func() {
				b.mu.Lock()
				b.now--
				b.mu.Unlock()
			}()
			if resp, err := do(ctx, r, s); resp != nil || err != nil {
				return resp, err
			}
			return nil, linger(ctx, time.Second)
		}
		f(b)
		if b.hosts.out != 0 || len(b.live) != 0 {
			t.Errorf("%d connections were not given back, %d sections are under way", b.hosts.out, len(b.live))
		}
	})
}

func linger(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func honest(context.Context, *run, section) (*http.Response, error) { return nil, nil }

// answer is one to a section.
func answer(status int) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("why"))}
}

// only does what it says to one section.
func onlyTo(number int, resp *http.Response, err error) func(context.Context, *run, section) (*http.Response, error) {
	return func(_ context.Context, _ *run, s section) (*http.Response, error) {
		if s.number == number {
			return resp, err
		}
		return nil, nil
	}
}

func TestParallel(t *testing.T) {
	for _, c := range []struct {
		sections, free, most int
		peak                 int
		took                 time.Duration
	}{
		{6, 5, 0, 6, time.Second},
		{7, 5, 0, 6, 2 * time.Second},
		{3, 5, 0, 3, time.Second},
		{6, 0, 0, 1, 6 * time.Second},
		{6, 5, 2, 2, 3 * time.Second},
		{6, 5, 1, 1, 6 * time.Second},
		{0, 5, 0, 0, 0},
	} {
		inParallel(t, c.sections, c.free, honest, func(b *besides) {
			b.Spec.Policy.Connections = c.most
			resp, err := b.transmit()
			if took := time.Since(b.start); resp != nil || err != nil || b.peak != c.peak || took != c.took || len(b.log) != c.sections {
				t.Errorf("%+v: %v, %v after %v, %d side by side, %v", c, resp, err, took, b.peak, b.log)
			}
			if n := len(b.seen.confirmed); c.sections > 0 && b.seen.confirmed[n-1] != b.size {
				t.Errorf("%+v: confirmed %v", c, b.seen.confirmed)
			}
		})
	}
}

// What has come free is taken while sections wait, though none has ended.
func TestParallelTakesLater(t *testing.T) {
	slow := func(ctx context.Context, r *run, s section) (*http.Response, error) {
		return nil, linger(ctx, 4*time.Second)
	}
	inParallel(t, 2, 0, slow, func(b *besides) {
		time.AfterFunc(500*time.Millisecond, func() {
			b.hosts.mu.Lock()
			b.hosts.free++
			b.hosts.mu.Unlock()
		})
		b.transmit()
		if took := time.Since(b.start); took != 6*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// lent are connections of which another task gets one that is given back.
type lent struct {
	*connections
	lent chan struct{} // of one, closed when it has it
}

func (l *lent) Give() {
	l.connections.Give()
	select {
	case <-l.lent:
	default:
		l.Take("") // in its name
		close(l.lent)
	}
}

// One that others want is given back when its section has ended, and none is taken in its place.
func TestParallelGivesBack(t *testing.T) {
	inParallel(t, 8, 3, honest, func(b *besides) {
		l := &lent{b.hosts, make(chan struct{})}
		b.Connections = l
		go func() {
			b.hosts.wanted <- struct{}{}
			<-l.lent
			if since := time.Since(b.start); since != time.Second {
				t.Errorf("it was given back after %v", since)
			}
			time.Sleep(500 * time.Millisecond)
			b.mu.Lock()
			if b.now != 3 {
				t.Errorf("%d go on", b.now)
			}
			b.mu.Unlock()
		}()
		if resp, err := b.transmit(); resp != nil || err != nil || len(b.log) != 8 {
			t.Error(resp, err, b.log)
		}
		b.hosts.Give() // the other task's
	})
}

// The sections over further connections go apart: one of the attempt's own is always there, and used again.
func TestParallelApart(t *testing.T) {
	var mu sync.Mutex
	own, most := 0, 0
	inParallel(t, 9, 2, honest, func(b *besides) {
		honestly := b.bring
		b.bring = func(ctx context.Context, r *run, s section) (*http.Response, error) {
			if r.Observer.(*beside).further {
				return honestly(ctx, r, s)
			}
			mu.Lock()
			own++
			most = max(most, own)
			mu.Unlock()
			defer func() {
				mu.Lock()
				own--
				mu.Unlock()
			}()
			return honestly(ctx, r, s)
		}
		b.transmit()
	})
	if most != 1 {
		t.Errorf("%d by the attempt's own connection at once", most)
	}
}

func TestParallelFails(t *testing.T) {
	lost := &task.Error{Op: "upload", Code: task.ConnectionLost, Err: errors.New("reset")}
	for name, c := range map[string]struct {
		do     func(context.Context, *run, section) (*http.Response, error)
		begun  int
		status int
		code   task.Code
	}{
		"one is lost":        {onlyTo(2, nil, lost), 9, 0, task.ConnectionLost},
		"one of 500":         {onlyTo(2, answer(500), nil), 9, 500, 0},
		"429 holds the rest": {onlyTo(2, answer(429), nil), 3, 429, 0},
		"503 holds the rest": {onlyTo(1, answer(503), nil), 3, 503, 0},
		"403 ends":           {onlyTo(1, answer(403), nil), 3, 403, 0},
		"a redirect by GET":  {onlyTo(1, answer(303), nil), 3, 303, 0},
		"each is lost":       {func(context.Context, *run, section) (*http.Response, error) { return nil, lost }, 3, 0, task.ConnectionLost},
		"the source changed": {onlyTo(1, nil, &task.Error{Code: task.SourceChanged, Err: errors.New("other")}), 3, 0, task.SourceChanged},
		"two of three, always": {func(ctx context.Context, _ *run, s section) (*http.Response, error) {
			if s.number%3 != 0 {
				linger(ctx, time.Second-time.Millisecond)
				return nil, lost
			}
			return nil, linger(ctx, -time.Second)
		}, 9, 0, task.ConnectionLost},
	} {
		t.Run(name, func(t *testing.T) {
			inParallel(t, 9, 2, c.do, func(b *besides) {
				resp, err := b.transmit()
				if task.CodeOf(err) != c.code || (resp != nil) != (c.status != 0) || resp != nil && resp.StatusCode != c.status {
					t.Fatalf("%+v, %v", resp, err)
				}
				if resp != nil {
					if text, _ := io.ReadAll(resp.Body); string(text) != "why" {
						t.Errorf("body %q", text)
					}
				}
				if name != "each is lost" && len(b.log) != c.begun || len(b.log) > c.begun+2 {
					t.Errorf("begun %v", b.log)
				}
				if err != nil && !strings.Contains(err.Error(), "part ") {
					t.Errorf("%v says no part", err)
				}
			})
		})
	}
}

// The worst failure is the outcome, and of equal ones the first.
func TestParallelOutcome(t *testing.T) {
	do := func(_ context.Context, _ *run, s section) (*http.Response, error) {
		time.Sleep(time.Duration(s.number) * time.Millisecond)
		switch s.number {
		case 1:
			return answer(500), nil
		case 2:
			return answer(503), nil
		case 3:
			return answer(429), nil
		}
		return nil, nil
	}
	inParallel(t, 4, 3, do, func(b *besides) {
		if resp, err := b.transmit(); err != nil || resp.StatusCode != 503 {
			t.Errorf("%+v, %v", resp, err)
		}
	})
}

// A section that stalls ends alone, by its own idle timer, whatever the others do.
func TestParallelStalls(t *testing.T) {
	do := func(ctx context.Context, r *run, s section) (*http.Response, error) {
		if s.number != 1 {
			r.idle.touch()
			return nil, nil
		}
		<-ctx.Done()
		return nil, r.wireError(context.Cause(ctx))
	}
	inParallel(t, 30, 1, do, func(b *besides) {
		resp, err := b.transmit()
		if task.CodeOf(err) != task.TimedOut || resp != nil {
			t.Errorf("%v, %v", resp, err)
		}
		if len(b.log) != 30 || time.Since(b.start) != 20*time.Second {
			t.Errorf("%d begun, and it took %v", len(b.log), time.Since(b.start))
		}
	})
}

// The end of the attempt's context ends all, with its cause; so does what the Observer returns.
func TestParallelEnds(t *testing.T) {
	suspended := errors.New("suspended")
	inParallel(t, 9, 3, honest, func(b *besides) {
		time.AfterFunc(1500*time.Millisecond, func() { b.Stop(suspended) })
		resp, err := b.transmit()
		if resp != nil || err != suspended || len(b.log) != 8 || time.Since(b.start) != 1500*time.Millisecond {
			t.Errorf("%v, %v, begun %v", resp, err, b.log)
		}
	})
	challenged := errors.New("the observer's")
	do := func(ctx context.Context, r *run, s section) (*http.Response, error) {
		if s.number != 5 {
			return nil, nil
		}
		r.observed = challenged
		return nil, r.wireError(errors.New("refused"))
	}
	inParallel(t, 9, 3, do, func(b *besides) {
		if resp, err := b.transmit(); resp != nil || err != challenged || time.Since(b.start) != time.Second {
			t.Errorf("%v, %v after %v", resp, err, time.Since(b.start))
		}
	})
}

// What has left only grows, also where a section is sent again; what is there is told where nothing else has left.
func TestParallelTells(t *testing.T) {
	var told []int64
	do := func(_ context.Context, r *run, s section) (*http.Response, error) {
		for _, n := range []int64{40, 80, 20, 100} {
			r.Observer.Sent(s.from+n, 0)
		}
		return nil, nil
	}
	inParallel(t, 3, 0, do, func(b *besides) {
		b.here, b.size = 50, 350
		b.Observer = &telling{resumer: b.seen, told: &told}
		b.transmit()
		if want := []int64{50, 150, 250, 350}; !slices.Equal(b.seen.confirmed, want) {
			t.Errorf("confirmed %v", b.seen.confirmed)
		}
		if !slices.IsSorted(told) || told[len(told)-1] != 350 {
			t.Errorf("told %v", told)
		}
	})
}

// telling keeps all that is told to have left.
type telling struct {
	*resumer
	told *[]int64
}

func (o *telling) Sent(total, _ int64) { *o.told = append(*o.told, total) }

// A panic of what a section calls is the conductor's.
func TestParallelPanics(t *testing.T) {
	do := func(context.Context, *run, section) (*http.Response, error) { panic("the app's") }
	inParallel(t, 3, 1, do, func(b *besides) {
		defer func() {
			if recover() != "the app's" {
				t.Error("no panic")
			}
		}()
		b.transmit()
	})
}
