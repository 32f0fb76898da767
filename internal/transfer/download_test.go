package transfer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

func TestDownload(t *testing.T) {
	srv, a := newFixture(t)
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)
	o := a.Observer.(*observer)
	if o.told() != "response 200" || res.Response.Status != 200 || res.Response.URL != srv.URL+"/f" || res.Response.ContentLength != file.Size {
		t.Errorf("told %s; %+v", o.told(), res.Response)
	}
	if o.received[0] != 0 || o.received[len(o.received)-1] != file.Size || o.expected != file.Size {
		t.Errorf("received %v of %d", o.received, o.expected)
	}
	if len(res.Transactions) != 1 || res.Transactions[0].Status != 200 || res.Transactions[0].End == 0 {
		t.Errorf("transactions %+v", res.Transactions)
	}
	if got := srv.RequestsTo("/f")[0].Header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("asked for coding %q", got)
	}
	if res.Digest != "" {
		t.Errorf("digest %q, and none was given", res.Digest)
	}
}

func TestDownloadSizes(t *testing.T) {
	for _, size := range []int64{0, 1, 4095, 4096, 4097, smallBody - 1, smallBody, flushBytes, bufferSize, bufferSize + 1, 3 << 20} {
		for _, tls := range []bool{false, true} {
			for _, how := range []struct {
				name string
				step Step
			}{{"length", Honest()}, {"chunked", Chunked()}, {"close", NoLength()}, {"http10", HTTP10()}} {
				t.Run(fmt.Sprint(size, "/", how.name, "/", tls), func(t *testing.T) {
					var opts []Option
					if tls {
						opts = append(opts, WithTLS(ValidCertificate))
					}
					srv, a := newFixture(t, opts...)
					body := Body{Seed: 3, Size: size}
					srv.Publish("/f", Resource{Content: body, ETag: `"x"`})
					srv.Always("/f", how.step)
					res, err := Run(t.Context(), a)
					wantFile(t, res, err, body)
				})
			}
		}
	}
}

func TestOwnRangeIsRefused(t *testing.T) {
	srv, a := newFixture(t)
	a.Spec.Request.Header = http.Header{"Range": {"bytes=5-"}}
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.BadURL)
	if !strings.Contains(err.Error(), "Range") || srv.Count("/f") != 0 {
		t.Errorf("%v; %d requests", err, srv.Count("/f"))
	}
}

// HTTP errors are responses, unless the task asks for errors. Then what is held is not touched.
func TestHTTPErrors(t *testing.T) {
	t.Run("delivered", func(t *testing.T) {
		srv, a := newFixture(t)
		srv.Script("/f", Respond(404, "text/plain", "nothing here"))
		res, err := Run(t.Context(), a)
		if err != nil || res.Response.Status != 404 || readFile(t, res.Path) != "nothing here" {
			t.Errorf("%v, %+v", err, res)
		}
	})
	t.Run("fail", func(t *testing.T) {
		srv, a := newFixture(t)
		a.Spec.Policy.FailOnHTTPError = true
		srv.Script("/f", Status(404))
		res, err := Run(t.Context(), a)
		wantCode(t, err, task.BadServerResponse)
		if e := err.(*task.Error); e.Status != 404 || res.Response.Status != 404 || !strings.Contains(err.Error(), "404 Not Found") {
			t.Errorf("%v, %+v", err, res.Response)
		}
		if names := list(t, filepath.Dir(a.Spec.Download.Path)); len(names) != 0 {
			t.Errorf("folder has %v", names)
		}
	})
	t.Run("fail resumed", func(t *testing.T) {
		srv, a := newFixture(t)
		a.Spec.Policy.FailOnHTTPError = true
		a = interrupt(t, srv, a, 100_000)
		srv.Script("/f", Status(404))
		res, err := Run(t.Context(), a)
		wantCode(t, err, task.BadServerResponse)
		if res.ResumeData == nil {
			t.Error("no resume data")
		}
		res, err = Run(t.Context(), again(a))
		wantFile(t, res, err, file)
		wantRanges(t, srv, `-, 100000- if "v1", 100000- if "v1"`)
	})
	t.Run("observer's own", func(t *testing.T) {
		srv, a := newFixture(t)
		a = interrupt(t, srv, a, 100_000)
		mine := errors.New("retry")
		a.Observer = &observer{onResponse: func(context.Context, *task.Response) error { return mine }}
		srv.Script("/f", Status(503))
		res, err := Run(t.Context(), a)
		if err != mine || res.Response.Status != 503 {
			t.Fatalf("%v, %+v", err, res.Response)
		}
		res, err = Run(t.Context(), again(a))
		wantFile(t, res, err, file)
	})
	// The rest of an error's body is not the file's: it is never gone on from.
	t.Run("cut", func(t *testing.T) {
		srv, a := newFixture(t)
		srv.Script("/f", Respond(404, "text/plain", "nothing here", SetHeader("ETag", `"v1"`), Truncate(5)))
		res, err := Run(t.Context(), a)
		wantCode(t, err, task.ConnectionLost)
		if res.ResumeData != nil || len(list(t, filepath.Dir(a.Spec.Download.Path))) != 0 {
			t.Errorf("%v kept", list(t, filepath.Dir(a.Spec.Download.Path)))
		}
		res, err = Run(t.Context(), again(a))
		wantFile(t, res, err, file)
	})
	t.Run("304", func(t *testing.T) {
		srv, a := newFixture(t)
		a.Spec.Request.Header = http.Header{"If-None-Match": {`"v1"`}}
		write(t, a.Spec.Download.Path, "old")
		a.Spec.Download.Conflict = task.ConflictReplace
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.BadServerResponse)
		if readFile(t, a.Spec.Download.Path) != "old" || srv.Count("/f") != 1 {
			t.Error("the old file is gone")
		}
	})
}

// What is coded although it was asked for as it is, is saved as sent.
func TestCodedDownload(t *testing.T) {
	srv, a := newFixture(t)
	srv.Script("/f", Gzip())
	res, err := Run(t.Context(), a)
	if err != nil || res.Response.Coding != "gzip" {
		t.Fatalf("%v, coding %q", err, res.Response.Coding)
	}
	if b := readFile(t, res.Path); b[:2] != "\x1f\x8b" {
		t.Errorf("saved %x…, want gzip", b[:2])
	}
}

// A cancelled download holds what had arrived, and returns the caller's cause.
func TestCancel(t *testing.T) {
	srv, a := newFixture(t)
	const arrived = 100_000
	srv.Script("/f", StallAt(AtBody(arrived), Forever))
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("the user had enough")
	a.Observer.(*observer).onReceived = func(total int64) {
		if total == arrived {
			cancel(mine)
		}
	}
	res, err := Run(ctx, a)
	if err != mine {
		t.Fatalf("error %v, want the cause", err)
	}
	wantNoFile(t, a)
	if res.ResumeData == nil {
		t.Fatal("no resume data")
	}
	d := res.ResumeData
	if d.ETag != `"v1"` || d.Total != file.Size || d.URL != a.Spec.Request.URL || len(d.Held) != 1 {
		t.Errorf("resume data %+v", d)
	}
	if held := d.Held[0]; held != [2]int64{0, arrived} {
		t.Errorf("held %v, want all that had arrived", held)
	}
	a.Observer.(*observer).onReceived = nil
	res, err = Run(t.Context(), again(a))
	wantFile(t, res, err, file)
	wantRanges(t, srv, fmt.Sprintf(`-, %d- if "v1"`, arrived))
}

func TestCancelBeforeAll(t *testing.T) {
	srv, a := newFixture(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("mine")
	cancel(mine)
	if _, err := Run(ctx, a); err != mine {
		t.Errorf("error %v", err)
	}
	if srv.Count("/f") != 0 || len(list(t, filepath.Dir(a.Spec.Download.Path))) != 0 {
		t.Error("it did something")
	}
}

// Redirects are told, and refusing one makes it the response.
func TestDownloadRedirect(t *testing.T) {
	srv, a := newFixture(t)
	srv.Always("/old", Redirect(302, "/f"))
	a.Spec.Request.URL = srv.URL + "/old"
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)
	if told := a.Observer.(*observer).told(); told != "redirect 302, response 200" || res.Response.URL != srv.URL+"/f" || len(res.Transactions) != 2 {
		t.Errorf("told %s; %+v", told, res.Response)
	}
	mine := errors.New("no")
	b := newDownload(t, a.RoundTripper, srv.URL+"/old", filepath.Join(t.TempDir(), "x"))
	b.Observer = &observer{onRedirect: func(int, *http.Request, *http.Request) (*http.Request, error) { return nil, mine }}
	if _, err := Run(t.Context(), b); err != mine {
		t.Errorf("error %v, want the observer's own", err)
	}
	b.Observer = &observer{onRedirect: func(int, *http.Request, *http.Request) (*http.Request, error) { return nil, nil }}
	if res, err := Run(t.Context(), b); err != nil || res.Response.Status != 302 {
		t.Errorf("%v, %+v", err, res.Response)
	}
}

// What has arrived is in the part file soon, and held by a record after two seconds more, also while the server says
// nothing: what drips in and what a stall cuts off.
func TestStallLeavesNothingInMemory(t *testing.T) {
	for name, step := range map[string]Step{
		"drip":  All(StallAt(AtBody(1000), time.Second), StallAt(AtBody(2000), time.Second), StallAt(AtBody(70_000), Forever)),
		"stall": StallAt(AtBody(70_000), Forever),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			bubble(t, transport.Options{}, func(t *testing.T, srv *Server, rt *transport.Transport) {
				srv.Script("/f", step)
				a := newTask(task.Download, rt, srv.URL+"/f")
				a.Spec.Download = &task.DownloadSpec{Path: filepath.Join(folder, "x"), Destination: "x"}
				part := filepath.Join(folder, partial.Name("x", partial.Key(a.Spec.Request.URL, "x")))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() {
					_, err := Run(ctx, a)
					done <- err
				}()
				look := func(after time.Duration, size int64, held string) {
					t.Helper()
					time.Sleep(after)
					synctest.Wait()
					if info, err := os.Stat(part); err != nil || info.Size() != size {
						t.Errorf("%v, %v; want %d bytes", info, err, size)
					}
					if record, _ := os.ReadFile(part + ".json"); !strings.Contains(string(record), held) {
						t.Errorf("record is %s, want %s held", record, held)
					}
				}
				if name == "drip" {
					look(300*time.Millisecond, 1000, "")
					look(time.Second, 2000, "")
					look(700*time.Millisecond, 2000, "")
				}
				look(300*time.Millisecond, 70_000, "")
				look(2*time.Second, 70_000, "[[0,70000]]")
				cancel()
				if err := <-done; err != context.Canceled {
					t.Error(err)
				}
			})
		})
	}
}

func TestHTTP2(t *testing.T) {
	cut := true
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		switch {
		case r.URL.Path == "/early" && r.Header.Get("Range") == "":
			w.Header().Set("Content-Length", fmt.Sprint(file.Size))
			w.Write(file.Bytes()[:100_000])
		case r.URL.Path == "/reset" && cut:
			cut = false
			w.Header().Set("Content-Length", fmt.Sprint(file.Size))
			w.Write(file.Bytes()[:100_000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			http.ServeContent(w, r, "", time.Time{}, file.Reader())
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	rt := newTransport(t, transport.Options{TLS: transport.TLS{Roots: pool}})
	for _, path := range []string{"/f", "/early", "/reset"} {
		a := newDownload(t, rt, srv.URL+path, filepath.Join(t.TempDir(), "x"))
		res, err := Run(t.Context(), a)
		if path != "/f" {
			wantCode(t, err, task.ConnectionLost)
			wantNoFile(t, a)
			if path == "/early" && (res.ResumeData == nil || res.ResumeData.Held[0][1] != 100_000) {
				t.Errorf("resume data %+v", res.ResumeData)
			}
			res, err = Run(t.Context(), again(a))
		}
		wantFile(t, res, err, file)
		if res.Response.Proto != "HTTP/2.0" {
			t.Error(res.Response.Proto)
		}
	}
}
