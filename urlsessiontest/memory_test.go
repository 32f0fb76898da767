package urlsessiontest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

func TestStallsFollowTheBubblesClock(t *testing.T) {
	for _, opts := range [][]Option{{InMemory()}, {InMemory(), WithTLS(ValidCertificate)}} {
		synctest.Test(t, func(t *testing.T) {
			srv := NewServer(opts...)
			defer srv.Close()
			srv.Publish("/f", Resource{Content: file})
			client := srv.Client()
			for _, c := range []struct {
				step Step
				want time.Duration
			}{
				{Delay(7 * 24 * time.Hour), 7 * 24 * time.Hour},
				{All(StallAt(AtBody(10), time.Hour), StallAt(AtBody(199_999), time.Minute)), time.Hour + time.Minute},
				{Slow(1000), time.Duration(200_000+134+7) * time.Millisecond},
				{Honest(), 0},
			} {
				srv.Script("/f", c.step)
				start := time.Now()
				_, body, err := fetch(client, srv.URL+"/f")
				if err != nil {
					t.Fatal(err)
				}
				same(t, body, content(file))
				if took := time.Since(start); took < c.want-100*time.Millisecond || took > c.want+100*time.Millisecond {
					t.Errorf("took %v, want %v", took, c.want)
				}
			}
			client.Timeout = 30 * time.Second
			srv.Script("/f", StallAt(AtBody(10), Forever))
			if _, _, err := fetch(client, srv.URL+"/f"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("stall: %v", err)
			}
			synctest.Wait()
			if load := srv.Load(); load.Requests != 0 {
				t.Errorf("%+v", load)
			}
		})
	}
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := func(opts ...Option) time.Duration {
			srv := NewServer(append(opts, InMemory())...)
			defer srv.Close()
			srv.Publish("/f", Resource{Content: file})
			start := time.Now()
			done := make(chan error, 2)
			for range 2 {
				client := srv.Client()
				go func() { _, _, err := fetch(client, srv.URL+"/f"); done <- err }()
			}
			if err := errors.Join(<-done, <-done); err != nil {
				t.Fatal(err)
			}
			return time.Since(start).Round(time.Second)
		}
		if took := both(ConnectionRate(20_000)); took != 10*time.Second {
			t.Errorf("two connections of 20 kB/s took %v", took)
		}
		if took := both(Rate(20_000)); took != 20*time.Second {
			t.Errorf("two connections at 20 kB/s together took %v", took)
		}
	})
}

func TestSlowReadAndSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(InMemory())
		defer srv.Close()
		srv.Script("/up", SlowRead(10_000), All(Respond(200, "t", "x"), SlowHeader(time.Second)))
		for _, want := range []time.Duration{20 * time.Second, 91 * time.Second} {
			start := time.Now()
			resp, err := srv.Client().Post(srv.URL+"/up", "", file.Reader())
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if took := time.Since(start).Round(time.Second); took != want {
				t.Errorf("took %v, want %v", took, want)
			}
		}
	})
}

// The connections in memory behave as TCP's do.
func TestMemoryConnections(t *testing.T) {
	srv := newServer(t, InMemory())
	dial := func() net.Conn {
		c, err := srv.DialContext(t.Context(), "tcp", "any.example:80")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := dial()
	if c.RemoteAddr().String() != "any.example:80" || c.LocalAddr().Network() != "memory" {
		t.Error(c.RemoteAddr(), c.LocalAddr())
	}
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	c.SetDeadline(time.Time{})
	io.WriteString(c, request("GET"))
	if got, err := io.ReadAll(c); err != nil || len(got) < int(file.Size) {
		t.Errorf("%d, %v", len(got), err)
	}
	if _, err := io.WriteString(c, request("GET")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after the server's close: %v", err)
	}
	c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if _, err := c.Write(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}

	srv.Script("/f", ResetAt(AtBody(10)))
	c = dial()
	io.WriteString(c, request("GET"))
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := srv.DialContext(cancelled, "tcp", "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	srv.Close()
	if _, err := srv.DialContext(t.Context(), "tcp", "x"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestServeConn(t *testing.T) {
	srv := newServer(t)
	client, server := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeConn(server) }()
	io.WriteString(client, request("GET"))
	resp, err := io.ReadAll(client)
	if err != nil || len(resp) < int(file.Size) {
		t.Errorf("%d, %v", len(resp), err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	srv.Close()
	_, server = net.Pipe()
	if err := srv.ServeConn(server); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestPathologicalRequests(t *testing.T) {
	srv := newServer(t, InMemory())
	for _, text := range []string{"nonsense\r\n\r\n", "GET /f HTTP/1.1\r\nno colon\r\n\r\n"} {
		if answer, err := exchange(t, srv, text); err != nil || answer[:12] != "HTTP/1.1 400" {
			t.Errorf("%q: %q, %v", text, answer, err)
		}
	}
	c, err := srv.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.Copy(c, io.MultiReader(readerOf("GET /f HTTP/1.1\r\nX: "), Body{Size: 4 << 20}.Reader()))
	if line := make([]byte, 12); true {
		if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 400" {
			t.Errorf("long header: %q, %v", line, err)
		}
	}
	if n := srv.Load().TotalRequests; n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestPipelinedRequests(t *testing.T) {
	srv := newServer(t)
	srv.Script("/f", All(Respond(200, "t", "one"), StallAt(AtBody(1), 5*time.Millisecond)), Respond(200, "t", "two"))
	answer, err := exchange(t, srv, "GET /f HTTP/1.1\r\nHost: x\r\n\r\n"+request("GET"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := cutHead(answer)
	if rest[:15] != "oneHTTP/1.1 200" || rest[len(rest)-3:] != "two" {
		t.Errorf("%q", answer)
	}
}
