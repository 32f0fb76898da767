package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// Each of net/http's texts that texts lists, from a real connection.
func TestResponseCodes(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name, reply string
		code        task.Code
	}{
		{"nothing", "", task.ConnectionLost},
		{"cut in the status line", "HTTP/1.1 20", task.ConnectionLost},
		{"cut in the header", ok + "Content-Le", task.ConnectionLost},
		{"cut in the body", ok + "Content-Length: 9\r\n\r\n1234", task.ConnectionLost},
		{"cut in a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\n12", task.ConnectionLost},
		{"no last chunk", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n12\r\n", task.ConnectionLost},
		{"cut in the trailer", ok + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: ", task.ConnectionLost},
		{"not HTTP", "220 ftp.example.com ready\r\n\r\n", task.CannotParseResponse},
		{"zeroes", strings.Repeat("\x00", 100) + "\r\n\r\n", task.CannotParseResponse},
		{"bad status", "HTTP/1.1 abc OK\r\n\r\n", task.CannotParseResponse},
		{"bad version", "HTTP/one 200 OK\r\n\r\n", task.CannotParseResponse},
		{"header without colon", ok + "no colon here\r\n\r\n", task.CannotParseResponse},
		{"a cookie with a control character", ok + "Set-Cookie: id=hunter2\x01\r\n\r\n", task.CannotParseResponse},
		{"a cookie that is folded first", ok + " id=hunter2\r\n\r\n", task.CannotParseResponse},
		{"a trailer with a control character", ok + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: hunter2\x01\r\n\r\n", task.CannotParseResponse},
		{"first header line folded", ok + " a: b\r\n\r\n", task.CannotParseResponse},
		{"endless header line", ok + "X: " + strings.Repeat("x", maxHeadBytes) + "\r\n\r\n", task.CannotParseResponse},
		{"endless header", ok + strings.Repeat("X: x\r\n", maxHeadBytes/4), task.CannotParseResponse},
		{"chunk size no number", ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n12\r\n", task.CannotParseResponse},
		{"chunk size empty", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n12\r\n", task.CannotParseResponse},
		{"chunk size huge", ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n12\r\n", task.CannotParseResponse},
		{"chunk size line bare LF", ok + "Transfer-Encoding: chunked\r\n\r\n2\n12\r\n0\r\n\r\n", task.CannotParseResponse},
		{"chunk size line CR", ok + "Transfer-Encoding: chunked\r\n\r\n2\r;\r\n12\r\n0\r\n\r\n", task.CannotParseResponse},
		{"chunk longer than it says", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n12345\r\n0\r\n\r\n", task.CannotParseResponse},
		{"chunk size line too long", ok + "Transfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 1<<16) + "\r\n", task.CannotParseResponse},
		{"chunks of extensions", ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 2000)+"\r\na\r\n", 100), task.CannotParseResponse},
		{"endless trailer", ok + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 1000), task.CannotParseResponse},
		{"unequal lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", task.BadServerResponse},
		{"length no number", ok + "Content-Length: many\r\n\r\n12", task.BadServerResponse},
		{"length negative", ok + "Content-Length: -1\r\n\r\n12", task.BadServerResponse},
		{"length empty", ok + "Content-Length: \r\n\r\n12", task.BadServerResponse},
		{"unknown transfer coding", ok + "Transfer-Encoding: frob\r\n\r\n12", task.BadServerResponse},
		{"two transfer codings", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n12", task.BadServerResponse},
		{"forbidden trailer", ok + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n", task.BadServerResponse},
		{"101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n12", task.BadServerResponse},
		{"1xx flood", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInformational+1) + ok + "\r\n", task.BadServerResponse},
		{"104 flood, without upload", strings.Repeat("HTTP/1.1 104 Upload Resumption Supported\r\n\r\n", maxInformational+1) + ok + "\r\n", task.BadServerResponse},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := serveRaw(t, answer(c.reply))
			_, _, err := fetch(newTransport(t, Options{}), get(t, "http://u:secret@"+addr+"/f?secret"))
			e := wantCode(t, err, c.code)
			if e.Unsent {
				t.Error("said to be unsent, but the server had it")
			}
			if strings.Contains(e.Error(), "hunter2") {
				t.Errorf("%v: it quotes the server", e)
			}
			if !strings.Contains(e.URL, addr) {
				t.Errorf("URL %q does not name the server", e.URL)
			}
		})
	}
}

// A long upload is told of its progress more often than a server has other things to say, but not without end.
func TestUploadProgressIsNoFlood(t *testing.T) {
	for n, code := range map[int]task.Code{2 * maxInformational: 0, maxProgress + 1: task.BadServerResponse} {
		addr := serveRaw(t, answer(strings.Repeat("HTTP/1.1 104 \r\n\r\n", n)+"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := fetch(newTransport(t, Options{}), req); task.CodeOf(err) != code {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestResetIsConnectionLost(t *testing.T) {
	for name, at := range map[string]origin.Point{"header": origin.BeforeHeader(), "body": origin.AtBody(1000)} {
		srv := origin.NewServer()
		srv.Publish("/", origin.Resource{Content: origin.Body{Size: 1 << 20}})
		srv.Always("/", origin.ResetAt(at))
		_, _, err := fetch(newTransport(t, Options{}), get(t, srv.URL+"/"))
		srv.Close()
		t.Log(name, err)
		wantCode(t, err, task.ConnectionLost)
	}
}

func TestBadRequests(t *testing.T) {
	tr := newTransport(t, Options{})
	for _, c := range []struct {
		url  string
		code task.Code
	}{
		{"ftp://u:secret@host/f?secret", task.UnsupportedURL},
		{"file:///etc/passwd", task.UnsupportedURL},
		{"/path", task.UnsupportedURL},
		{"http:///path", task.BadURL},
		{"http://:80/", task.BadURL},
	} {
		e := wantCode(t, second(tr.RoundTrip(get(t, c.url))), c.code)
		if !e.Unsent {
			t.Errorf("%v: not Unsent", e)
		}
	}
	closed := false
	req := get(t, "gopher://host/")
	req.Body = closer(func() { closed = true })
	tr.RoundTrip(req)
	if !closed {
		t.Error("the body of a request that cannot be sent was not closed")
	}
	req = get(t, "http://127.0.0.1:1/")
	req.Method = "a b"
	wantCode(t, second(tr.RoundTrip(req)), task.BadURL)
	req = get(t, "http://127.0.0.1:1/")
	req.Header["Bad Name"] = []string{"secret"}
	wantCode(t, second(tr.RoundTrip(req)), task.BadURL)
	req = get(t, "http://127.0.0.1:1/")
	req.Header["X"] = []string{"secret\r\n"}
	wantCode(t, second(tr.RoundTrip(req)), task.BadURL)
	wantCode(t, second(tr.RoundTrip(get(t, "http://127.0.0.1:99999/"))), task.BadURL)
}

func TestDialCodes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	e := wantCode(t, second(newTransport(t, Options{}).RoundTrip(get(t, "http://"+l.Addr().String()))), task.CannotConnect)
	if !e.Unsent || !errors.Is(e, syscall.ECONNREFUSED) {
		t.Errorf("%v: Unsent %v, cause %v", e, e.Unsent, e.Err)
	}
	for _, c := range []struct {
		errno syscall.Errno
		code  task.Code
	}{
		{syscall.EHOSTUNREACH, task.CannotConnect},
		{syscall.ENETUNREACH, task.NotConnected},
		{syscall.ENETDOWN, task.NotConnected},
		{syscall.ETIMEDOUT, task.TimedOut},
		{syscall.ECONNRESET, task.CannotConnect},
		{syscall.EACCES, task.CannotConnect},
	} {
		tr := newTransport(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", c.errno)}
		}})
		if e := wantCode(t, second(tr.RoundTrip(get(t, "http://host.test"))), c.code); !e.Unsent {
			t.Errorf("%v: not Unsent", e)
		}
	}
	tr := newTransport(t, Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Nanosecond}).DialContext(ctx, network, addr)
	}})
	wantCode(t, second(tr.RoundTrip(get(t, "http://127.0.0.1:1"))), task.TimedOut)
}

// A name server of our own answers.
func TestDNSCodes(t *testing.T) {
	for _, c := range []struct {
		name  string
		rcode dnsmessage.RCode
		code  task.Code
	}{
		{"NXDOMAIN", dnsmessage.RCodeNameError, task.CannotFindHost},
		{"no address", dnsmessage.RCodeSuccess, task.CannotFindHost},
		{"SERVFAIL", dnsmessage.RCodeServerFailure, task.DNSLookupFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ns.Close()
			go func() {
				buf := make([]byte, 1500)
				for {
					n, from, err := ns.ReadFrom(buf)
					if err != nil {
						return
					}
					var m dnsmessage.Message
					if m.Unpack(buf[:n]) == nil {
						m.Response, m.RCode, m.Authoritative = true, c.rcode, true
						m.Additionals = nil
						if out, err := m.Pack(); err == nil {
							ns.WriteTo(out, from)
						}
					}
				}
			}()
			tr := newTransport(t, resolvedBy(func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "udp", ns.LocalAddr().String())
			}))
			if e := wantCode(t, second(tr.RoundTrip(get(t, "http://nobody.example.com."))), c.code); !e.Unsent {
				t.Errorf("%v: not Unsent", e)
			}
		})
	}
	for _, c := range []struct {
		err  error
		code task.Code
	}{
		{os.ErrDeadlineExceeded, task.DNSLookupFailed},
		{syscall.ENETUNREACH, task.NotConnected},
	} {
		tr := newTransport(t, resolvedBy(func(context.Context) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "udp", Err: c.err}
		}))
		wantCode(t, second(tr.RoundTrip(get(t, "http://nobody.example.com."))), c.code)
	}
}

func resolvedBy(dial func(context.Context) (net.Conn, error)) Options {
	r := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	return Options{Dial: (&net.Dialer{Resolver: r}).DialContext}
}

func TestContextCodes(t *testing.T) {
	addr := serveRaw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	tr := newTransport(t, Options{})
	started := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ctx, _ = Trace(ctx, activity{moved: func() {
		select {
		case started <- struct{}{}:
		default:
		}
	}})
	go func() {
		<-started
		cancel()
	}()
	wantCode(t, second(tr.RoundTrip(get(t, "http://"+addr).WithContext(ctx))), task.Cancelled)

	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	wantCode(t, second(tr.RoundTrip(get(t, "http://"+addr).WithContext(ctx))), task.TimedOut)

	mine := &task.Error{Op: "download", URL: "x", Code: task.SessionInvalidated}
	ctx, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(mine)
	e := wantCode(t, second(tr.RoundTrip(get(t, "http://"+addr).WithContext(ctx))), task.SessionInvalidated)
	if e.Op != "download" || !e.Unsent {
		t.Errorf("the cause of the context's end came as %+v", e)
	}
}

func TestClassify(t *testing.T) {
	if Classify("x", "y", nil) != nil {
		t.Error("an error of nil")
	}
	mine := &task.Error{Code: task.DigestMismatch}
	if got := Classify("x", "y", fmt.Errorf("wrapped: %w", mine)); got != mine {
		t.Errorf("a *task.Error became %v", got)
	}
	const raw = "https://u:secret@example.com/f?secret=1"
	e := Classify("download", raw, &url.Error{Op: "Get", URL: raw, Err: io.ErrUnexpectedEOF})
	wantCode(t, e, task.ConnectionLost)
	if !errors.Is(e, io.ErrUnexpectedEOF) || e.Op != "download" || e.URL != "https://example.com/f?REDACTED" {
		t.Errorf("%+v", e)
	}
	//lint:ignore SA1007 that it does not parse, and how net/url says so, is what is tested
	_, parse := url.Parse("http://u:secret/@host/")
	for err, code := range map[error]task.Code{
		parse:                    task.BadURL,
		context.Canceled:         task.Cancelled,
		context.DeadlineExceeded: task.TimedOut,
		task.TooManyRedirects:    task.TooManyRedirects,
		errors.New("what"):       task.Unknown,
		http.ErrLineTooLong:      task.CannotParseResponse,
		syscall.EPIPE:            task.ConnectionLost,
		net.ErrClosed:            task.ConnectionLost,
	} {
		wantCode(t, Classify("x", "http://u:secret/@host/", err), code)
	}
}

func TestHTTP2Codes(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   task.Code
		unsent bool
		act    func(f *http2.Framer, stream uint32)
	}{
		{"RST_STREAM", task.ConnectionLost, false, func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeInternal) }},
		{"refused", task.ConnectionLost, true, func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeRefusedStream) }},
		{"RST_STREAM in the body", task.ConnectionLost, false, func(f *http2.Framer, s uint32) {
			writeH2Head(f, s, "content-length", "9")
			f.WriteData(s, false, []byte("1234"))
			f.WriteRSTStream(s, http2.ErrCodeInternal)
		}},
		{"short body", task.ConnectionLost, false, func(f *http2.Framer, s uint32) {
			writeH2Head(f, s, "content-length", "9")
			f.WriteData(s, true, []byte("1234"))
		}},
		{"GOAWAY", task.ConnectionLost, false, func(f *http2.Framer, s uint32) { f.WriteGoAway(s, http2.ErrCodeInternal, nil) }},
		{"close in the body", task.ConnectionLost, false, func(f *http2.Framer, s uint32) {
			writeH2Head(f, s)
			f.WriteData(s, false, []byte("1234"))
		}},
		{"frames out of protocol", task.CannotParseResponse, false, func(f *http2.Framer, s uint32) { f.WriteRawFrame(http2.FrameData, 0, 0, []byte("x")) }},
		{"frame of the wrong size", task.CannotParseResponse, false, func(f *http2.Framer, s uint32) { f.WriteRawFrame(http2.FramePing, 0, 0, []byte("x")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := serveH2(t, func(f *http2.Framer, stream uint32) { c.act(f, stream) })
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "POST", "https://"+addr, io.NopCloser(strings.NewReader("body")))
			req.ContentLength = 4
			resp, _, err := fetch(newTransport(t, Options{TLS: trusted()}), req)
			e := wantCode(t, err, c.code)
			if e.Unsent != c.unsent {
				t.Errorf("%v: Unsent %v", e, e.Unsent)
			}
			if resp != nil && resp.ProtoMajor != 2 {
				t.Errorf("it was %s", resp.Proto)
			}
		})
	}
}

// serveH2 answers the first request of each connection by act, then closes once the client has nothing more to say.
func serveH2(t *testing.T, act func(f *http2.Framer, stream uint32)) string {
	config := serverTLS()
	config.NextProtos = []string{"h2"}
	return serveRaw(t, func(raw net.Conn) {
		c := tls.Server(raw, config)
		defer c.Close()
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(c, bufio.NewReader(c))
		f.WriteSettings()
		var head, ended bool
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					f.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				head = true
			case *http2.DataFrame:
				ended = head && frame.StreamEnded()
			}
			if ended {
				act(f, frame.Header().StreamID)
				return
			}
		}
	})
}

func writeH2Head(f *http2.Framer, stream uint32, fields ...string) {
	var b strings.Builder
	e := hpack.NewEncoder(&b)
	e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte(b.String()), EndHeaders: true})
}

func second[T any](_ T, err error) error { return err }

type closer func()

func (c closer) Read([]byte) (int, error) { return 0, io.EOF }
func (c closer) Close() error             { c(); return nil }

type activity struct{ queued, moved func() }

func (a activity) Queued() {
	if a.queued != nil {
		a.queued()
	}
}

func (a activity) Moved() {
	if a.moved != nil {
		a.moved()
	}
}
