package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
)

// file is a server of one file, which notes the ranges that it was asked for.
type file struct {
	*httptest.Server
	content []byte

	mu     sync.Mutex
	ranges []string
}

func serveFile(t *testing.T, size int) *file {
	f := &file{content: bytes.Repeat([]byte("0123456789abcdef"), size/16)}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.ranges = append(f.ranges, r.Header.Get("Range"))
		f.mu.Unlock()
		w.Header().Set("ETag", `"v1"`)
		if r.URL.Path == "/slow" { // the half, and no more while anybody waits
			w.Header().Set("Content-Length", fmt.Sprint(len(f.content)))
			w.Write(f.content[:len(f.content)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *file) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.ranges...)
}

func withTransport(t *testing.T) func(*engine.Options) {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return func(o *engine.Options) { o.RoundTripper = tr }
}

func fetchTo(path string, change ...func(*task.Spec)) func(*task.Spec) {
	return func(s *task.Spec) {
		s.Kind, s.Download = task.Download, &task.DownloadSpec{Destination: path, Path: path}
		for _, f := range change {
			f(s)
		}
	}
}

// A process that ends between the name that a file gets and the record of its task's end has neither to fetch the file
// again nor finds it in its way.
func TestCrashBetweenRenameAndEnd(t *testing.T) {
	for name, change := range map[string]func(s *task.Spec){
		"a new file": func(*task.Spec) {},
		"replace":    func(s *task.Spec) { s.Download.Conflict = task.ConflictReplace },
		"rename":     func(s *task.Spec) { s.Download.Conflict = task.ConflictRename },
		"folder": func(s *task.Spec) {
			s.Download.Path, s.Download.Folder = filepath.Dir(s.Download.Path), true
		},
		"temporary": func(s *task.Spec) { s.Download = &task.DownloadSpec{} },
	} {
		for _, crash := range []string{"before the rename", "after the rename"} {
			t.Run(name+", "+crash, func(t *testing.T) {
				t.Setenv("TMPDIR", t.TempDir())
				f, d, dir := serveFile(t, 64<<10), newDisk(), t.TempDir()
				dest := filepath.Join(dir, "f")
				if name == "replace" || name == "rename" {
					if err := os.WriteFile(dest, []byte("older"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				died := make(chan struct{})
				p := &process{}
				die := func() error {
					if p.dead.CompareAndSwap(false, true) {
						close(died)
					}
					return errDead
				}
				if crash == "before the rename" {
					p.afterSave = func(rec *task.Record) error {
						if rec.Commit != nil {
							return die()
						}
						return nil
					}
				} else {
					p.beforeSave = func(rec *task.Record) error {
						if rec.State == task.Completed {
							return die()
						}
						return nil
					}
				}
				d.start(t, p, nil, withTransport(t))
				id := create(t, p.Engine, get(f.URL+"/f", fetchTo(dest, change), func(s *task.Spec) { s.Policy.ResourceTimeout = 0 }))
				<-died
				stop, cancel := context.WithCancel(t.Context())
				cancel()
				p.Stop(stop)

				p = d.boot(t, nil, withTransport(t))
				rec := end(t, p.Engine, id)
				if rec.Failure != nil {
					t.Fatal(rec.Failure.Err())
				}
				if got, err := os.ReadFile(rec.Path); err != nil || !bytes.Equal(got, f.content) {
					t.Errorf("%s has %d bytes, %v", rec.Path, len(got), err)
				}
				if rec.Commit != nil || rec.Response == nil || rec.Response.Status != 200 && rec.Response.Status != 206 ||
					rec.Counts.Received != int64(len(f.content)) || rec.Counts.ExpectedToReceive != rec.Counts.Received {
					t.Errorf("%+v", rec)
				}
				if asked := f.asked(); crash == "after the rename" && len(asked) != 1 {
					t.Errorf("it was fetched again: %q", asked)
				}
				want := 1
				if name == "rename" {
					want = 2
				}
				if name == "temporary" {
					dir = filepath.Dir(rec.Path)
				}
				if files, _ := os.ReadDir(dir); len(files) != want {
					t.Errorf("left are %v", files)
				}
			})
		}
	}
}

// What another has put in the place of the file meanwhile is not taken for it.
func TestCrashAfterRenameAndAnotherFile(t *testing.T) {
	f, d, dest := serveFile(t, 64<<10), newDisk(), filepath.Join(t.TempDir(), "f")
	died := make(chan struct{})
	p := &process{}
	p.beforeSave = func(rec *task.Record) error {
		if rec.State == task.Completed && p.dead.CompareAndSwap(false, true) {
			close(died)
		}
		return p.err()
	}
	d.start(t, p, nil, withTransport(t))
	id := create(t, p.Engine, get(f.URL+"/f", fetchTo(dest)))
	<-died
	other := bytes.Repeat([]byte("x"), 64<<10)
	os.Remove(dest)
	if err := os.WriteFile(dest, other, 0o600); err != nil {
		t.Fatal(err)
	}
	next := d.boot(t, nil, withTransport(t))
	if rec := end(t, next.Engine, id); !errors.Is(rec.Failure.Err(), task.DestinationExists) {
		t.Errorf("it ended with %v", rec.Failure.Err())
	}
	if got, _ := os.ReadFile(dest); !bytes.Equal(got, other) {
		t.Error("the other file was changed")
	}
}

// A name that cannot be recorded is not given.
func TestRenameNeedsItsRecord(t *testing.T) {
	f, d, dest := serveFile(t, 64<<10), newDisk(), filepath.Join(t.TempDir(), "f")
	p := &process{beforeSave: func(rec *task.Record) error {
		if rec.Commit != nil {
			return errors.New("the disk is broken")
		}
		return nil
	}}
	d.start(t, p, nil, withTransport(t))
	rec := end(t, p.Engine, create(t, p.Engine, get(f.URL+"/f", fetchTo(dest))))
	if _, err := os.Stat(dest); err == nil || rec.Failure == nil {
		t.Errorf("the file stands (%v), and its task ended with %v", err, rec.Failure.Err())
	}
}

// A download keeps its bytes when its URL is replaced, where the new one's validator is the old one's.
func TestReplaceURLKeepsBytes(t *testing.T) {
	f, d, dest := serveFile(t, 1<<20), newDisk(), filepath.Join(t.TempDir(), "f")
	p := d.boot(t, nil, withTransport(t))
	id := create(t, p.Engine, get(f.URL+"/slow", fetchTo(dest)))
	for ev, err := range p.Events(t.Context(), task.EventQuery{Task: id}) {
		if err != nil {
			t.Fatal(err)
		}
		if dp, ok := ev.Detail.(task.DownloadProgress); ok && dp.Total >= int64(len(f.content)/2-128<<10) {
			break
		}
	}
	if err := p.ReplaceURL(t.Context(), id, f.URL+"/f"); err != nil {
		t.Fatal(err)
	}
	rec := end(t, p.Engine, id)
	if rec.Failure != nil {
		t.Fatal(rec.Failure.Err())
	}
	if got, _ := os.ReadFile(dest); !bytes.Equal(got, f.content) {
		t.Error("the file is not the server's")
	}
	if asked := f.asked(); len(asked) != 2 || asked[1] == "" {
		t.Errorf("asked for %q", asked)
	}
}
