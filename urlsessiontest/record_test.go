package urlsessiontest_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

func TestLoadShowsHowManyAtOnce(t *testing.T) {
	srv := newServer(t)
	gate := NewGate()
	srv.Always("/f", HoldAt(BeforeHeader(), gate))
	client := srv.Client()
	client.Transport.(*http.Transport).MaxConnsPerHost = 6
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { fetch(client, srv.URL+"/f") })
	}
	if err := srv.WaitRequests(within(t), "/f", 6); err != nil {
		t.Fatal(err)
	}
	if l := srv.Load(); l.Requests != 6 || l.Connections != 6 {
		t.Errorf("%+v", l)
	}
	gate.Open()
	all.Wait()
	client.CloseIdleConnections()
	if err := srv.WaitDisconnected(within(t)); err != nil {
		t.Fatal(err)
	}
	if l := srv.Load(); l != (Load{0, 6, 6, 0, 6, 20}) {
		t.Errorf("%+v", l)
	}
	if srv.Sent("/f") != 20*file.Size || srv.Count("/f") != 20 {
		t.Errorf("%d bytes, %d requests", srv.Sent("/f"), srv.Count("/f"))
	}
}

func TestSentCountsContentOnly(t *testing.T) {
	srv := newServer(t)
	srv.Script("/f", All(Chunked(), Truncate(1234)), Honest(), CloseAt(MidHeader()), Gzip())
	fetch(srv.Client(), srv.URL+"/f")
	fetch(srv.Client(), srv.URL+"/f", "Range", "bytes=1234-")
	srv.WaitIdle(within(t))
	if got := srv.Sent("/f"); got != file.Size {
		t.Errorf("sent %d of %d", got, file.Size)
	}
	r := srv.Requests()
	if r[0].Sent != 1234 || r[1].Sent != file.Size-1234 || r[1].Range() != "bytes=1234-" || r[0].Status != 200 || r[1].Status != 206 {
		t.Errorf("%+v", r)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	srv := newServer(t, KeepRequests(3))
	client := srv.Client()
	for i := range 10 {
		fetch(client, fmt.Sprintf("%s/%d", srv.URL, i))
	}
	r := srv.Requests()
	if len(r) != 3 || r[0].Number != 8 || r[2].Path != "/9" || r[2].Connection != 1 || srv.Load().TotalRequests != 10 {
		t.Errorf("%+v", r)
	}
}

func TestWaitsEndWithTheirContext(t *testing.T) {
	srv := newServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for _, err := range []error{srv.WaitRequests(ctx, Every, 1), srv.WaitSent(ctx, "/f", 1), NewGate().Wait(ctx)} {
		if err != context.DeadlineExceeded {
			t.Errorf("%v", err)
		}
	}
	if err := srv.WaitIdle(ctx); err != nil {
		t.Errorf("idle: %v", err)
	}
	go fetch(srv.Client(), srv.URL+"/f")
	if err := srv.WaitSent(within(t), "/f", file.Size); err != nil {
		t.Error(err)
	}
}
