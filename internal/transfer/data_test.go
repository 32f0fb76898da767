package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// newData is an origin and a data task for its file.
func newData(t *testing.T, opts ...Option) (*Server, *Attempt) {
	srv, a := newFixture(t, opts...)
	a.Spec.Kind, a.Spec.Download = task.Data, nil
	return srv, a
}

func TestData(t *testing.T) {
	for name, step := range map[string]Step{"length": Honest(), "chunked": Chunked(), "close": NoLength(), "gzip": Gzip()} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int64{0, 1, 1023, 4096, 8192, 300_000, firstData, firstData + 1, 3 << 20} {
				srv, a := newData(t)
				body := Body{Seed: 4, Size: size}
				srv.Publish("/f", Resource{Content: body})
				srv.Script("/f", step)
				res, err := Run(t.Context(), a)
				if err != nil || !bytes.Equal(res.Body, body.Bytes()) || res.Response.Status != 200 {
					t.Fatalf("%d bytes of %d: %v", len(res.Body), size, err)
				}
				o := a.Observer.(*observer)
				if size > 0 && o.received[len(o.received)-1] != size {
					t.Errorf("received %v", o.received)
				}
			}
		})
	}
}

func TestDataLimit(t *testing.T) {
	for _, c := range []struct {
		step  Step
		limit int64
		code  task.Code
	}{
		{Honest(), file.Size, 0}, {Honest(), file.Size - 1, task.DataTooLarge},
		{Chunked(), file.Size, 0}, {Chunked(), file.Size - 1, task.DataTooLarge},
		{Gzip(), file.Size, 0}, {Gzip(), file.Size - 1, task.DataTooLarge},
		{EndlessBody(), 1 << 20, task.DataTooLarge}, {GzipBomb(1 << 30), 1 << 20, task.DataTooLarge},
		{GzipBomb(65 << 20), 0, task.DataTooLarge}, {SetHeader("Content-Length", "99999999999999"), 0, task.DataTooLarge},
	} {
		srv, a := newData(t)
		a.Spec.Limit = c.limit
		srv.Script("/f", c.step)
		res, err := Run(t.Context(), a)
		wantCode(t, err, c.code)
		if c.code == 0 && !bytes.Equal(res.Body, file.Bytes()) {
			t.Error("other bytes")
		}
		if c.code != 0 && !strings.Contains(err.Error(), "download") {
			t.Errorf("%v does not say what to do", err)
		}
	}
}

func TestDataFaults(t *testing.T) {
	for name, c := range map[string]struct {
		step Step
		code task.Code
	}{
		"cut":            {Truncate(1000), task.ConnectionLost},
		"no last chunk":  {NoLastChunk(), task.ConnectionLost},
		"not gzip":       {MislabelCoding("gzip"), task.CannotDecodeRaw},
		"cut gzip":       {TruncatedGzip(1000), task.DecodingFailedAtEnd},
		"unknown coding": {MislabelCoding("x-unknown"), 0},
		"garbage":        {Garbage(1000), task.CannotParseResponse},
		"redirect loop":  {RedirectForever(302), task.TooManyRedirects},
		"404":            {Status(404), 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv, a := newData(t)
			srv.Always("/f", c.step)
			_, err := Run(t.Context(), a)
			wantCode(t, err, c.code)
		})
	}
}

func TestDataFailOnHTTPError(t *testing.T) {
	srv, a := newData(t)
	a.Spec.Policy.FailOnHTTPError = true
	srv.Script("/f", Status(500))
	res, err := Run(t.Context(), a)
	wantCode(t, err, task.BadServerResponse)
	if err.(*task.Error).Status != 500 || res.Response.Status != 500 {
		t.Errorf("%v, %+v", err, res.Response)
	}
}

func TestHEAD(t *testing.T) {
	_, a := newData(t)
	a.Spec.Request.Method = "HEAD"
	res, err := Run(t.Context(), a)
	if err != nil || len(res.Body) != 0 || res.Response.ContentLength != file.Size {
		t.Errorf("%v, %+v", err, res.Response)
	}
}

func TestHostHeader(t *testing.T) {
	srv, a := newData(t)
	a.Spec.Request.Header = http.Header{"Host": {"other.example"}, "X-Mine": {"1", "2"}}
	if _, err := Run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	r := srv.RequestsTo("/f")[0]
	if r.Host != "other.example" || !slices.Equal(r.Header["X-Mine"], []string{"1", "2"}) || a.Spec.Request.Header.Get("Host") == "" {
		t.Errorf("host %s, %v", r.Host, r.Header)
	}
}

func TestStream(t *testing.T) {
	_, a := newData(t)
	a.Spec.Stream, a.Spec.Limit = true, 1
	res, err := Run(t.Context(), a)
	o := a.Observer.(*observer)
	if err != nil || res.Body != nil || !bytes.Equal(o.data, file.Bytes()) {
		t.Errorf("%v: %d bytes streamed, %d held", err, len(o.data), len(res.Body))
	}
	mine := errors.New("enough")
	a.Observer = &observer{onData: func(context.Context, []byte) error { return mine }}
	if _, err := Run(t.Context(), a); err != mine {
		t.Errorf("error %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	_, a := newData(t)
	a.Spec.Request.URL = "http://user:secret@host:x/?token=hidden"
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.BadURL)
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "hidden") {
		t.Errorf("a secret in %v", err)
	}
	a.Spec.Request.URL, a.Spec.Request.Method = "http://127.0.0.1/", "BAD METHOD"
	_, err = Run(t.Context(), a)
	wantCode(t, err, task.BadURL)
}

// The limit holds over attempts that share it, and its waits are not the network's idleness.
func TestLimit(t *testing.T) {
	_, a := newData(t)
	a.Limits = Limits{new(Limit)}
	a.Limits[0].Set(256 << 10)
	a.Spec.Policy.RequestTimeout = 150 * time.Millisecond
	start := time.Now()
	res, err := Run(t.Context(), a)
	if err != nil || !bytes.Equal(res.Body, file.Bytes()) {
		t.Fatal(err)
	}
	least := time.Duration((float64(file.Size)/(256<<10) - burst) * float64(time.Second))
	if took := time.Since(start); took < least {
		t.Errorf("%d bytes at 256 KiB/s in %v, which takes %v", file.Size, took, least)
	}
}

func TestLimitEndsWithItsContext(t *testing.T) {
	_, a := newData(t)
	a.Limits = Limits{new(Limit)}
	a.Limits[0].Set(1)
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("mine")
	a.Observer = &observer{onResponse: func(context.Context, *task.Response) error {
		time.AfterFunc(10*time.Millisecond, func() { cancel(mine) })
		return nil
	}}
	if _, err := Run(ctx, a); err != mine {
		t.Errorf("error %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	a.Observer = &observer{}
	if _, err := Run(ctx, a); err != context.DeadlineExceeded {
		t.Errorf("error %v", err)
	}
}

// A small task must cost little more than net/http itself: compare run with bare.
func BenchmarkData(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1024)) }))
	defer srv.Close()
	rt, err := transport.New(transport.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer rt.CloseIdleConnections()
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			req, _ := http.NewRequest("GET", srv.URL, nil)
			resp, err := srv.Client().Transport.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			io.ReadAll(resp.Body)
			resp.Body.Close()
		}
	})
	spec := &task.Spec{
		Kind: task.Data, Request: task.Request{Method: "GET", URL: srv.URL}, Policy: task.Policy{RequestTimeout: time.Minute},
	}
	b.Run("run", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			a := Attempt{ID: 1, Number: 1, Spec: spec, RoundTripper: rt, Observer: quiet{}}
			if _, err := Run(b.Context(), &a); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A small download: part file, request, fsync, rename, fsync of the folder.
func BenchmarkDownload(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 16<<10)) }))
	defer srv.Close()
	rt, err := transport.New(transport.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer rt.CloseIdleConnections()
	path := filepath.Join(b.TempDir(), "f")
	spec := &task.Spec{
		Kind: task.Download, Request: task.Request{Method: "GET", URL: srv.URL + "/f"}, Policy: task.Policy{RequestTimeout: time.Minute},
		Download: &task.DownloadSpec{Destination: path, Path: path, Conflict: task.ConflictReplace},
	}
	b.ReportAllocs()
	for b.Loop() {
		a := Attempt{ID: 1, Number: 1, Spec: spec, RoundTripper: rt, Observer: quiet{}}
		if _, err := Run(b.Context(), &a); err != nil {
			b.Fatal(err)
		}
	}
}

type quiet struct{}

func (quiet) Challenge(context.Context, task.Challenge) (task.Answer, error) {
	return task.Answer{}, nil
}
func (quiet) Redirect(_ context.Context, _ int, _, to *http.Request) (*http.Request, error) {
	return to, nil
}
func (quiet) Response(context.Context, *task.Response) error { return nil }
func (quiet) Sent(int64, int64)                              {}
func (quiet) Received(int64, int64)                          {}
func (quiet) Data(context.Context, []byte) error             { return nil }

// A request that is redirected to where nobody is was applied by whoever answered 303, and not by who passes it on.
func TestUnsentAfterARedirect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for asked, unsent := range map[string]bool{"POST 302": false, "POST 303": false, "POST 307": true, "POST 308": true, "GET 302": true} {
		method, code, _ := strings.Cut(asked, " ")
		status, _ := strconv.Atoi(code)
		srv := httptest.NewServer(http.RedirectHandler("http://"+l.Addr().String()+"/", status))
		t.Cleanup(srv.Close)
		a := newDownload(t, newTransport(t, transport.Options{}), srv.URL+"/", filepath.Join(t.TempDir(), "f"))
		a.Spec.Kind, a.Spec.Download = task.Data, nil
		if a.Spec.Request.Method = method; method == "POST" {
			a.Body = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }
		}
		_, err := Run(t.Context(), a)
		if e, ok := err.(*task.Error); !ok || e.Code != task.CannotConnect || e.Unsent != unsent {
			t.Errorf("%s: %v, unsent %v, want %v", asked, err, ok && e.Unsent, unsent)
		}
	}
}
