package urlsessiontest_test

import (
	"bufio"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

func TestUploadsAreRecorded(t *testing.T) {
	srv := newServer(t, KeepBodies(10))
	up := Body{Seed: 5, Size: 300_000}
	for _, length := range []int64{up.Size, -1} { // -1: chunked
		req, _ := http.NewRequest("PUT", srv.URL+"/new?q", up.Reader())
		req.ContentLength = length
		req.Header.Set("X-A", "b")
		req.Trailer = http.Header{"X-T": {"end"}}
		if length >= 0 {
			req.Trailer = nil
		}
		resp, err := srv.Client().Do(req)
		if err != nil || resp.StatusCode != 201 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	if err := srv.WaitIdle(within(t)); err != nil {
		t.Fatal(err)
	}
	for i, r := range srv.RequestsTo("/new") {
		if r.Number != i+1 || r.Method != "PUT" || r.Target != "/new?q" || r.Path != "/new" || r.Proto != "HTTP/1.1" ||
			r.Header.Get("X-A") != "b" || r.BodySize != up.Size || r.BodySHA256 != up.SHA256() || r.BodyError != nil ||
			string(r.Body) != content(up)[:10] || r.Status != 201 || r.TLS != nil || r.Ended.Before(r.Time) || r.Host == "" {
			t.Errorf("%+v", r)
		}
	}
	if got := srv.Requests()[1].Trailer.Get("X-T"); got != "end" {
		t.Errorf("trailer %q", got)
	}
	// A body that ends early is recorded as far as it came.
	c, err := srv.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "PUT /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
	c.Close()
	if err := srv.WaitRequests(within(t), "/cut", 1); err != nil {
		t.Fatal(err)
	}
	if err := srv.WaitIdle(within(t)); err != nil {
		t.Fatal(err)
	}
	r := srv.RequestsTo("/cut")[0]
	if r.BodyError != io.ErrUnexpectedEOF || string(r.Body) != "12345" || r.BodySHA256 != sha256.Sum256([]byte("12345")) || r.Status != 0 {
		t.Errorf("%+v", r)
	}
}

// expect sends a header that expects 100-continue and returns the first line
// of what comes within wait, without sending the body.
func expect(t *testing.T, srv *Server, wait time.Duration) (string, *bufio.Reader, io.WriteCloser) {
	t.Helper()
	c, err := srv.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	io.WriteString(c, "PUT /f HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(wait))
	br := bufio.NewReader(c)
	line, _ := br.ReadString('\n')
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	return strings.TrimSpace(line), br, c
}

func TestContinue(t *testing.T) {
	srv := newServer(t)
	line, br, c := expect(t, srv, 20*time.Second)
	if line != "HTTP/1.1 100 Continue" {
		t.Fatalf("honest: %q", line)
	}
	br.ReadString('\n')
	io.WriteString(c, "body")
	if line, err := br.ReadString('\n'); line != "HTTP/1.1 204 No Content\r\n" {
		t.Errorf("after the body: %q, %v", line, err)
	}

	srv.Script("/f", RefuseContinue())
	if line, _, _ := expect(t, srv, 20*time.Second); line != "HTTP/1.1 417 Expectation Failed" {
		t.Errorf("refused: %q", line)
	}
	srv.Script("/f", RejectBody(413))
	if line, _, _ := expect(t, srv, 20*time.Second); line != "HTTP/1.1 413 Request Entity Too Large" {
		t.Errorf("rejected: %q", line)
	}

	srv.Script("/f", IgnoreContinue())
	line, br, c = expect(t, srv, 50*time.Millisecond)
	if line != "" {
		t.Errorf("ignored: %q", line)
	}
	io.WriteString(c, "body")
	if line, err := br.ReadString('\n'); line != "HTTP/1.1 204 No Content\r\n" {
		t.Errorf("after the body: %q, %v", line, err)
	}
}

// The refusal reaches a client that is still sending more than any buffer holds.
func TestRejectedBody(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithTLS(ValidCertificate)}, {InMemory()}} {
		srv := newServer(t, opts...)
		srv.Script("/f", RejectBody(413))
		req, _ := http.NewRequest("POST", srv.URL+"/f", Body{Size: 1 << 30}.Reader())
		req.ContentLength = 1 << 30
		resp, err := srv.Client().Do(req)
		if err != nil || resp.StatusCode != 413 || !resp.Close {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
		srv.WaitIdle(within(t))
		if r := srv.Requests()[0]; r.BodySize != 0 {
			t.Errorf("%d bytes read", r.BodySize)
		}
	}
}

func TestConnectionLostInMidUpload(t *testing.T) {
	srv := newServer(t)
	srv.Script("/f", All(ReadUpTo(100_000), ResetAt(BeforeHeader())))
	_, err := srv.Client().Post(srv.URL+"/f", "", Body{Size: 10 << 20}.Reader())
	if err == nil {
		t.Error("the upload went well")
	}
	if r := srv.Requests()[0]; r.BodySize != 100_000 {
		t.Errorf("%d bytes read", r.BodySize)
	}
}

func TestNeverReadFillsTheBuffers(t *testing.T) {
	srv := newServer(t, InMemory())
	srv.Script("/f", NeverRead())
	c, err := srv.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := io.Copy(c, Body{Size: 1_000_000}.Reader()); err == nil || n > 100_000 {
		t.Errorf("wrote %d, %v", n, err)
	}
	if r := srv.Requests()[0]; r.BodySize != 0 {
		t.Errorf("%d bytes read", r.BodySize)
	}
}
