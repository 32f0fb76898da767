package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// trips is a RoundTripper that answers from a list and remembers what it was asked.
type trips struct {
	answers []*http.Response
	asked   []*http.Request
	bodies  []string
}

func (t *trips) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		b, _ := io.ReadAll(req.Body)
		req.Body.Close()
		body = string(b)
	}
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	if n := len(t.asked); n < len(t.answers) {
		resp = t.answers[n]
	}
	t.asked, t.bodies = append(t.asked, req), append(t.bodies, body)
	resp.Request = req
	return resp, nil
}

func (t *trips) last() *http.Request { return t.asked[len(t.asked)-1] }

func to(status int, location ...string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Location": location}, Body: http.NoBody}
}

func TestRedirectMethodAndBody(t *testing.T) {
	for _, c := range []struct {
		status int
		method string
		want   string // "" final
		body   bool
	}{
		{300, "GET", "", false}, {304, "GET", "", false}, {305, "GET", "", false}, {306, "GET", "", false},
		{301, "GET", "GET", false}, {301, "HEAD", "HEAD", false}, {301, "POST", "GET", false}, {301, "PUT", "PUT", true}, {301, "DELETE", "DELETE", false},
		{302, "GET", "GET", false}, {302, "HEAD", "HEAD", false}, {302, "POST", "GET", false}, {302, "PATCH", "PATCH", true},
		{303, "GET", "GET", false}, {303, "HEAD", "HEAD", false}, {303, "POST", "GET", false}, {303, "PUT", "GET", false}, {303, "DELETE", "GET", false},
		{307, "GET", "GET", false}, {307, "POST", "POST", true}, {307, "PUT", "PUT", true}, {307, "HEAD", "HEAD", false},
		{308, "GET", "GET", false}, {308, "POST", "POST", true}, {308, "PUT", "PUT", true}, {308, "HEAD", "HEAD", false},
	} {
		var body io.Reader
		if c.method == "POST" || c.method == "PUT" || c.method == "PATCH" {
			body = strings.NewReader("body")
		}
		req, _ := http.NewRequest(c.method, "http://a.test/x", body)
		req.Header.Set("Content-Type", "text/plain")
		req.Header.Set("Expect", "100-continue")
		req.Header.Set("X-Mine", "1")
		rt := &trips{answers: []*http.Response{to(c.status, "/y")}}
		resp, err := Follow(rt, req, Redirects{})
		if err != nil {
			t.Errorf("%d %s: %v", c.status, c.method, err)
			continue
		}
		if c.want == "" {
			if resp.StatusCode != c.status || len(rt.asked) != 1 {
				t.Errorf("%d is not final", c.status)
			}
			continue
		}
		got := rt.last()
		if len(rt.asked) != 2 || got.Method != c.want || got.URL.Path != "/y" || got.Header.Get("X-Mine") != "1" || got.Response.StatusCode != c.status {
			t.Errorf("%d %s: then %s %s %v", c.status, c.method, got.Method, got.URL, got.Header)
		}
		if sent := rt.bodies[1] == "body"; sent != c.body || sent != (got.ContentLength == 4) {
			t.Errorf("%d %s: body sent again: %v, length %d", c.status, c.method, sent, got.ContentLength)
		}
		if kept := got.Header.Get("Content-Type") != ""; kept != (c.want == c.method) {
			t.Errorf("%d %s: body's headers kept: %v", c.status, c.method, kept)
		}
	}
}

// The request that a 303 asks for is a retrieval, also after a GET that had a body.
func TestRedirectSeeOtherDropsBody(t *testing.T) {
	req, _ := http.NewRequest("GET", "http://a.test/x", strings.NewReader("body"))
	req.Header.Set("Content-Type", "text/plain")
	rt := &trips{answers: []*http.Response{to(303, "/y")}}
	if _, err := Follow(rt, req, Redirects{}); err != nil {
		t.Fatal(err)
	}
	if got := rt.last(); got.Method != "GET" || rt.bodies[1] != "" || got.ContentLength != 0 || got.Header.Get("Content-Type") != "" {
		t.Errorf("then %s with %q, length %d, %v", got.Method, rt.bodies[1], got.ContentLength, got.Header)
	}
}

func TestRedirectBodyThatCannotBeReadAgain(t *testing.T) {
	for _, length := range []int64{4, -1} {
		req, _ := http.NewRequest("POST", "http://a.test/x", io.NopCloser(strings.NewReader("body")))
		req.ContentLength = length
		_, err := Follow(&trips{answers: []*http.Response{to(307, "/y")}}, req, Redirects{})
		wantCode(t, err, task.BodyStreamExhausted)
	}
	req, _ := http.NewRequest("POST", "http://a.test/x", io.NopCloser(strings.NewReader("body"))) // length 0: unknown
	_, err := Follow(&trips{answers: []*http.Response{to(307, "/y")}}, req, Redirects{})
	wantCode(t, err, task.BodyStreamExhausted)
	req, _ = http.NewRequest("POST", "http://a.test/x", strings.NewReader("body"))
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
	_, err = Follow(&trips{answers: []*http.Response{to(308, "/y")}}, req, Redirects{})
	wantCode(t, err, task.BodyStreamExhausted)
}

func TestRedirectCredentials(t *testing.T) {
	secrets := []string{"Authorization", "Proxy-Authorization", "Cookie"}
	for _, c := range []struct {
		from, to string
		kept     bool
	}{
		{"https://a.test/x", "/y", true},
		{"https://a.test/x", "https://a.test:443/y", true},
		{"https://a.test/x", "https://A.TEST/y", true},
		{"https://a.test/x", "https://a.test:444/y", false},
		{"https://a.test/x", "http://a.test/y", false},
		{"http://a.test/x", "https://a.test/y", false},
		{"https://a.test/x", "https://www.a.test/y", false},
		{"https://www.a.test/x", "https://a.test/y", false},
		{"https://a.test/x", "//b.test/y", false},
		{"https://a.test/x", "https://a.test@b.test/y", false},
	} {
		req, _ := http.NewRequest("GET", c.from, nil)
		for _, name := range secrets {
			req.Header.Set(name, "secret")
		}
		req.Header["cookie"] = []string{"secret"}
		req.Header.Set("X-Mine", "1")
		req.Host = "virtual.test"
		rt := &trips{answers: []*http.Response{to(302, c.to), to(302, c.from)}}
		if _, err := Follow(rt, req, Redirects{}); err != nil {
			t.Fatal(err)
		}
		for hop, r := range rt.asked[1:] { // they do not come back on the way back
			for _, name := range append(slices.Clone(secrets), "cookie") {
				if kept := len(r.Header[name]) > 0; kept != c.kept {
					t.Errorf("%s → %s, hop %d: %s kept: %v", c.from, c.to, hop, name, kept)
				}
			}
			if r.Header.Get("X-Mine") != "1" {
				t.Errorf("%s → %s: other headers are lost", c.from, c.to)
			}
			if kept := r.Host == "virtual.test"; kept != c.kept {
				t.Errorf("%s → %s: Host kept: %v", c.from, c.to, kept)
			}
		}
		if req.Header.Get("Cookie") != "secret" {
			t.Error("the request was changed")
		}
	}
	req, _ := http.NewRequest("GET", "https://a.test/x", nil)
	req.Header.Set("Referer", "https://a.test/secret")
	rt := &trips{answers: []*http.Response{to(302, "http://a.test/")}}
	Follow(rt, req, Redirects{})
	if rt.last().Header.Get("Referer") != "" {
		t.Error("Referer of https went out by http")
	}
}

func TestRedirectLocation(t *testing.T) {
	const from = "http://u:p@a.test/dir/x?q#frag"
	for _, c := range []struct {
		location []string
		want     string
		code     task.Code
	}{
		{[]string{"y"}, "http://u:p@a.test/dir/y#frag", 0},
		{[]string{"../y#other"}, "http://u:p@a.test/y#other", 0},
		{[]string{"?r"}, "http://u:p@a.test/dir/x?r#frag", 0},
		{[]string{"http://a.test/y"}, "http://u:p@a.test/y#frag", 0},
		{[]string{"http://b.test/y"}, "http://b.test/y#frag", 0},
		{[]string{"//b.test/y"}, "http://b.test/y#frag", 0},
		{[]string{"HTTPS://b.test/y"}, "https://b.test/y#frag", 0},
		{[]string{"/a b/ü"}, "http://u:p@a.test/a%20b/%C3%BC#frag", 0},
		{[]string{"/y", "/y"}, "http://u:p@a.test/y#frag", 0},
		{nil, "", task.RedirectWithoutLocation},
		{[]string{""}, "", task.RedirectWithoutLocation},
		{[]string{"/y", "/z"}, "", task.BadServerResponse},
		{[]string{"http://[::1/secret"}, "", task.BadServerResponse},
		{[]string{"http://h:port/"}, "", task.BadServerResponse},
		{[]string{"http://h/%zz"}, "", task.BadServerResponse},
		{[]string{"http:///y"}, "", task.BadServerResponse},
		{[]string{"http:y"}, "", task.BadServerResponse},
		{[]string{"/y\x7f"}, "", task.BadServerResponse},
		{[]string{"ftp://a.test/y"}, "", task.UnsupportedURL},
		{[]string{"file:///etc/passwd"}, "", task.UnsupportedURL},
		{[]string{"javascript:alert(1)"}, "", task.UnsupportedURL},
		{[]string{"mailto:secret@b.test"}, "", task.UnsupportedURL},
	} {
		req, _ := http.NewRequest("GET", from, nil)
		rt := &trips{answers: []*http.Response{to(302, c.location...)}}
		_, err := Follow(rt, req, Redirects{})
		if c.code != 0 {
			if e := wantCode(t, err, c.code); e.Status != 302 || e.URL != "http://a.test/dir/x?REDACTED" {
				t.Errorf("%q: %+v", c.location, e)
			}
			continue
		}
		if err != nil || rt.last().URL.String() != c.want {
			t.Errorf("%q: to %s, want %s (%v)", c.location, rt.last().URL, c.want, err)
		}
	}
}

func TestRedirectLimitAndDowngrade(t *testing.T) {
	srv := origin.NewServer()
	defer srv.Close()
	srv.Publish("/end", origin.Resource{Content: origin.Bytes("end")})
	srv.RedirectChain("/20", 302, 20, "/end")
	srv.RedirectChain("/21", 302, 21, "/end")
	tr := newTransport(t, Options{})
	defer tr.CloseIdleConnections()
	resp, err := Follow(tr, get(t, srv.URL+"/20"), Redirects{})
	if err != nil || resp.StatusCode != 200 || resp.Request.URL.Path != "/end" {
		t.Fatalf("20 redirects: %v, %v", resp, err)
	}
	resp.Body.Close()
	if n := srv.Load().TotalConnections; n > 3 { // one, unless a busy machine gives its reader no turn within cleanTimeout
		t.Errorf("21 requests took %d connections", n)
	}
	_, err = Follow(tr, get(t, srv.URL+"/21"), Redirects{})
	wantCode(t, err, task.TooManyRedirects)
	_, err = Follow(tr, get(t, srv.URL+"/20"), Redirects{Max: 3})
	wantCode(t, err, task.TooManyRedirects)

	req, _ := http.NewRequest("GET", "https://a.test/", nil)
	_, err = Follow(&trips{answers: []*http.Response{to(302, "http://a.test/")}}, req, Redirects{ForbidDowngrade: true})
	wantCode(t, err, task.RequiresSecureConnection)
	_, err = Follow(&trips{answers: []*http.Response{to(302, "https://b.test/")}}, req, Redirects{ForbidDowngrade: true})
	if err != nil {
		t.Error(err)
	}
}

func TestRedirectAsk(t *testing.T) {
	type decide = func(context.Context, int, *http.Request, *http.Request) (*http.Request, error)
	follow := func(ask decide) (*trips, *http.Response, error) {
		req, _ := http.NewRequest("PUT", "http://a.test/x", strings.NewReader("body"))
		rt := &trips{answers: []*http.Response{{StatusCode: 307, Header: http.Header{"Location": {"/y"}}, Body: io.NopCloser(strings.NewReader("moved"))}}}
		resp, err := Follow(rt, req, Redirects{Ask: ask})
		return rt, resp, err
	}
	rt, resp, err := follow(func(_ context.Context, status int, from, to *http.Request) (*http.Request, error) {
		if status != 307 || from.URL.Path != "/x" || to.URL.Path != "/y" || to.Body != nil {
			t.Errorf("asked about %d from %s to %s", status, from.URL, to.URL)
		}
		return to, nil
	})
	if err != nil || resp.StatusCode != 200 || rt.bodies[1] != "body" {
		t.Errorf("followed: %v, %v, bodies %q", resp, err, rt.bodies)
	}
	rt, resp, err = follow(func(context.Context, int, *http.Request, *http.Request) (*http.Request, error) { return nil, nil })
	if body, _ := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 307 || string(body) != "moved" || len(rt.asked) != 1 {
		t.Errorf("refused: %v, %q, %v", resp, body, err)
	}
	stop := errors.New("stop")
	if _, _, err = follow(func(context.Context, int, *http.Request, *http.Request) (*http.Request, error) { return nil, stop }); err != stop {
		t.Errorf("the error of Ask came as %v", err)
	}
	rt, _, err = follow(func(ctx context.Context, _ int, _, _ *http.Request) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, "GET", "http://c.test/z", nil)
	})
	if err != nil || rt.last().URL.Host != "c.test" || rt.last().Response == nil || rt.bodies[1] != "" {
		t.Errorf("changed: %v, %v", rt.last(), err)
	}
	_, _, err = follow(func(ctx context.Context, _ int, _, _ *http.Request) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, "GET", "ftp://c.test/z", nil)
	})
	wantCode(t, err, task.UnsupportedURL)
}

// A 307 keeps a file's bytes, over real connections.
func TestRedirectFileBody(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	path := writeFile(t, body)
	var got []byte
	mux := http.NewServeMux()
	mux.HandleFunc("/x", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		http.Redirect(w, r, "/y", 307)
	})
	mux.HandleFunc("/y", func(w http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	tr := newTransport(t, Options{})
	defer tr.CloseIdleConnections()
	resp, err := Follow(tr, filePut(t, srv.URL+"/x", path, 0, int64(len(body)), nil), Redirects{})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !bytes.Equal(got, body) {
		t.Errorf("%d bytes came, want %d", len(got), len(body))
	}
}

// Whatever a Location says: no panic, no request but by http and https, no credentials to another origin.
func FuzzRedirect(f *testing.F) {
	for _, l := range []string{"", "/y", "//b.test", "http:y", "https://a.test:443", "HTTP://A.TEST:80/", "ftp://x", "http://a.test@b.test/", `http:\\b.test`, "http://[::1]:80/", "http://a.test.:80/", "\x00", "?", "#f", "http://a%2etest/"} {
		for _, status := range []int{301, 303, 307} {
			f.Add(l, status, "POST", "Authorization")
		}
	}
	f.Fuzz(func(t *testing.T, location string, status int, method, header string) {
		req, err := http.NewRequest(method, "http://a.test/x", strings.NewReader("body"))
		if err != nil {
			t.Skip()
		}
		req.Header.Set("Authorization", "secret")
		req.Header[header] = []string{"v"}
		before := maps.Clone(req.Header)
		rt := &trips{answers: []*http.Response{to(status, location)}}
		_, err = Follow(rt, req, Redirects{})
		if err != nil {
			if _, ok := err.(*task.Error); !ok {
				t.Errorf("error of type %T", err)
			}
			return
		}
		last := rt.last()
		if last.URL.Scheme != "http" && last.URL.Scheme != "https" || last.URL.Hostname() == "" {
			t.Errorf("%q led to %q", location, last.URL)
		}
		if last.URL.Hostname() != "a.test" && !strings.EqualFold(last.URL.Hostname(), "a.test") {
			for name := range last.Header {
				if http.CanonicalHeaderKey(name) == "Authorization" {
					t.Errorf("Authorization went to %s", last.URL.Host)
				}
			}
		}
		if !maps.EqualFunc(before, req.Header, slices.Equal[[]string]) {
			t.Error("the request's header was changed")
		}
	})
}

func FuzzSameOrigin(f *testing.F) {
	f.Add("http://a.test", "http://a.test:80/x")
	f.Add("https://a.test", "https://b.a.test")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err := url.Parse(a)
		if err != nil {
			t.Skip()
		}
		y, err := url.Parse(b)
		if err != nil {
			t.Skip()
		}
		if SameOrigin(x, y) != SameOrigin(y, x) || !SameOrigin(x, x) {
			t.Error("not an equivalence: " + strconv.Quote(a) + ", " + strconv.Quote(b))
		}
	})
}
