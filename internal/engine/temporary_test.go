package engine_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// origin serves content whose second half waits until it is open.
type origin struct {
	*httptest.Server
	content []byte
	open    chan struct{}
	half    chan string // the range of each request whose first half has left
}

func newOrigin(t *testing.T) *origin {
	o := &origin{content: bytes.Repeat([]byte("content "), 100_000), open: make(chan struct{}), half: make(chan string, 10)}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Etag", `"v"`)
		select {
		case <-o.open:
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(o.content))
			return
		default:
		}
		w.Header().Set("Content-Length", "800000")
		w.Write(o.content[:400_000])
		w.(http.Flusher).Flush()
		o.half <- req.Header.Get("Range")
		<-req.Context().Done()
	}))
	t.Cleanup(o.Close)
	return o
}

// temporary is a session whose downloads without a destination go to a folder of its own.
type temporary struct {
	*disk
	folder string
	rt     *transport.Transport
}

func newTemporary(t *testing.T) *temporary {
	rt, err := transport.New(transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.CloseIdleConnections() })
	return &temporary{newDisk(), t.TempDir(), rt}
}

func (s *temporary) boot(t *testing.T) *process {
	t.Helper()
	return s.disk.boot(t, nil, func(o *engine.Options) {
		o.RoundTripper, o.Temporary = s.rt, s.folder+"/"
		o.Retention = engine.Retention{Count: 1}
	})
}

func (s *temporary) names(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (s *temporary) until(t *testing.T, ok func(names []string) bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(s.names(t)); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: the folder has %v", what, s.names(t))
		}
	}
}

func bounded(t *testing.T, ch <-chan string) string {
	t.Helper()
	select {
	case s := <-ch:
		return s
	case <-time.After(time.Minute):
		t.Fatal("the origin was never asked")
		return ""
	}
}

func TestTemporaryDownloadGoesOnAfterARestart(t *testing.T) {
	o, s := newOrigin(t), newTemporary(t)
	ctx := t.Context()
	p := s.boot(t)
	first := create(t, p.Engine, get(o.URL+"/a/name.txt", download))
	second := create(t, p.Engine, get(o.URL+"/a/name.txt", download))
	bounded(t, o.half)
	bounded(t, o.half)
	received(t, p.Engine, first)
	received(t, p.Engine, second)
	if err := p.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(s.names(t)); n != 4 { // two part files with their records
		t.Errorf("in the folder are %v", s.names(t))
	}
	close(o.open)

	if err := os.WriteFile(filepath.Join(s.folder, "99-orphan"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.folder, "not ours"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p = s.boot(t)
	for id, name := range map[task.ID]string{first: "1-name.txt", second: "2-name.txt"} {
		rec := end(t, p.Engine, id)
		if rec.Path != filepath.Join(s.folder, name) || rec.Response.Status != http.StatusPartialContent {
			t.Fatalf("%s, by status %d; %v", rec.Path, rec.Response.Status, rec.Failure.Err())
		}
		if b, err := os.ReadFile(rec.Path); err != nil || !bytes.Equal(b, o.content) {
			t.Errorf("the file has %d bytes, %v", len(b), err)
		}
		if info, _ := os.Stat(rec.Path); info.Mode() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	}
	s.until(t, func(names []string) bool {
		return slices.Equal(names, []string{"1-name.txt", "2-name.txt", "not ours"})
	}, "orphans collected")

	// The task that ended last is kept, and with the other's history goes its file.
	gone, kept := first, "2-name.txt"
	if s.record(t, first).Ended.After(s.record(t, second).Ended) {
		gone, kept = second, "1-name.txt"
	}
	last, _ := s.Last(ctx)
	p.Acknowledge(ctx, last)
	p.Expire()
	if names := s.names(t); !slices.Equal(names, []string{kept, "not ours"}) {
		t.Errorf("history forgotten, in the folder are %v", names)
	}
	if _, err := p.Task(ctx, gone); !errors.Is(err, task.ResourceUnavailable) {
		t.Errorf("the task that is gone: %v", err)
	}
}

// What a cancelled download holds is kept as long as its history; another that is made from it takes it on.
func TestTemporaryDownloadIsCancelled(t *testing.T) {
	o, s := newOrigin(t), newTemporary(t)
	ctx := t.Context()
	p := s.boot(t)
	var ids []task.ID
	for range 2 {
		ids = append(ids, create(t, p.Engine, get(o.URL+"/name.txt", download)))
		bounded(t, o.half)
		received(t, p.Engine, ids[len(ids)-1])
	}
	for _, id := range ids {
		p.Cancel(ctx, id)
	}
	held := end(t, p.Engine, ids[0]).ResumeData
	end(t, p.Engine, ids[1])
	if held == nil || len(s.names(t)) != 4 {
		t.Fatalf("resume data %+v; in the folder are %v", held, s.names(t))
	}
	close(o.open)
	id := create(t, p.Engine, get(o.URL+"/name.txt", download, func(spec *task.Spec) { spec.Download = &task.DownloadSpec{Resume: held} }))
	rec := end(t, p.Engine, id)
	if rec.Failure != nil || rec.Response.Status != http.StatusPartialContent || rec.Path != filepath.Join(s.folder, "3-name.txt") {
		t.Fatalf("%s, %v", rec.Path, rec.Failure.Err())
	}
	last, _ := s.Last(ctx)
	p.Acknowledge(ctx, last)
	p.Expire()
	if names := s.names(t); !slices.Equal(names, []string{"3-name.txt"}) {
		t.Errorf("history forgotten, in the folder are %v", names)
	}
	stopped, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.Stop(stopped); err != nil {
		t.Error(err)
	}
}

// The part file of a download that did not succeed goes with its history, unless somebody has come later.
func TestPartFilesExpire(t *testing.T) {
	o, s := newOrigin(t), newTemporary(t)
	ctx, folder := t.Context(), t.TempDir()
	p := s.boot(t)
	var parts []string
	for i := range 3 {
		path := filepath.Join(folder, strconv.Itoa(i))
		id := create(t, p.Engine, get(o.URL+"/name.txt", download, func(spec *task.Spec) {
			spec.Download = &task.DownloadSpec{Destination: path, Path: path}
		}))
		bounded(t, o.half)
		received(t, p.Engine, id)
		p.Cancel(ctx, id)
		parts = append(parts, end(t, p.Engine, id).ResumeData.Part)
	}
	if err := os.Chtimes(parts[1], time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	last, _ := s.Last(ctx)
	p.Acknowledge(ctx, last)
	p.Expire() // keeps the newest task
	for i, want := range []bool{false, true, true} {
		if _, err := os.Stat(parts[i]); (err == nil) != want {
			t.Errorf("part file %d is there: %v", i, err)
		}
	}
	stopped, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.Stop(stopped); err != nil {
		t.Error(err)
	}
}
