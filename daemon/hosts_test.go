package daemon

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// TestConnectionsAcrossSessions: two sessions, of which each may have six connections, have as many together as the settings
// say, also where those change, and both go on.
func TestConnectionsAcrossSessions(t *testing.T) {
	const each = 6
	maximum := int32(3)
	var now, peak atomic.Int32
	var of [2]atomic.Int32 // answered
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		<-release
		of[r.URL.Path[1]-'0'].Add(1)
		now.Add(-1)
	}))
	t.Cleanup(srv.Close)
	state := t.TempDir()
	start(t, state, func(o *Options) {
		o.Settings = func() (Settings, error) { return Settings{MaximumConnectionsPerHost: int(maximum)}, nil }
	})
	var sessions [2]*control.Client
	var ids [2][]task.ID
	for i := range sessions {
		sessions[i] = dial(t, state, fmt.Sprint(i))
		for range each {
			ids[i] = append(ids[i], create(t, sessions[i], data(fmt.Sprintf("%s/%d", srv.URL, i))))
		}
	}
	for left := int32(2 * each); left > 0; left-- {
		until(t, "as many connections as there may be", func() bool {
			return of[0].Load()+of[1].Load() == 2*each-left && now.Load() == min(maximum, left)
		})
		if left == each && (of[0].Load() == 0 || of[1].Load() == 0) {
			t.Errorf("of %d answers one session had %d, the other %d", each, of[0].Load(), of[1].Load())
		}
		if left == each {
			maximum++
			must(t, sessions[0].Reload(within(t)))
			until(t, "one connection more", func() bool { return now.Load() == maximum })
		}
		release <- struct{}{}
	}
	for i, c := range sessions {
		for _, id := range ids[i] {
			succeed(t, c, id)
		}
	}
	if n := peak.Load(); n != maximum {
		t.Errorf("%d connections at once, where %d may be", n, maximum)
	}
}
