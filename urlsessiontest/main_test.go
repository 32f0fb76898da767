package urlsessiontest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// file is the content of most tests: more than one buffer of the server's.
var file = Body{Seed: 7, Size: 200_000}

// newServer is a server with file at /f, closed at the test's end.
func newServer(t *testing.T, opts ...Option) *Server {
	t.Helper()
	srv := NewServer(opts...)
	t.Cleanup(srv.Close)
	srv.Publish("/f", Resource{Content: file, ETag: `"v1"`})
	return srv
}

// exchange sends a request's bytes over a new socket and returns all that comes
// back, with the error that ended it (nil for an orderly end).
func exchange(t *testing.T, srv *Server, request string) (string, error) {
	t.Helper()
	c, err := srv.DialContext(t.Context(), "tcp", "origin.test:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	return string(answer), err
}

// get exchanges a GET of /f with further header lines, on a connection that
// closes after it.
func get(t *testing.T, srv *Server, lines ...string) (head, body string) {
	t.Helper()
	answer, err := exchange(t, srv, request("GET", lines...))
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	head, body, _ = strings.Cut(answer, "\r\n\r\n")
	return head + "\r\n", body
}

func request(method string, lines ...string) string {
	all := append([]string{method + " /f HTTP/1.1", "Host: origin.test", "Connection: close"}, lines...)
	return strings.Join(all, "\r\n") + "\r\n\r\n"
}

// has fails unless the header has each of the lines, or, after "!", lacks a
// field.
func has(t *testing.T, head string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if absent, ok := strings.CutPrefix(line, "!"); ok {
			if strings.Contains(head, "\r\n"+absent+":") {
				t.Errorf("%s is there:\n%s", absent, head)
			}
		} else if !strings.Contains("\r\n"+head, "\r\n"+line+"\r\n") {
			t.Errorf("no line %q in\n%s", line, head)
		}
	}
}

func content(b Body) string { return string(b.Bytes()) }

// same fails without printing what is long.
func same(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Errorf("%d bytes, want %d; they differ at %d: %.40q, want %.40q", len(got), len(want), i, got[i:], want[i:])
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// fetch is a GET by net/http; a body's error is returned with what was read.
func fetch(client *http.Client, url string, header ...string) (*http.Response, string, error) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return nil, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func isReset(err error) bool {
	return err != nil && strings.Contains(err.Error(), "reset by peer")
}

func cutHead(answer string) (head, body string, ok bool) {
	head, body, ok = strings.Cut(answer, "\r\n\r\n")
	return head + "\r\n", body, ok
}

func readerOf(s string) io.Reader { return strings.NewReader(s) }
