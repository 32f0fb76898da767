package transfer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// newUpload is an origin and a PUT to it, without body.
func newUpload(t *testing.T, opts ...Option) (*Server, *Attempt) {
	srv, a := newFixture(t, opts...)
	a.Spec.Kind, a.Spec.Download = task.Upload, nil
	a.Spec.Request.Method, a.Spec.Request.URL = "PUT", srv.URL+"/up"
	return srv, a
}

// fromFile makes body the upload's, from a file.
func fromFile(t *testing.T, a *Attempt, body Body) (path string) {
	path = filepath.Join(t.TempDir(), "source")
	write(t, path, string(body.Bytes()))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	a.Spec.Request.Body = &task.Body{Path: path, Size: body.Size, Source: &task.Source{
		Size: body.Size, ModTime: info.ModTime(), Device: uint64(stat.Dev), Inode: stat.Ino,
	}}
	return path
}

// fromStream makes body the upload's, as a stream that can be rewound.
func fromStream(a *Attempt, body Body, size int64) {
	a.Spec.Request.Body = &task.Body{Size: size}
	a.Body = func() (io.ReadCloser, error) { return io.NopCloser(body.Reader()), nil }
}

// wantUpload checks that the last request to path brought body.
func wantUpload(t *testing.T, srv *Server, path string, a *Attempt, body Body) {
	t.Helper()
	all := srv.RequestsTo(path)
	r := all[len(all)-1]
	if r.BodySize != body.Size || r.BodySHA256 != body.SHA256() {
		t.Errorf("%d bytes arrived, and other ones than the %d", r.BodySize, body.Size)
	}
	if o := a.Observer.(*observer); body.Size > 0 && o.sent != body.Size {
		t.Errorf("%d bytes reported as sent", o.sent)
	}
}

func TestUpload(t *testing.T) {
	for _, size := range []int64{0, 1, 100_000, expectAbove, expectAbove + 1, 5 << 20} {
		body := Body{Seed: 6, Size: size}
		for name, c := range map[string]struct {
			tls    bool
			from   func(*testing.T, *Attempt)
			length bool
		}{
			"file":     {false, func(t *testing.T, a *Attempt) { fromFile(t, a, body) }, true},
			"file tls": {true, func(t *testing.T, a *Attempt) { fromFile(t, a, body) }, true},
			"file limited": {false, func(t *testing.T, a *Attempt) {
				fromFile(t, a, body)
				a.Limits = Limits{new(Limit)}
				a.Limits[0].Set(1 << 30)
			}, true},
			"stream":         {false, func(_ *testing.T, a *Attempt) { fromStream(a, body, size) }, true},
			"stream unknown": {false, func(_ *testing.T, a *Attempt) { fromStream(a, body, -1) }, false},
		} {
			t.Run(name, func(t *testing.T) {
				var opts []Option
				if c.tls {
					opts = append(opts, WithTLS(ValidCertificate))
				}
				srv, a := newUpload(t, opts...)
				c.from(t, a)
				res, err := Run(t.Context(), a)
				if err != nil || res.Response.Status != 201 {
					t.Fatalf("%v, %+v", err, res.Response)
				}
				wantUpload(t, srv, "/up", a, body)
				h := srv.RequestsTo("/up")[0].Header
				if asked := h.Get("Expect") != ""; asked != (size > expectAbove || !c.length) {
					t.Errorf("%d bytes: Expect %q", size, h.Get("Expect"))
				}
				if c.length != (h.Get("Content-Length") != "") {
					t.Errorf("header %v", h)
				}
			})
		}
	}
}

// A limit that is set while a file is sent holds at once, however it is sent.
func TestUploadIsSlowedDown(t *testing.T) {
	body := Body{Seed: 6, Size: 3 << 20}
	for name, opts := range map[string][]Option{"sendfile": nil, "tls": {WithTLS(ValidCertificate)}} {
		t.Run(name, func(t *testing.T) {
			_, a := newUpload(t, opts...)
			fromFile(t, a, body)
			a.Limits = Limits{new(Limit)}
			o := &slowing{observer: &observer{}, limit: a.Limits[0]}
			a.Observer = o
			res, err := Run(t.Context(), a)
			if err != nil || res.Response.Status != 201 {
				t.Fatal(err)
			}
			least := time.Duration((float64(body.Size-o.before)/(2<<20) - burst) * float64(time.Second))
			if took := time.Since(o.set); took < least || o.before > 1<<20 {
				t.Errorf("what was left after %d bytes took %v, and takes %v at 2 MiB/s", o.before, took, least)
			}
		})
	}
}

// slowing sets a limit once something was sent.
type slowing struct {
	*observer
	limit  *Limit
	set    time.Time
	before int64
}

func (o *slowing) Sent(total, expected int64) {
	o.observer.Sent(total, expected)
	if o.set.IsZero() {
		o.before, o.set = total, time.Now()
		o.limit.Set(2 << 20)
	}
}

func TestUploadRedirects(t *testing.T) {
	body := Body{Seed: 6, Size: 3 << 20}
	for name, from := range map[string]func(*testing.T, *Attempt){
		"file":   func(t *testing.T, a *Attempt) { fromFile(t, a, body) },
		"stream": func(_ *testing.T, a *Attempt) { fromStream(a, body, body.Size) },
	} {
		t.Run(name, func(t *testing.T) {
			srv, a := newUpload(t)
			from(t, a)
			srv.Script("/up", Redirect(307, "/there"))
			_, err := Run(t.Context(), a)
			wantCode(t, err, 0)
			wantUpload(t, srv, "/there", a, body)
			if m := srv.RequestsTo("/there")[0].Method; m != "PUT" {
				t.Errorf("method %s", m)
			}
		})
	}
	t.Run("exhausted", func(t *testing.T) {
		srv, a := newUpload(t)
		fromStream(a, body, body.Size)
		opened := 0
		a.Body = func() (io.ReadCloser, error) {
			if opened++; opened > 1 {
				return nil, &task.Error{Op: "rewind request body", Code: task.BodyStreamExhausted}
			}
			return io.NopCloser(body.Reader()), nil
		}
		srv.Script("/up", Redirect(307, "/there"))
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.BodyStreamExhausted)
	})
}

// An answer that comes before the body was read is a response.
func TestEarlyAnswer(t *testing.T) {
	body := Body{Seed: 6, Size: 20 << 20}
	for name, from := range map[string]func(*testing.T, *Attempt){
		"file":   func(t *testing.T, a *Attempt) { fromFile(t, a, body) },
		"stream": func(_ *testing.T, a *Attempt) { fromStream(a, body, body.Size) },
	} {
		t.Run(name, func(t *testing.T) {
			srv, a := newUpload(t)
			from(t, a)
			srv.Script("/up", RejectBody(413))
			res, err := Run(t.Context(), a)
			if err != nil || res.Response.Status != 413 {
				t.Fatalf("%v, %+v", err, res.Response)
			}
			if n := srv.RequestsTo("/up")[0].BodySize; n != 0 {
				t.Errorf("%d bytes were sent to who had refused", n)
			}
		})
	}
}

// 417: the body is sent again without asking. A server that never says 100 gets it after a while.
func TestExpect(t *testing.T) {
	body := Body{Seed: 6, Size: 2 << 20}
	for name, step := range map[string]Step{"417": RefuseContinue(), "ignored": IgnoreContinue()} {
		t.Run(name, func(t *testing.T) {
			srv, a := newUpload(t)
			fromFile(t, a, body)
			srv.Always("/up", step)
			res, err := Run(t.Context(), a)
			if err != nil || res.Response.Status != 201 {
				t.Fatalf("%v, %+v", err, res.Response)
			}
			wantUpload(t, srv, "/up", a, body)
		})
	}
}

func TestSources(t *testing.T) {
	body := Body{Seed: 6, Size: 100_000}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		code  task.Code
	}{
		"missing":  {remove, task.FileDoesNotExist},
		"folder":   {func(t *testing.T, path string) { remove(t, path); os.Mkdir(path, 0o755) }, task.FileIsDirectory},
		"fifo":     {func(t *testing.T, path string) { remove(t, path); syscall.Mkfifo(path, 0o644) }, task.CannotOpenFile},
		"longer":   {longer, task.SourceChanged},
		"shorter":  {func(t *testing.T, path string) { os.Truncate(path, 1000) }, task.SourceChanged},
		"written":  {func(t *testing.T, path string) { os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) }, task.SourceChanged},
		"replaced": {replace, task.SourceChanged},
	} {
		t.Run(name, func(t *testing.T) {
			srv, a := newUpload(t)
			path := fromFile(t, a, body)
			c.spoil(t, path)
			_, err := Run(t.Context(), a)
			wantCode(t, err, c.code)
			if srv.Count("/up") != 0 || !strings.Contains(err.Error(), path) {
				t.Errorf("%v; %d requests", err, srv.Count("/up"))
			}
		})
	}
}

// longer adds a byte to a file and gives it its old time.
func longer(t *testing.T, path string) {
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, readFile(t, path)+"x")
	os.Chtimes(path, time.Time{}, info.ModTime())
}

// replace gives a file's name and time to a copy.
func replace(t *testing.T, path string) {
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".new", readFile(t, path))
	os.Chtimes(path+".new", time.Time{}, info.ModTime())
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A file that is written to while it is sent is not what was to be sent, also where all bytes have left.
func TestSourceChangesWhileSent(t *testing.T) {
	body := Body{Seed: 6, Size: 4 << 20}
	for name, change := range map[string]func(path string){
		"written": func(path string) { os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) },
		"cut":     func(path string) { os.Truncate(path, 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			srv, a := newUpload(t)
			path := fromFile(t, a, body)
			changed := false
			srv.Script("/up", Step(func(*Reply) {
				if !changed { // before the 100, so before the first byte
					changed = true
					change(path)
				}
			}))
			_, err := Run(t.Context(), a)
			wantCode(t, err, task.SourceChanged)
		})
	}
}

func TestUploadStreamFails(t *testing.T) {
	_, a := newUpload(t)
	mine := errors.New("the camera was unplugged")
	a.Spec.Request.Body = &task.Body{Size: -1}
	a.Body = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("start"), failing{mine})), nil
	}
	_, err := Run(t.Context(), a)
	if !errors.Is(err, mine) || task.CodeOf(err) != task.Unknown {
		t.Errorf("error %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A stream that gives nothing and does not end is given up.
func TestUploadStreamOfNothing(t *testing.T) {
	srv, a := newFixture(t)
	a.Spec = &task.Spec{Kind: task.Upload, Request: task.Request{Method: "PUT", URL: srv.URL + "/up", Body: &task.Body{Size: -1}}}
	a.Body = func() (io.ReadCloser, error) { return io.NopCloser(nothing{}), nil }
	if _, err := Run(t.Context(), a); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error %v", err)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

func TestUploadLost(t *testing.T) {
	body := Body{Seed: 6, Size: 8 << 20}
	srv, a := newUpload(t)
	fromFile(t, a, body)
	srv.Script("/up", All(ReadUpTo(1<<20), ResetAt(BeforeHeader())))
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.ConnectionLost)
	if err.(*task.Error).Unsent {
		t.Error("bytes had left")
	}
}

// A response's body is an upload's too.
func TestUploadAnswer(t *testing.T) {
	srv, a := newUpload(t)
	fromStream(a, Body{Seed: 6, Size: 1000}, 1000)
	a.Spec.Request.Method = "POST"
	srv.Publish("/up", Resource{Content: file})
	res, err := Run(t.Context(), a)
	if err != nil || !bytes.Equal(res.Body, file.Bytes()) {
		t.Errorf("%v: %d bytes", err, len(res.Body))
	}
}
