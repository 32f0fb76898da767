package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/publicsuffix"

	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// net/http documents smaller bounds for the HTTP/2 windows than we set: see what it really says to a server.
func TestHTTP2Windows(t *testing.T) {
	type said struct{ stream, conn uint32 }
	got := make(chan said, 1)
	config := serverTLS()
	config.NextProtos = []string{"h2"}
	addr := serveRaw(t, func(raw net.Conn) {
		c := tls.Server(raw, config)
		defer c.Close()
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(io.Discard, bufio.NewReader(c))
		s := said{conn: 65535} // RFC 9113 §6.9.2
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				s.stream, _ = frame.Value(http2.SettingInitialWindowSize)
			case *http2.WindowUpdateFrame:
				s.conn += frame.Increment
			case *http2.HeadersFrame:
				got <- s
				return
			}
		}
	})
	newTransport(t, Options{TLS: trusted()}).RoundTrip(get(t, "https://"+addr))
	if s := <-got; s.stream != h2StreamWindow || s.conn < h2ConnWindow {
		t.Errorf("windows: stream %d, connection %d", s.stream, s.conn)
	}
}

func TestProtocolsAndReuse(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("Accept-Encoding was added")
			}
			io.WriteString(w, r.Proto)
		}))
		srv.EnableHTTP2, srv.TLS = h2, serverTLS()
		srv.StartTLS()
		tr := newTransport(t, Options{TLS: trusted()})
		ctx, m := Trace(t.Context(), nil)
		for range 2 {
			if _, body, err := fetch(tr, get(t, srv.URL).WithContext(ctx)); err != nil || (string(body) == "HTTP/2.0") != h2 {
				t.Errorf("%q, %v", body, err)
			}
		}
		x := m.Transactions()
		if len(x) != 2 || x[0].Reused || !x[1].Reused || x[0].TLS <= 0 || x[0].Connect <= 0 || x[1].TLS != 0 || x[1].Connect != 0 {
			t.Errorf("h2 %v: %+v", h2, x)
		}
		tr.CloseIdleConnections()
		srv.Close()
	}
}

func TestMetrics(t *testing.T) {
	srv := origin.NewServer()
	defer srv.Close()
	srv.Publish("/end", origin.Resource{Content: origin.Body{Size: 1000}})
	srv.Always("/", origin.Redirect(302, "/end"))
	tr := newTransport(t, Options{})
	defer tr.CloseIdleConnections()
	var theirs atomic.Int32 // a trace of the caller's own stays
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { theirs.Add(1) }})
	ctx, m := Trace(ctx, nil)
	if !m.Unsent() {
		t.Error("nothing was asked, but is said to be sent")
	}
	req := get(t, strings.Replace(srv.URL, "://", "://u:secret@", 1)+"/?secret").WithContext(ctx)
	resp, err := Follow(tr, req, Redirects{})
	if err != nil {
		t.Fatal(err)
	}
	if x := m.Transactions(); len(x) != 2 || x[1].End != 0 {
		t.Errorf("before the body's end: %+v", x)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	x := m.Transactions()
	if x[0].Status != 302 || x[1].Status != 200 || x[0].Proto != "HTTP/1.1" || x[0].Method != "GET" || !x[1].Reused ||
		x[0].URL != srv.URL+"/?REDACTED" || x[1].URL != srv.URL+"/end" || "http://"+x[0].Remote != srv.URL {
		t.Errorf("%+v", x)
	}
	for _, x := range x {
		if x.Start.IsZero() || x.FirstByte <= 0 || x.End < x.FirstByte {
			t.Errorf("%+v", x)
		}
	}
	if m.Unsent() || theirs.Load() != 2 {
		t.Errorf("Unsent %v, the caller's trace was called %d times", m.Unsent(), theirs.Load())
	}
	first := srv.Requests()[0].Header.Get("Authorization")
	if user, password, _ := (&http.Request{Header: http.Header{"Authorization": {first}}}).BasicAuth(); user != "u" || password != "secret" {
		t.Errorf("userinfo was sent as %q", first)
	}
}

// Between Queued and Moved lies the wait for a connection, and nothing else.
func TestActivityWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := origin.NewServer(origin.InMemory())
		defer srv.Close()
		gate := origin.NewGate()
		srv.Publish("/held", origin.Resource{Content: origin.Bytes("x")})
		srv.Publish("/next", origin.Resource{Content: origin.Bytes("y")})
		srv.Always("/held", origin.HoldAt(origin.AtBody(0), gate))
		tr := newTransport(t, Options{MaxConnsPerHost: 1, Dial: srv.DialContext})
		defer tr.CloseIdleConnections()
		held, err := tr.RoundTrip(get(t, srv.URL+"/held"))
		if err != nil {
			t.Fatal(err)
		}
		var queued atomic.Bool
		ctx, m := Trace(t.Context(), activity{queued: func() { queued.Store(true) }, moved: func() { queued.Store(false) }})
		done := make(chan error)
		go func() { done <- second3(fetch(tr, get(t, srv.URL+"/next").WithContext(ctx))) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if !queued.Load() || !m.Unsent() {
			t.Errorf("after an hour without a connection: queued %v, Unsent %v", queued.Load(), m.Unsent())
		}
		gate.Open()
		io.Copy(io.Discard, held.Body)
		held.Body.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if queued.Load() {
			t.Error("still queued at the end")
		}
		if n := srv.Load().PeakConnections; n != 1 {
			t.Errorf("%d connections at once", n)
		}
	})
}

// What a connection that stalls after its dial is: not queued.
func TestActivityWhileServerStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := origin.NewServer(origin.InMemory())
		defer srv.Close()
		srv.Always("/", origin.StallAt(origin.BeforeHeader(), origin.Forever))
		tr := newTransport(t, Options{Dial: srv.DialContext})
		var queued atomic.Bool
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		ctx, _ = Trace(ctx, activity{queued: func() { queued.Store(true) }, moved: func() { queued.Store(false) }})
		wantCode(t, second(tr.RoundTrip(get(t, srv.URL+"/").WithContext(ctx))), task.TimedOut)
		if queued.Load() {
			t.Error("said to be queued")
		}
	})
}

func TestUnsent(t *testing.T) {
	tr := newTransport(t, Options{})
	post := func(url string, head int) *task.Error {
		req := get(t, url)
		req.Method, req.Body, req.ContentLength = "POST", io.NopCloser(strings.NewReader("body")), 4
		req.Header.Set("X", strings.Repeat("x", head))
		return wantCode(t, second(tr.RoundTrip(req)), task.ConnectionLost)
	}
	// The server takes the request and hangs up.
	if post("http://"+serveRaw(t, answer("")), 1).Unsent {
		t.Error("a request that the server read is said to be unsent")
	}
	// net/http tries a POST once only, but a GET anew on a second connection: the first counts too.
	var conns atomic.Int32
	addr := serveRaw(t, func(c net.Conn) {
		if conns.Add(1) == 1 {
			r := bufio.NewReader(c)
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			http.ReadRequest(r)
		}
	})
	if _, _, err := fetch(tr, get(t, "http://"+addr)); err != nil {
		t.Fatal(err)
	}
	if e := wantCode(t, second(tr.RoundTrip(get(t, "http://"+addr))), task.ConnectionLost); e.Unsent {
		t.Errorf("%v: Unsent, but it was sent twice", e)
	}
}

// A server that answers at once, reads no more and hangs up: its answer is the response, not the failed write.
func TestEarlyAnswer(t *testing.T) {
	for range 20 {
		addr := serveRaw(t, func(c net.Conn) {
			c.Read(make([]byte, 1024))
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 7\r\n\r\ntoo big")
		})
		path := writeFile(t, make([]byte, 8<<20))
		tr := newTransport(t, Options{})
		resp, body, err := fetch(tr, filePut(t, "http://"+addr, path, 0, 8<<20, nil))
		if err != nil || resp.StatusCode != 413 || string(body) != "too big" {
			t.Fatalf("%v, %q, %v", resp, body, err)
		}
		req := get(t, "http://"+addr)
		req.Method, req.Body, req.ContentLength = "PUT", io.NopCloser(bytes.NewReader(make([]byte, 8<<20))), 8<<20
		resp, body, err = fetch(tr, req)
		if err != nil || resp.StatusCode != 413 || string(body) != "too big" {
			t.Fatalf("%v, %q, %v", resp, body, err)
		}
	}
}

func TestCookies(t *testing.T) {
	var got []string // Cookie headers, in order
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Cookie"))
		w.Header().Set("Set-Cookie", "from="+strings.Split(r.Host, ".")[0]+"; Path=/")
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, 302)
		}
	}))
	defer srv.Close()
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}
	for _, c := range []struct {
		policy AcceptPolicy
		send   bool
		kept   map[string]bool // host: its cookie is in the jar
		sent   string          // to a.site.co.uk afterwards
	}{
		{AcceptFromMainDocument, true, map[string]bool{"a.site.co.uk": true, "b.site.co.uk": true, "other.co.uk": false}, "from=a"},
		{AcceptAlways, true, map[string]bool{"a.site.co.uk": true, "b.site.co.uk": true, "other.co.uk": true}, "from=a"},
		{AcceptNever, true, map[string]bool{"a.site.co.uk": false, "b.site.co.uk": false, "other.co.uk": false}, ""},
		{AcceptAlways, false, map[string]bool{"a.site.co.uk": true, "b.site.co.uk": true, "other.co.uk": true}, ""},
	} {
		jar, _ := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
		tr := newTransport(t, Options{Dial: dial, Jar: jar, SetCookies: c.send, AcceptPolicy: c.policy})
		resp, err := Follow(tr, get(t, "http://a.site.co.uk/?to=http://b.site.co.uk/?to=http://other.co.uk/"), Redirects{})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for host, want := range c.kept {
			if kept := len(jar.Cookies(get(t, "http://"+host+"/").URL)) > 0; kept != want {
				t.Errorf("%+v: %s in the jar: %v", c, host, kept)
			}
		}
		req := get(t, "http://a.site.co.uk/")
		if _, _, err := fetch(tr, req); err != nil || got[len(got)-1] != c.sent {
			t.Errorf("%+v: sent %q, %v", c, got[len(got)-1], err)
		}
		if len(req.Header) != 0 {
			t.Error("the request was changed")
		}
		req.Header.Set("Cookie", "from=me; x=y")
		if fetch(tr, req); got[len(got)-1] != "from=me; x=y" {
			t.Errorf("%+v: the request's own cookie became %q", c, got[len(got)-1])
		}
		tr.CloseIdleConnections()
	}
	if site(get(t, "http://127.0.0.1:80/").URL) != "127.0.0.1" || site(get(t, "http://10.0.0.1/").URL) == site(get(t, "http://11.0.0.1/").URL) {
		t.Error("an address is no site of its own")
	}
}

// TestCookiesAsTheyCame: a jar that takes fields gets them, and its cookies are sent, as no net/http would have it.
func TestCookiesAsTheyCame(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, strings.Join(r.Header["Cookie"], "|"))
		w.Header()["Set-Cookie"] = []string{`a="x, y"`, "bare", "b[1]=\u00fc"}
	}))
	defer srv.Close()
	tr := newTransport(t, Options{Jar: cookie.New(), SetCookies: true})
	for _, own := range []string{"", "", "mine=1"} {
		req := get(t, srv.URL)
		if own != "" {
			req.Header.Set("Cookie", own)
		}
		if _, _, err := fetch(tr, req); err != nil {
			t.Fatal(err)
		}
	}
	const all = `a="x, y"; bare; b[1]=ü`
	if want := []string{"", all, "mine=1; " + all}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// A query as people write it must not break the request line; what is fit stays as it is, byte by byte.
func TestQueryIsEscaped(t *testing.T) {
	var lines []string
	addr := serveRaw(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		line, _ := r.ReadString('\n')
		lines = append(lines, strings.TrimSpace(line))
		io.WriteString(c, "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: /b?r=\u00e4 <%20\r\n\r\n")
	})
	req := get(t, "http://"+addr+"/a?q=1 2&s=%C3%A4+a/b?;'~")
	resp, err := Follow(newTransport(t, Options{}), req, Redirects{Max: 1})
	wantCode(t, err, task.TooManyRedirects)
	if resp != nil || req.URL.RawQuery != "q=1 2&s=%C3%A4+a/b?;'~" {
		t.Errorf("the request was changed: %s", req.URL)
	}
	want := []string{"GET /a?q=1%202&s=%C3%A4+a/b?;'~ HTTP/1.1", "GET /b?r=%C3%A4%20%3C%20 HTTP/1.1"}
	if !slices.Equal(lines, want) {
		t.Errorf("sent %q, want %q", lines, want)
	}
}

// What a server sends beyond an answer is not the answer to the next request on that connection.
func TestAnswersThatAreTooLong(t *testing.T) {
	log.SetOutput(io.Discard) // net/http tells of each
	defer log.SetOutput(os.Stderr)
	for secure, requests := range map[bool]int{false: 100, true: 20} {
		for _, more := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "x"} {
			serve := func(c net.Conn) {
				r := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"+more)
				}
			}
			url := "http://" + serveRaw(t, serve)
			if secure {
				url = "https://" + serveRaw(t, func(raw net.Conn) { serve(tls.Server(raw, serverTLS())) })
			}
			tr := newTransport(t, Options{TLS: trusted()})
			var clients sync.WaitGroup
			for range 16 { // more than there are connections: one is handed over at once
				clients.Go(func() {
					for range requests {
						if _, body, err := fetch(tr, get(t, url)); err != nil || string(body) != "good" {
							t.Errorf("%s followed by %q: %q, %v", url, more, body, err)
							return
						}
					}
				})
			}
			clients.Wait()
			tr.CloseIdleConnections()
		}
	}
}

// A request costs few allocations above those of net/http.
func BenchmarkRoundTrip(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1024)) }))
	defer srv.Close()
	for _, bare := range []bool{true, false} {
		name := "traced"
		if bare {
			name = "bare"
		}
		b.Run(name, func(b *testing.B) {
			tr := newTransport(b, Options{})
			defer tr.CloseIdleConnections()
			b.ReportAllocs()
			for b.Loop() {
				var rt http.RoundTripper = tr.base
				ctx := b.Context()
				if !bare {
					rt = tr
					ctx, _ = Trace(ctx, activity{})
				}
				req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
				resp, err := rt.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
