package tus_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/test/tus"
	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var file = urlsessiontest.Body{Seed: 3, Size: 300_000}

// start is a server with a client of its own.
func start(t *testing.T, maxSize int64) (*tus.Server, *http.Client) {
	t.Helper()
	srv, err := tus.Start(t.TempDir(), maxSize, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return srv, &http.Client{Transport: transport}
}

// ask makes one request with n bytes of file from off, and the header fields of pairs, and returns the 104s that came too. It
// fails unless the status is want, or want is 0.
func ask(t *testing.T, client *http.Client, want int, method, url string, off, n int64, pairs ...string) (resp *http.Response, interims []http.Header) {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 104 {
			interims = append(interims, http.Header(h))
		}
		return nil
	}})
	var body io.Reader
	if n > 0 {
		body = io.NewSectionReader(file, off, n)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = n
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Header.Set(pairs[i], pairs[i+1])
	}
	resp, err = client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	t.Logf("%s %v: %d %v %q", method, pairs, resp.StatusCode, resp.Header, text)
	if want != 0 && resp.StatusCode != want {
		t.Errorf("%s %s is answered %s, want %d", method, url, resp.Status, want)
	}
	return resp, interims
}

func has(t *testing.T, h http.Header, pairs ...string) {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if got := h.Get(pairs[i]); got != pairs[i+1] {
			t.Errorf("%s: %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
}

// whole fails unless the upload at location is file.
func whole(t *testing.T, srv *tus.Server, location string) {
	t.Helper()
	f, err := srv.Open(location)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := file.Check(f); err != nil {
		t.Error(err)
	}
}

const v1 = "1.0.0"

func TestTus(t *testing.T) {
	srv, client := start(t, 1<<20)
	resp, _ := ask(t, client, 200, "OPTIONS", srv.URL, 0, 0)
	has(t, resp.Header, "Tus-Version", v1, "Tus-Max-Size", "1048576",
		"Tus-Extension", "creation,creation-with-upload,termination,concatenation,creation-defer-length")
	ask(t, client, 412, "POST", srv.URL, 0, 0, "Upload-Length", "10")
	ask(t, client, 413, "POST", srv.URL, 0, 0, "Tus-Resumable", v1, "Upload-Length", "1048577")

	resp, _ = ask(t, client, 201, "POST", srv.URL, 0, 0, "Tus-Resumable", v1, "Upload-Length", "300000", "Upload-Metadata", "filename Zg==")
	location := resp.Header.Get("Location")
	const media = "application/offset+octet-stream"
	resp, _ = ask(t, client, 204, "PATCH", location, 0, 100_000, "Tus-Resumable", v1, "Upload-Offset", "0", "Content-Type", media)
	has(t, resp.Header, "Upload-Offset", "100000", "Tus-Resumable", v1)
	resp, _ = ask(t, client, 200, "HEAD", location, 0, 0, "Tus-Resumable", v1)
	has(t, resp.Header, "Upload-Offset", "100000", "Upload-Length", "300000", "Upload-Metadata", "filename Zg==", "Cache-Control", "no-store")
	resp, _ = ask(t, client, 409, "PATCH", location, 0, 10, "Tus-Resumable", v1, "Upload-Offset", "0", "Content-Type", media)
	has(t, resp.Header, "Upload-Offset", "")
	ask(t, client, 400, "PATCH", location, 0, 10, "Tus-Resumable", v1, "Upload-Offset", "100000")
	ask(t, client, 413, "PATCH", location, 0, 200_001, "Tus-Resumable", v1, "Upload-Offset", "100000", "Content-Type", media)
	ask(t, client, 204, "PATCH", location, 100_000, 200_000, "Tus-Resumable", v1, "Upload-Offset", "100000", "Content-Type", media,
		"Upload-Checksum", "sha1 AAAA")
	whole(t, srv, location)
	resp, _ = ask(t, client, 204, "PATCH", location, 0, 0, "Tus-Resumable", v1, "Upload-Offset", "300000", "Content-Type", media)
	has(t, resp.Header, "Upload-Offset", "300000")
	ask(t, client, 204, "DELETE", location, 0, 0, "Tus-Resumable", v1)
	ask(t, client, 404, "HEAD", location, 0, 0, "Tus-Resumable", v1)
}

func TestTusWithUploadAndConcatenation(t *testing.T) {
	srv, client := start(t, 0)
	const media = "application/offset+octet-stream"
	var parts []string
	for off := int64(0); off < file.Size; off += 100_000 {
		resp, _ := ask(t, client, 201, "POST", srv.URL, off, 100_000, "Tus-Resumable", v1, "Upload-Length", "100000", "Upload-Concat", "partial", "Content-Type", media)
		has(t, resp.Header, "Upload-Offset", "100000")
		parts = append(parts, resp.Header.Get("Location"))
	}
	unfinished, _ := ask(t, client, 201, "POST", srv.URL, 0, 0, "Tus-Resumable", v1, "Upload-Length", "5", "Upload-Concat", "partial")
	ask(t, client, 400, "POST", srv.URL, 0, 0, "Tus-Resumable", v1, "Upload-Concat", "final;"+parts[0]+" "+unfinished.Header.Get("Location"))
	resp, _ := ask(t, client, 201, "POST", srv.URL, 0, 0, "Tus-Resumable", v1, "Upload-Concat", "final;"+strings.Join(parts, " "))
	final := resp.Header.Get("Location")
	whole(t, srv, final)
	resp, _ = ask(t, client, 200, "HEAD", final, 0, 0, "Tus-Resumable", v1)
	has(t, resp.Header, "Upload-Length", "300000", "Upload-Offset", "300000", "Upload-Concat", "final;"+strings.Join(parts, " "))
	ask(t, client, 403, "PATCH", final, 0, 1, "Tus-Resumable", v1, "Upload-Offset", "300000", "Content-Type", media)

	resp, _ = ask(t, client, 201, "POST", srv.URL, 0, 0, "Tus-Resumable", v1, "Upload-Defer-Length", "1")
	location := resp.Header.Get("Location")
	ask(t, client, 204, "PATCH", location, 0, 300_000, "Tus-Resumable", v1, "Upload-Offset", "0", "Content-Type", media)
	resp, _ = ask(t, client, 200, "HEAD", location, 0, 0, "Tus-Resumable", v1)
	has(t, resp.Header, "Upload-Defer-Length", "1", "Upload-Length", "", "Upload-Offset", "300000")
	ask(t, client, 204, "PATCH", location, 0, 0, "Tus-Resumable", v1, "Upload-Offset", "300000", "Content-Type", media, "Upload-Length", "300000")
	resp, _ = ask(t, client, 200, "HEAD", location, 0, 0, "Tus-Resumable", v1)
	has(t, resp.Header, "Upload-Length", "300000")
}

// What tusd makes of the IETF's draft, by interop version.
func TestDraft(t *testing.T) {
	srv, client := start(t, 0)
	for version := 3; version <= 6; version++ {
		v := []string{"Upload-Draft-Interop-Version", strconv.Itoa(version)}
		flag, yes, no := "Upload-Complete", "?1", "?0"
		if version == 3 {
			flag, yes, no = "Upload-Incomplete", "?0", "?1"
		}
		with := func(pairs ...string) []string { return append(pairs, v...) }

		resp, interims := ask(t, client, 201, "POST", srv.URL, 0, file.Size, with(flag, yes)...)
		if len(interims) != 1 || interims[0].Get("Location") != resp.Header.Get("Location") || interims[0].Get(v[0]) != v[1] {
			t.Errorf("version %d: %v", version, interims)
		}
		has(t, resp.Header, "Upload-Offset", "300000", "Upload-Limit", "min-size=0,max-size=300000", flag, "")
		whole(t, srv, resp.Header.Get("Location"))

		location := cut(t, srv, with(flag, yes, "Content-Length", "300000"))
		resp, _ = ask(t, client, 204, "HEAD", location, 0, 0, v...)
		has(t, resp.Header, flag, no, "Upload-Offset", "100000", "Upload-Length", "300000", v[0], v[1], "Cache-Control", "no-store")
		resp, _ = ask(t, client, 409, "PATCH", location, 0, 10, with(flag, no, "Upload-Offset", "0", "Content-Type", "application/partial-upload")...)
		has(t, resp.Header, "Upload-Offset", "")
		if version == 6 {
			ask(t, client, 400, "PATCH", location, 0, 10, with(flag, no, "Upload-Offset", "100000")...)
			ask(t, client, 400, "PATCH", location, 100_000, 10, with(flag, no, "Upload-Offset", "100000", "Upload-Length", "300000", "Content-Type", "application/partial-upload")...)
		}
		// It does not ask whether all is said to be there.
		resp, _ = ask(t, client, 204, "PATCH", location, 100_000, 200_000, with(flag, no, "Upload-Offset", "100000", "Content-Type", "application/partial-upload")...)
		has(t, resp.Header, "Upload-Offset", "300000", flag, "")
		whole(t, srv, location)
		resp, _ = ask(t, client, 204, "HEAD", location, 0, 0, v...)
		has(t, resp.Header, flag, yes)
		ask(t, client, 204, "PATCH", location, 0, 0, with(flag, yes, "Upload-Offset", "300000", "Content-Type", "application/partial-upload")...)
		ask(t, client, 204, "DELETE", location, 0, 0, v...)
		ask(t, client, 404, "HEAD", location, 0, 0, v...)

		resp, _ = ask(t, client, 200, "OPTIONS", srv.URL, 0, 0, v...)
		has(t, resp.Header, "Upload-Limit", "min-size=0", "Accept-Patch", "")
		resp, _ = ask(t, client, 201, "POST", srv.URL, 0, 0, with(flag, no)...)
		resp, _ = ask(t, client, 204, "HEAD", resp.Header.Get("Location"), 0, 0, v...)
		has(t, resp.Header, flag, no, "Upload-Offset", "0", "Upload-Length", "", "Upload-Limit", "min-size=0")
	}
	for _, version := range []string{"7", "8"} { // it takes them for tus 1.0
		_, interims := ask(t, client, 412, "POST", srv.URL, 0, 10, "Upload-Complete", "?1", "Upload-Draft-Interop-Version", version)
		if len(interims) != 0 {
			t.Error(interims)
		}
	}
}

// cut begins an upload and leaves after 100,000 bytes, and returns where it is.
func cut(t *testing.T, srv *tus.Server, pairs []string) string {
	t.Helper()
	host := strings.TrimSuffix(strings.TrimPrefix(srv.URL, "http://"), "/files/")
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	head := "POST /files/ HTTP/1.1\r\nHost: " + host + "\r\n"
	for i := 0; i+1 < len(pairs); i += 2 {
		head += pairs[i] + ": " + pairs[i+1] + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(c, io.NewSectionReader(file, 0, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("cut: %q", answer)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 104 ") || !strings.Contains(string(answer), "\r\n\r\nHTTP/1.1 400 ") {
		t.Errorf("%q", answer)
	}
	_, rest, _ := strings.Cut(string(answer), "Location: ")
	location, _, ok := strings.Cut(rest, "\r\n")
	if !ok {
		t.Fatalf("no Location: %q", answer)
	}
	return location
}
