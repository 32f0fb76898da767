package sqlitestore

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

// newMultipart is an upload of 10,000 parts, whose URLs have 600 bytes each, and of which half are there.
func newMultipart() *task.Record {
	const parts = 10_000
	rec := newRecord(0)
	rec.Spec.Kind, rec.Spec.Download = task.Upload, nil
	m := &task.Multipart{PartSize: 5 << 20, Completes: true}
	rec.Upload = &task.UploadState{Protocol: task.ResumableParts}
	for n := 1; n <= parts; n++ {
		m.Parts = append(m.Parts, "https://bucket.example.com/film.mp4?X-Amz-Signature="+strings.Repeat("0", 548))
		if n <= parts/2 {
			rec.Upload.Parts = append(rec.Upload.Parts, task.Part{Number: n, ETag: `"d41d8cd98f00b204e9800998ecf8427e"`})
		}
	}
	rec.Spec.Upload = &task.UploadSpec{Multipart: m}
	return rec
}

// The URLs of an upload in parts are stored once, whatever is written of its record, and go with it.
func TestMultipartIsStoredOnce(t *testing.T) {
	s := newSessionStore(t)
	rec := newMultipart()
	must(t, s.Create(t.Context(), newRecord(1), rec))
	size := func() (bytes, rows int) {
		must(t, s.db.read.db.QueryRow("SELECT length(sealed), (SELECT count(*) FROM multiparts) FROM tasks WHERE id = ?", rec.ID).Scan(&bytes, &rows))
		return bytes, rows
	}
	before, rows := size()
	if before > 1<<20 || rows != 1 {
		t.Errorf("the record has %d bytes sealed, beside %d rows", before, rows)
	}
	rec.Upload.Parts = append(rec.Upload.Parts, task.Part{Number: 5001, ETag: `"e"`})
	rec.State = task.Completed
	if _, err := s.Save(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load(t.Context(), rec.ID)
	must(t, err)
	if !reflect.DeepEqual(got.Spec.Upload, rec.Spec.Upload) || len(got.Upload.Parts) != 5001 {
		t.Errorf("%d URLs, %d parts", len(got.Spec.Upload.Multipart.Parts), len(got.Upload.Parts))
	}
	all, err := s.Tasks(t.Context(), 0, 10)
	must(t, err)
	if len(all) != 2 || all[0].Spec.Upload != nil || len(all[1].Spec.Upload.Multipart.Parts) != 10_000 {
		t.Errorf("listed: %d", len(all))
	}
	must(t, s.Forget(t.Context(), rec.ID))
	must(t, s.db.read.db.QueryRow("SELECT count(*) FROM multiparts").Scan(&rows))
	if rows != 0 {
		t.Errorf("%d rows are left", rows)
	}
}

// They are sealed, and open only where they were put.
func TestMultipartIsSealed(t *testing.T) {
	for name, move := range map[string]string{
		"to another task": "UPDATE multiparts SET sealed = (SELECT sealed FROM multiparts WHERE task = 1) WHERE task = 2",
		"from a record":   "UPDATE multiparts SET sealed = (SELECT sealed FROM tasks WHERE id = 2) WHERE task = 2",
	} {
		path := filepath.Join(t.TempDir(), "db")
		db := openDB(t, path)
		must(t, db.CreateSession(t.Context(), "a", nil))
		must(t, db.Session("a").Create(t.Context(), newMultipart(), newMultipart()))
		must(t, db.Close())
		for file, content := range folder(t, filepath.Dir(path)) {
			if strings.Contains(content, "X-Amz-Signature") {
				t.Errorf("%s has a URL", file)
			}
		}
		edit(t, path, move)
		db = openDB(t, path)
		if _, err := db.Session("a").Load(t.Context(), 2); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}

// A database of the schema before has them from now on.
func TestMultipartOfAnOlderDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if _, err := open(t.Context(), path, migrations[:1]); err == nil {
		t.Fatal("it has no table for them, and this is not noticed")
	}
	if version, _, err := inspect(t.Context(), path, 1); version != 1 || err != nil {
		t.Fatalf("version %d, %v", version, err)
	}
	db := openDB(t, path)
	must(t, db.CreateSession(t.Context(), "s", nil))
	must(t, db.Session("s").Create(t.Context(), newMultipart()))
}

// BenchmarkSaveMultipart: what each write costs while a large upload in parts goes on.
func BenchmarkSaveMultipart(b *testing.B) {
	s := newSessionStore(b)
	rec := newMultipart()
	must(b, s.Create(b.Context(), rec))
	for b.Loop() {
		if _, err := s.Save(b.Context(), rec); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoadMultipart: a list of one.
func BenchmarkLoadMultipart(b *testing.B) {
	s := newSessionStore(b)
	rec := newMultipart()
	must(b, s.Create(b.Context(), rec))
	for b.Loop() {
		if _, err := s.Tasks(b.Context(), 0, 10); err != nil {
			b.Fatal(err)
		}
	}
}
