package partial

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

func TestBeginForgetsTheOtherVersion(t *testing.T) {
	f := begun(t, 1000)
	write(t, f, 0, 600)
	must(t, f.Checkpoint())
	must(t, f.Close())
	f = mustOpen(t, f.Path())
	write(t, f, 600, 700) // not recorded

	must(t, f.Begin(versioned(2), 2000))
	if _, err := os.Lstat(f.Path() + recordSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old record is still there: %v", err)
	}
	if size := len(mustRead(t, f.Path())); size != 0 {
		t.Errorf("%d bytes of the old version are still there", size)
	}
	if f.Held() != nil || f.Written() != nil || f.Prefix() != 0 || f.Total() != 2000 || f.Validator() != versioned(2) {
		t.Errorf("held %v, written %v, total %d, %+v", f.Held(), f.Written(), f.Total(), f.Validator())
	}
	must(t, f.Checkpoint())
	if _, err := os.Lstat(f.Path() + recordSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a record of nothing was written: %v", err)
	}
	if _, err := f.WriteAt(content(2, 0, 100), 0); err != nil {
		t.Fatal(err)
	}
	must(t, f.Close())
	f = mustOpen(t, f.Path())
	if !slices.Equal(f.Held(), Ranges{{0, 100}}) || f.Validator() != versioned(2) {
		t.Errorf("held %v, %+v", f.Held(), f.Validator())
	}
}

func TestHeldIsWhatTheRecordClaims(t *testing.T) {
	f := begun(t, 1000)
	write(t, f, 100, 200)
	if f.Held() != nil || !slices.Equal(f.Written(), Ranges{{100, 200}}) || f.Prefix() != 0 {
		t.Errorf("before: held %v, written %v, prefix %d", f.Held(), f.Written(), f.Prefix())
	}
	must(t, f.Checkpoint())
	write(t, f, 0, 100)
	if !slices.Equal(f.Held(), Ranges{{100, 200}}) || f.Prefix() != 200 {
		t.Errorf("after: held %v, prefix %d", f.Held(), f.Prefix())
	}
	r, err := ParseRecord(mustRead(t, f.Path()+recordSuffix))
	if err != nil || !slices.Equal(r.Held, f.Held()) || r.Total != 1000 || r.Validator != versioned(1) {
		t.Errorf("the record is %+v, %v", r, err)
	}
	f.Held()[0][0] = 0 // a copy
	if !slices.Equal(f.Held(), Ranges{{100, 200}}) {
		t.Error("Held gave away its own")
	}
}

func TestReadAt(t *testing.T) {
	f := begun(t, -1)
	write(t, f, 0, 10000)
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Prefix()))
	if err != nil || !bytes.Equal(got, content(1, 0, 10000)) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestWriteAtRefuses(t *testing.T) {
	f := begun(t, 100)
	for _, off := range []int64{-1, math.MaxInt64} {
		if _, err := f.WriteAt([]byte("xx"), off); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("at %d: %v", off, err)
		}
	}
	if n, err := f.WriteAt(make([]byte, 11), 90); n != 0 || err == nil || !strings.Contains(err.Error(), "byte 101 of a file of 100") {
		t.Errorf("past the total: %d, %v", n, err)
	}
	if n, err := f.WriteAt(nil, 0); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
	if f.Written() != nil {
		t.Errorf("written %v", f.Written())
	}
}

func TestSetTotal(t *testing.T) {
	f := begun(t, -1)
	write(t, f, 0, 100)
	if err := f.SetTotal(99); err == nil {
		t.Error("less than what is written was taken")
	}
	must(t, f.SetTotal(-1))
	must(t, f.SetTotal(200))
	must(t, f.SetTotal(200))
	if err := f.SetTotal(201); err == nil {
		t.Error("a known total was changed")
	}
	if err := f.SetTotal(-1); err == nil {
		t.Error("a known total was forgotten")
	}
	must(t, f.Checkpoint())
	must(t, f.Close())
	if g := mustOpen(t, f.Path()); g.Total() != 200 {
		t.Errorf("total %d", g.Total())
	}
}

// Learning the total alone is worth a record, once there is one.
func TestSetTotalIsRecorded(t *testing.T) {
	f := begun(t, -1)
	write(t, f, 0, 100)
	must(t, f.Checkpoint())
	must(t, f.SetTotal(200))
	must(t, f.Checkpoint())
	if r, err := ParseRecord(mustRead(t, f.Path()+recordSuffix)); err != nil || r.Total != 200 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSegmentsAtOnce(t *testing.T) {
	const size, segments, piece = 24<<20 + 12345, 6, 300000
	f := begun(t, size)
	var wg sync.WaitGroup
	for s := range int64(segments) {
		wg.Go(func() {
			end := (s + 1) * size / segments
			for at := s * size / segments; at < end; at += piece {
				next := min(at+piece, end)
				if _, err := f.WriteAt(content(1, at, next), at); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if !slices.Equal(f.Written(), Ranges{{0, size}}) {
		t.Errorf("written %v", f.Written())
	}
	if held := f.Held().Total(); held < size-UnrecordedLimit {
		t.Errorf("%d of %d bytes are held", held, size)
	}
	path, err := f.Commit(f.Path()+".final", task.ConflictFail)
	must(t, err)
	if err := checkHeld(mustRead(t, path), Ranges{{0, size}}, 1); err != nil {
		t.Error(err)
	}
}

func TestWriteLargerThanTheLimit(t *testing.T) {
	const size = 3*UnrecordedLimit + 1
	f := begun(t, size)
	write(t, f, 0, size)
	if lost := size - f.Held().Total(); lost > UnrecordedLimit {
		t.Errorf("%d bytes are not recorded", lost)
	}
	must(t, f.Close())
	if g := mustOpen(t, f.Path()); g.Prefix() != size {
		t.Errorf("held %v", g.Held())
	}
}

// Close may come while segments write; each ends with all of its bytes or os.ErrClosed, and what counts is held.
func TestCloseWhileWriting(t *testing.T) {
	f := begun(t, -1)
	var wg sync.WaitGroup
	for s := range int64(4) {
		wg.Go(func() {
			for at := s << 30; ; at += page {
				_, err := f.WriteAt(content(1, at, at+page), at)
				if errors.Is(err, os.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for f.Prefix() < 1<<20 {
		if t.Failed() {
			break
		}
	}
	must(t, f.Close())
	wg.Wait()
	written := f.Written()
	g := mustOpen(t, f.Path())
	if !slices.Equal(g.Held(), written) {
		t.Errorf("held %v, written %v", g.Held(), written)
	}
	for _, a := range g.Held() {
		got := make([]byte, a[1]-a[0])
		if _, err := g.ReadAt(got, a[0]); err != nil || !bytes.Equal(got, content(1, a[0], a[1])) {
			t.Errorf("[%d,%d) is not what was written: %v", a[0], a[1], err)
		}
	}
}
