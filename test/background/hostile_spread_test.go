package background

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// spreadFile is what the origins of TestHostileSpread honestly have, and spreadRate what they give each connection, so that it
// comes over several.
var spreadFile = Body{Seed: 1, Size: 5 * mib}

const spreadRate = mib

// Every fault of an origin, in answer to each request for a part of a file that comes over several connections, once it has begun: it does the file no harm, for those that work go on. Where the first one breaks off too, or the end of a part is never served, or with bytes that follow it as an answer of their own,
// the download ends as any: in a file that is whole and of one version, or in an error with a code and no file. In a
// background session and in this process.
func TestHostileSpread(t *testing.T) {
	t.Parallel()
	k := running(t)
	folder := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	content := Bytes(spreadFile.Bytes()) // made once
	var all sync.WaitGroup
	turns := make(chan struct{}, 32) // so many at a time
	try := func(s *urlsession.Session, name string, f fault, prepare func(*Server)) {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			srv := NewServer(ConnectionRate(spreadRate))
			defer srv.Close()
			srv.Publish("/f", Resource{Content: content, ETag: `"v1"`})
			prepare(srv)
			path := filepath.Join(folder, fmt.Sprintf("%x", name))
			err := hostile(ctx, s, srv.URL, path, spreadFile, f)
			if err == nil && srv.Load().PeakRequests < 2 {
				err = fmt.Errorf("it had %d connections at most", srv.Load().PeakRequests)
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				for _, r := range srv.Requests() {
					t.Logf("%s: %d by %d: %s %q: %d, %d bytes sent, from %v to %v", name, r.Number, r.Connection, r.Method, r.Range(), r.Status, r.Sent,
						r.Time.Format(time.StampMilli), r.Ended.Format(time.StampMilli))
				}
			}
			_ = os.Remove(path)
		})
	}
	open := func(c urlsession.Configuration) *urlsession.Session {
		c.Proxy = urlsession.NoProxy()
		s, err := urlsession.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	ranged := func(r *http.Request) bool { return r.Header.Get("Range") != "" }
	for _, background := range []bool{true, false} {
		where, patiently, briefly := "in process", urlsession.Ephemeral(), urlsession.Ephemeral()
		if background {
			where, patiently, briefly = "background", k.configuration("com.example.patient"), k.configuration("com.example.brief")
		}
		patiently.TimeoutForRequest, patiently.TimeoutForResource = 10*time.Second, patience
		briefly.TimeoutForRequest, briefly.TimeoutForResource = 4*time.Second, 20*time.Second
		long, short := open(patiently), open(briefly)
		for _, f := range faults(spreadFile) {
			harmless := f
			harmless.heals, harmless.anything = true, false
			forEver := func(s *Server) { s.Always("/f", When(ranged, f.step)) }
			if f.starves { // the first connection has left to others what they never bring
				try(short, f.name+"/for ever, "+where, f.stubborn(), forEver)
			} else {
				try(long, f.name+"/for ever, "+where, harmless, forEver)
			}
			if background {
				continue
			}
			try(short, f.name+"/and the first breaks off, "+where, f.stubborn(), func(s *Server) {
				s.Script("/f", Truncate(spreadFile.Size/2))
				s.Always("/f", When(ranged, f.step))
			})
		}
	}
	all.Wait()
	if _, peak := k.resident(); peak > 256*mib && !*withRace {
		t.Errorf("the daemon had %d MiB resident", peak>>20)
	}
}
