package transport

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTransport(t testing.TB, o Options) *Transport {
	t.Helper()
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func get(t testing.TB, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// fetch is a request and its body, read to its end; err is the Transport's or, by Classify, the body's.
func fetch(rt http.RoundTripper, req *http.Request) (*http.Response, []byte, error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, body, Classify("read response", req.URL.String(), err)
	}
	return resp, body, nil
}

// serveRaw calls handle for every connection to a new listener and returns its address.
func serveRaw(t testing.TB, handle func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

// answer reads a request's head and sends reply.
func answer(reply string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, reply)
		}
	}
}

func wantCode(t *testing.T, err error, code task.Code) *task.Error {
	t.Helper()
	e, ok := err.(*task.Error)
	if !ok {
		t.Fatalf("error %v (%T), want a *task.Error with %d", err, err, code)
	}
	if e.Code != code {
		t.Fatalf("%v: code %d, want %d", e, e.Code, code)
	}
	if strings.Contains(e.Error(), "secret") {
		t.Errorf("%q tells a secret", e)
	}
	return e
}
