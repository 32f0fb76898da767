package urlsession

import (
	"errors"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

// offline is a session for tests that create no task.
func offline(t *testing.T, change func(*Configuration)) *Session {
	t.Helper()
	c := Ephemeral()
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestURLsThatCannotBeAskedFor(t *testing.T) {
	s := offline(t, nil)
	const secret = "hunter2"
	for _, c := range []struct {
		url    string
		code   Code
		remedy string
	}{
		{"", ErrBadURL, "empty"},
		{"example.com/f", ErrBadURL, "https://"},
		{"/f", ErrBadURL, "https://"},
		{"//example.com/f", ErrBadURL, "https://"},
		{"://example.com", ErrBadURL, "https://"},
		{"http://", ErrBadURL, "host"},
		{"http:///f", ErrBadURL, "host"},
		{"http://:8080/f", ErrBadURL, "host"},
		{"http:example.com", ErrBadURL, "host"},
		{"http://example.com:0/f", ErrBadURL, "from 1 to 65535"},
		{"http://example.com:65536/f", ErrBadURL, "from 1 to 65535"},
		{"http://example.com:99999999999999999999/f", ErrBadURL, "from 1 to 65535"},
		{"http://example.com:http/f", ErrBadURL, "port"},
		{"http://example.com:-1/f", ErrBadURL, "port"},
		{"http://exa mple.com/f", ErrBadURL, "host"},
		{"http://[::1/f", ErrBadURL, "host"},
		{"http://example.com/%zz", ErrBadURL, "%25"},
		{" http://example.com/", ErrBadURL, "white space"},
		{"http://example.com/\x00", ErrBadURL, "control character"},
		{"http://example.com/a\nb", ErrBadURL, "control character"},
		{"ftp://example.com/f", ErrUnsupportedURL, "http and https"},
		{"file:///etc/passwd", ErrUnsupportedURL, "http and https"},
		{"HTTPX://example.com", ErrUnsupportedURL, "http and https"},
		{"http://user:" + secret + "%zz@example.com/", ErrBadURL, "%25"},
		{"http://user:" + secret + "^[@example.com/", ErrBadURL, "percent-encode"},
		{"http://user:" + secret + "@example.com:0/?key=" + secret, ErrBadURL, "65535"},
		{"http://user:x:" + secret + "@example.com:nope/", ErrBadURL, "port"},
		{"ftp://user:" + secret + "@example.com/?key=" + secret, ErrUnsupportedURL, "http and https"},
		{"localhost:8080/f", ErrUnsupportedURL, "http://"},
		{"user:" + secret + "@example.com/f?key=" + secret, ErrUnsupportedURL, "http://"},
	} {
		for _, kind := range []task.Kind{task.Data, task.Download, task.Upload} {
			_, _, err := s.newSpec(kind, Put(c.url, Bytes(nil)))
			if !errors.Is(err, c.code) {
				t.Errorf("%s of %q: %v, want %d", kind, c.url, err, c.code)
				continue
			}
			if !strings.Contains(err.Error(), c.remedy) {
				t.Errorf("%s of %q: %q does not say %q", kind, c.url, err, c.remedy)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error of %q tells the secret: %v", c.url, err)
			}
		}
	}
	for _, url := range []string{"http://example.com", "HTTPS://example.com:65535/f?q#f", "http://[::1]:1/", "http://u:p@example.com/", "http://example.com:/"} {
		if _, _, err := s.newSpec(task.Data, Get(url)); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	s := offline(t, nil)
	const url = "http://example.com/f"
	for _, c := range []struct {
		name string
		kind task.Kind
		r    Request
		says string
	}{
		{"method with a space", task.Data, Request{Method: "GET /", URL: url}, "Request.Method"},
		{"CONNECT", task.Data, Request{Method: "CONNECT", URL: url}, "Configuration.Proxy"},
		{"upload by GET", task.Upload, Request{Method: "GET", URL: url, Body: Text("x")}, "PUT, POST or PATCH"},
		{"upload of nothing", task.Upload, Request{URL: url}, "Bytes, File"},
		{"TRACE with a body", task.Data, Request{Method: "TRACE", URL: url, Body: Text("x")}, "RFC 9110"},
		{"negative priority", task.Data, Request{URL: url, Priority: -.1}, "Request.Priority"},
		{"too much priority", task.Data, Request{URL: url, Priority: 1.1}, "Request.Priority"},
		{"no number as priority", task.Data, Request{URL: url, Priority: Priority(math.NaN())}, "Request.Priority"},
		{"negative rate limit", task.Data, Request{URL: url, RateLimit: -1}, "Request.RateLimit"},
		{"negative limit", task.Data, Request{URL: url, Limit: -1}, "Request.Limit"},
		{"limit of a download", task.Download, Request{URL: url, Limit: 1}, "Request.Limit"},
		{"limit of a stream", task.Data, Request{URL: url, Limit: 1, Stream: true}, "Request.Limit"},
		{"streamed download", task.Download, Request{URL: url, Stream: true}, "Request.Stream"},
		{"streamed upload", task.Upload, Request{URL: url, Stream: true, Body: Text("x")}, "Request.Stream"},
		{"conflict of data", task.Data, Request{URL: url, Conflict: ConflictReplace}, "only a download"},
		{"digest of data", task.Data, Request{URL: url, Digests: []string{"md5=d41d8cd98f00b204e9800998ecf8427e"}}, "only a download"},
		{"checksum file of an upload", task.Upload, Request{URL: url, Body: Text("x"), DigestFile: "f"}, "give a File"},
		{"header name", task.Data, Request{URL: url, Header: http.Header{"A b": {"v"}}}, `"A b"`},
		{"header value", task.Data, Request{URL: url, Header: http.Header{"Authorization": {"hunter2\r\nX: y"}}}, `"Authorization"`},
		{"Content-Length", task.Data, Request{URL: url, Header: http.Header{"content-length": {"1"}}}, "Body"},
		{"Transfer-Encoding", task.Data, Request{URL: url, Header: http.Header{"Transfer-Encoding": {"chunked"}}}, "Body"},
		{"two hosts", task.Data, Request{URL: url, Header: http.Header{"Host": {"a", "b"}}}, `"Host"`},
		{"range of a download", task.Download, Request{URL: url, Header: http.Header{"range": {"bytes=0-1"}}}, `data task`},
		{"body that is no JSON", task.Data, Post(url, JSON(func() {})), "JSON"},
		{"stream of nothing", task.Data, Post(url, Stream(nil, 0, nil)), "nil"},
		{"stream of negative size", task.Data, Post(url, Stream(strings.NewReader(""), -2, nil)), "-1"},
	} {
		_, _, err := s.newSpec(c.kind, c.r)
		e, ok := errors.AsType[*Error](err)
		if !ok || !strings.Contains(e.Error(), c.says) || strings.Contains(e.Error(), "hunter2") {
			t.Errorf("%s: %v; it should name %s", c.name, err, c.says)
		}
	}
}

func TestHeadersAreMergedByCanonicalName(t *testing.T) {
	s := offline(t, func(c *Configuration) {
		c.AdditionalHeaders = http.Header{"x-one": {"session"}, "X-TWO": {"session"}, "User-Agent": {"app"}, "content-type": {"session"}}
	})
	own := http.Header{"X-One": {"own"}, "x-three": {"a"}, "X-Three": {"b"}, "user-agent": {}}
	spec, _, err := s.newSpec(task.Data, Request{Method: "POST", URL: "http://example.com", Header: own, Body: JSON(1)})
	if err != nil {
		t.Fatal(err)
	}
	h := spec.Request.Header
	if got := h["X-One"]; len(got) != 1 || got[0] != "own" {
		t.Errorf("X-One is %q: the request's own header must win", got)
	}
	if got := h["X-Two"]; len(got) != 1 || got[0] != "session" {
		t.Errorf("X-Two is %q: the additional header must be added", got)
	}
	if got := h["X-Three"]; len(got) != 2 {
		t.Errorf("X-Three is %q: both spellings are one field", got)
	}
	if got, ok := h["User-Agent"]; !ok || len(got) != 0 {
		t.Errorf("User-Agent is %q: an empty list suppresses the additional one", got)
	}
	if got := h.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q: the body's type is nearer than the session's", got)
	}
	h.Set("X-Two", "changed")
	if s.config.AdditionalHeaders.Get("X-Two") != "session" {
		t.Error("a task's header shares the session's")
	}
	spec, _, _ = s.newSpec(task.Data, Request{Method: "POST", URL: "http://example.com", Header: http.Header{"content-type": {"own"}}, Body: JSON(1)})
	if got := spec.Request.Header.Get("Content-Type"); got != "own" {
		t.Errorf("Content-Type is %q: the request's own must win over the body's", got)
	}
}

func TestMethodByDefault(t *testing.T) {
	s := offline(t, nil)
	for kind, want := range map[task.Kind]string{task.Data: "GET", task.Download: "GET", task.Upload: "PUT"} {
		spec, _, err := s.newSpec(kind, Request{URL: "http://example.com", Body: Text("x")})
		if err != nil || spec.Request.Method != want {
			t.Errorf("%s: %q, %v; want %s", kind, spec.Request.Method, err, want)
		}
	}
}

func TestDestinations(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("folder", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("folder", "link"); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		given, path string
		folder      bool
	}{
		{"", "", false},
		{"f", filepath.Join(here, "f"), false},
		{"folder", filepath.Join(here, "folder"), true},
		{"folder/", filepath.Join(here, "folder"), true},
		{"link", filepath.Join(here, "link"), true},
		{"none/", filepath.Join(here, "none"), true},
		{".", here, true},
		{"/abs/f", "/abs/f", false},
	} {
		d, err := fileSpec(Request{}, c.given)
		if err != nil || d.Destination != c.given || d.Path != c.path || d.Folder != c.folder {
			t.Errorf("%q: %+v, %v; want %q, folder %v", c.given, d, err, c.path, c.folder)
		}
	}
	if _, err := fileSpec(Request{}, "a\x00b"); !errors.Is(err, ErrCannotCreateFile) {
		t.Errorf("a NUL: %v", err)
	}
}

func TestDigests(t *testing.T) {
	zeros := func(n int) string { return strings.Repeat("0", n) }
	for given, want := range map[string]string{
		"sha-256=" + zeros(64):                "sha-256=" + zeros(64),
		"SHA-256=" + strings.Repeat("AB", 32): "sha-256=" + strings.Repeat("ab", 32),
		"sha-512=" + zeros(128):               "sha-512=" + zeros(128),
		"md5=" + zeros(32):                    "md5=" + zeros(32),
		"md5=" + zeros(31):                    "",
		"md5=" + zeros(34):                    "",
		"sha-1=" + zeros(40):                  "",
		"sha-256=" + strings.Repeat("zz", 32): "",
		zeros(64):                             "",
		"sha-256:" + zeros(64):                "",
		"":                                    "",
	} {
		d, err := fileSpec(Request{Digests: []string{given}}, "f")
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "sha-256=")):
			t.Errorf("%q: %v, want an error with the remedy", given, err)
		case want != "" && (err != nil || d.Digests[0] != want):
			t.Errorf("%q: %+v, %v", given, d, err)
		}
	}
	if _, err := fileSpec(Request{DigestFile: filepath.Join(t.TempDir(), "none")}, "f"); !errors.Is(err, ErrFileDoesNotExist) {
		t.Errorf("a missing checksum file: %v", err)
	}
	if _, err := fileSpec(Request{Conflict: 7}, "f"); err == nil || !strings.Contains(err.Error(), "ConflictRename") {
		t.Errorf("conflict 7: %v", err)
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"http://example.com:0", "https://u:p%zz@h/", "//h", "ftp://h", "http://[::1", "http://h:99999", "%", ""} {
		f.Add(s)
	}
	s := &Session{}
	f.Fuzz(func(t *testing.T, raw string) {
		code, why := checkURL(raw)
		if (code == 0) != (why == "") {
			t.Fatalf("%q: code %d, but says %q", raw, code, why)
		}
		_, _, err := s.newSpec(task.Data, Request{URL: raw})
		if (code == 0) != (err == nil) {
			t.Fatalf("%q: %v", raw, err)
		}
		if err == nil {
			if _, err := http.NewRequest("GET", raw, nil); err != nil {
				t.Fatalf("%q passes, but net/http says %v", raw, err)
			}
		}
	})
}
