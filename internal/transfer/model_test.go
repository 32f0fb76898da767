package transfer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// A model is a server in virtual time, whose bytes are all zero: what each connection brings is what pace says. Each request
// has a connection of its own.
type model struct {
	size  int64
	reply time.Duration // to a response's head
	// pace is the rate of a connection, numbered from 1, at that time, when it has brought so many bytes.
	pace func(conn int, at time.Duration, brought int64) float64

	// beyond is how many bytes a part goes on with, some time after it should have ended.
	beyond int64
	start  time.Time

	mu    sync.Mutex
	conns int
	asked int // for all, without Range
	sent  int64
}

// modelTick is how often a connection brings some.
const modelTick = 5 * time.Millisecond

func (m *model) RoundTrip(req *http.Request) (*http.Response, error) {
	first, end, status, length := int64(0), m.size, http.StatusOK, m.size
	if _, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &first, &end); err == nil {
		end++
		status, length = http.StatusPartialContent, end-first
		if m.beyond > 0 {
			length = -1
		}
	}
	if err := wait(req.Context(), m.reply); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns++
	body := &modelBody{m: m, conn: m.conns, left: end - first}
	if status == http.StatusOK {
		m.asked++
	} else {
		body.beyond = m.beyond
	}
	body.ctx, body.cancel = context.WithCancel(req.Context())
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, Request: req, ContentLength: length,
		Header: http.Header{"Etag": {`"v1"`}, "Content-Range": {fmt.Sprintf("bytes %d-%d/%d", first, end-1, m.size)}},
		Body:   body,
	}, nil
}

type modelBody struct {
	m       *model
	ctx     context.Context
	cancel  context.CancelFunc
	conn    int
	left    int64
	beyond  int64
	brought int64
	owed    float64 // bytes that may come now
}

func (b *modelBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		if b.beyond == 0 {
			return 0, io.EOF
		}
		b.left, b.beyond = b.beyond, 0
		if err := wait(b.ctx, 200*time.Millisecond); err != nil {
			return 0, err
		}
	}
	for b.owed < 1 {
		if err := wait(b.ctx, modelTick); err != nil {
			return 0, err
		}
		b.owed += modelTick.Seconds() * b.m.pace(b.conn, time.Since(b.m.start), b.brought)
	}
	n := int(min(b.owed, float64(b.left), float64(len(p))))
	clear(p[:n])
	b.owed -= float64(n)
	b.left -= int64(n)
	b.brought += int64(n)
	b.m.mu.Lock()
	b.m.sent += int64(n)
	b.m.mu.Unlock()
	return n, nil
}

func (b *modelBody) Close() error {
	b.cancel()
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run downloads from the model over so many connections at most, and returns how long that took.
func (m *model) run(t *testing.T, most int) (took time.Duration) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x")
	synctest.Test(t, func(t *testing.T) {
		m.start, m.conns, m.asked, m.sent = time.Now(), 0, 0, 0
		hosts := newConnections(most - 1)
		a := newTask(task.Download, m, "http://origin.test/f")
		a.Connections = hosts
		a.Spec.Download = &task.DownloadSpec{Path: path, Destination: "x"}
		res, err := Run(t.Context(), a)
		if err != nil || res.Path != path {
			t.Fatal(err)
		}
		took = time.Since(m.start)
		if hosts.out != 0 {
			t.Errorf("%d connections were not given back", hosts.out)
		}
	})
	return took
}

// One connection of each six that stalls or crawls, from the start, after some bytes or from some time on, costs little.
func TestModelSlowTail(t *testing.T) {
	const rate = 2.5e6
	for _, reply := range []time.Duration{time.Millisecond, 60 * time.Millisecond} {
		m := &model{size: 48e6, reply: reply, pace: func(int, time.Duration, int64) float64 { return rate }}
		without := m.run(t, 6)
		check := func(what string) {
			t.Helper()
			took := m.run(t, 6)
			if took > without*120/100 {
				t.Errorf("reply after %v, %s: it took %v, and without that %v", reply, what, took, without)
			}
			if m.sent > m.size*102/100 {
				t.Errorf("reply after %v, %s: %d bytes were sent of %d", reply, what, m.sent, m.size)
			}
		}
		for _, slow := range []float64{0, rate / 300, rate / 30, rate / 9} {
			for _, after := range []int64{1 << 20, 6 << 20} {
				m.pace = func(conn int, _ time.Duration, brought int64) float64 {
					if conn%6 == 3 && brought >= after {
						return slow
					}
					return rate
				}
				check(fmt.Sprintf("%.0f bytes a second after %d", slow, after))
			}
		}
		for _, part := range []float64{.6, .8, .9, .95} {
			from := time.Duration(float64(without) * part)
			m.pace = func(conn int, now time.Duration, _ int64) float64 {
				if conn%6 == 3 && now > from {
					return 0
				}
				return rate
			}
			check(fmt.Sprintf("nothing from %v on", from))
		}
	}
}

// A part that goes on behind its range is waited for, and makes the file start over.
func TestModelGoesOn(t *testing.T) {
	m := &model{size: 8e6, reply: time.Millisecond, beyond: 10, pace: func(int, time.Duration, int64) float64 { return 1e6 }}
	m.run(t, 2)
	if m.asked != 2 {
		t.Errorf("the file was asked for %d times", m.asked)
	}
}
