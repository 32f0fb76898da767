package urlsessiontest_test

import (
	"sync"
	"testing"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

func TestOnConnection(t *testing.T) {
	srv := newServer(t)
	srv.Always("/f", OnConnection(2, Status(503)))
	for connection, want := range []int{200, 503, 200} {
		client := srv.Client() // each has a connection of its own, which it keeps
		for range 2 {
			if resp, _, err := fetch(client, srv.URL+"/f"); err != nil || resp.StatusCode != want {
				t.Errorf("connection %d: %v, %v; want %d", connection+1, resp, err, want)
			}
		}
	}
}

func TestBeyond(t *testing.T) {
	srv := newServer(t)
	gate := NewGate()
	srv.Script("/f", HoldAt(BeforeHeader(), gate), Beyond(2, Status(503)), HoldAt(BeforeHeader(), gate), Beyond(2, Status(503)))
	var held sync.WaitGroup
	hold := func(n int) {
		held.Go(func() { fetch(srv.Client(), srv.URL+"/f") })
		if err := srv.WaitRequests(within(t), "/f", n); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(want int) {
		if resp, _, err := fetch(srv.Client(), srv.URL+"/f"); err != nil || resp.StatusCode != want {
			t.Errorf("%v, %v; want %d", resp, err, want)
		}
	}
	hold(1)
	ask(200)
	hold(3)
	ask(503)
	gate.Open()
	held.Wait()
}

func TestDisconnect(t *testing.T) {
	for name, opts := range map[string][]Option{"sockets": nil, "in memory": {InMemory()}} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, opts...)
			gate := NewGate()
			srv.Script("/f", HoldAt(AtBody(1000), gate))
			var cut sync.WaitGroup
			cut.Go(func() {
				if err := gate.Wait(within(t)); err != nil {
					t.Error(err)
				}
				srv.Disconnect()
			})
			if _, _, err := fetch(srv.Client(), srv.URL+"/f"); !isReset(err) {
				t.Errorf("%v, want a reset", err)
			}
			cut.Wait()
			if resp, _, err := fetch(srv.Client(), srv.URL+"/f"); err != nil || resp.StatusCode != 200 {
				t.Errorf("afterwards %v, %v", resp, err)
			}
		})
	}
}
