package power

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A mutant is a mistake that somebody could make tomorrow: in one file, each old text, which stands there once, becomes the new.
type mutant struct {
	name, file, test string
	edits            []string // old, new, old, new …
}

var mutants = []mutant{
	{"a record is written before its bytes are fsynced", "internal/partial/checkpoint.go", "Download", []string{
		"	lost := f.sync(f.file) // fdatasync: the claimed bytes are on disk\n	if lost == nil {\n		failed = f.save(f.path+tempSuffix, f.path+recordSuffix, claim.Encode()) // only then the claim\n	}",
		"	failed = f.save(f.path+tempSuffix, f.path+recordSuffix, claim.Encode())\n	lost := f.sync(f.file)",
	}},
	{"a checkpoint does not fsync the bytes", "internal/partial/checkpoint.go", "Download", []string{
		"lost := f.sync(f.file)", "lost := error(nil)",
	}},
	{"a checkpoint claims what was written during its fsync", "internal/partial/checkpoint.go", "Download", []string{
		"	if lost == nil {\n		failed = f.save", "	if lost == nil {\n		claim.Held = f.Written()\n		failed = f.save",
	}},
	{"a checkpoint claims the holes as well", "internal/partial/checkpoint.go", "Segments", []string{
		"	if lost == nil {\n		failed = f.save", "	if lost == nil {\n		claim.Held = Ranges{{0, claim.Held.End()}}\n		failed = f.save",
	}},
	{"a checkpoint does not fsync the folder", "internal/partial/checkpoint.go", "Download", []string{
		"	return durable.SyncDir(filepath.Dir(path))", "	_, _ = filepath.Dir(path), durable.SyncDir\n	return nil",
	}},
	{"a new version is written over the old one while its record stands", "internal/partial/file.go", "Download", []string{
		"err = f.forgetRecord()", "err = f.removeRecord()",
	}},
	{"a file gets its name before it is fsynced", "internal/partial/end.go", "Download", []string{
		"	if err := f.file.Sync(); err != nil {", "	if err := error(nil); err != nil {",
	}},
	{"a file's name is not fsynced", "internal/partial/end.go", "Download|List", []string{
		"	if synced := durable.SyncDir(filepath.Dir(path)); err == nil {\n		err = synced\n	}\n	if filepath.Dir(path) != f.folder()",
		"	if filepath.Dir(path) != f.folder()",
	}},
	{"the record goes before the file has its name", "internal/partial/end.go", "Download", []string{
		"	path, err = f.rename(final, how)\n	if err != nil {", "	if err := f.removeRecord(); err != nil {\n		return \"\", err\n	}\n	path, err = f.rename(final, how)\n	if err != nil {",
	}},
	{"what a record claims is not compared with the file's size", "internal/partial/open.go", "Download", []string{
		" || r.Held.End() > size:", ":",
	}},
	{"a record that a kill has left half removed is forgotten", "internal/partial/open.go", "Download", []string{
		"		if size > 0 {\n			if err := durable.SyncDir(f.folder()); err != nil {", "		if size > 0 {\n			if err := error(nil); err != nil {",
	}},
	{"a record is not fsynced", "internal/durable/write.go", "Download", []string{
		"err = f.Sync() //", "err = nil //",
	}},
	{"an fsync of a folder joins one that has begun", "internal/durable/syncdir.go", "List", []string{
		"if mine := f.next; mine != nil {", "if mine := f.running; mine != nil {",
	}},
	{"fsync of a folder does nothing", "internal/durable/syncdir.go", "Download|List", []string{
		"return unix.Fsync(fd)", "return nil",
	}},
	{"fdatasync does nothing", "internal/durable/sys_linux.go", "Download", []string{
		"return unix.Fdatasync(int(fd))", "return nil",
	}},
	{"the database does not fsync", "internal/store/sqlitestore/writer.go", "Store", []string{
		`"synchronous(full)",`, `"synchronous(off)",`,
	}},
	{"the database does not fsync each commit", "internal/store/sqlitestore/writer.go", "Store", []string{
		`"synchronous(full)",`, `"synchronous(normal)",`,
	}},
	{"callers are answered before the commit", "internal/store/sqlitestore/writer.go", "Store", []string{
		"	t.commit()\n	return t, refused", "	for i, o := range batch {\n		o.done <- refused[i]\n		o.done = make(chan error, 1)\n	}\n	t.commit()\n	return t, refused",
	}},
	{"the database's key is not fsynced", "internal/store/sqlitestore/seal.go", "Store", []string{
		"durable.WriteFile(temp,", "os.WriteFile(temp,",
	}},
	{"a database with a journal is opened for reading only", "internal/store/sqlitestore/schema.go", "Store", []string{
		`		mode = "rw"`, `		mode = "ro"`,
	}},
	{"a request's body is not fsynced", "daemon/files.go", "Daemon", []string{"err = durable.SyncData(f)", "err = nil"}},
	{"the name of a request's body is not fsynced", "daemon/files.go", "Daemon", []string{"err = durable.SyncDir(s.dir)", "err = nil"}},
	{"a response's body is not fsynced", "daemon/files.go", "Daemon", []string{"durable.WriteFile(", "os.WriteFile("}},
	{"the name of a response's body is not fsynced", "daemon/files.go", "Daemon", []string{"err = durable.SyncDir(b.dir)", "err = nil"}},
	{"a folder's name is not fsynced", "daemon/folder.go", "Daemon", []string{"	err = durable.SyncDir(filepath.Dir(path))", "	err = nil"}},
	{"a rename is not announced", "internal/engine/observer.go", "Daemon", []string{
		"	r.rec.Commit = commit\n	r.rec.Counts = r.counts()\n	return r.save()", "	r.rec.Commit = commit\n	r.rec.Counts = r.counts()\n	return nil",
	}},
	{"a rename of before a kill is not made durable", "internal/partial/finish.go", "Daemon", []string{
		"	err = durable.SyncDir(filepath.Dir(final))\n", "	err, _ = nil, durable.SyncDir\n",
	}},
	{"the database's name is not fsynced, nor is its key's", "internal/store/sqlitestore/seal.go", "Store|Daemon", []string{
		"	return durable.SyncDir(filepath.Dir(path))", "	_ = filepath.Dir\n	return nil",
	}},
}

// TestMutants makes each mistake in a copy of the tree and expects the tests to find it. It takes minutes:
//
//	cd test && URLSESSION_MUTANTS=1 go test -v -timeout 30m -run TestMutants ./power
func TestMutants(t *testing.T) {
	if os.Getenv("URLSESSION_MUTANTS") == "" {
		t.Skip("it takes minutes; URLSESSION_MUTANTS=1 asks for it")
	}
	needMounts(t)
	root := t.TempDir()
	must(t, os.CopyFS(root, os.DirFS("../..")))
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			path := filepath.Join(root, m.file)
			original, err := os.ReadFile(path)
			must(t, err)
			defer func() { must(t, os.WriteFile(path, original, 0o644)) }()
			text := string(original)
			for i := 0; i < len(m.edits); i += 2 {
				if n := strings.Count(text, m.edits[i]); n != 1 {
					t.Fatalf("%s has the text %d times: %q", m.file, n, m.edits[i])
				}
				text = strings.Replace(text, m.edits[i], m.edits[i+1], 1)
			}
			must(t, os.WriteFile(path, []byte(text), 0o644))
			t.Log(found(t, filepath.Join(root, "test"), m.test))
		})
	}
}

// found runs tests and returns what they have found; that they have found nothing fails the test.
func found(t *testing.T, dir, test string) string {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "vet", "./power") // a mutant that does not compile is none
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go vet: %v\n%s", err, out)
	}
	cuts := "600"
	if test == "Daemon" {
		cuts = "200" // whose lives are longer
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-failfast", "-timeout", "5m", "-run", "Test("+test+")", "./power", "-power.cuts="+cuts)
	cmd.Dir, cmd.WaitDelay = dir, patience
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("nobody has noticed, in %v", time.Since(start).Round(time.Second))
	}
	if strings.Contains(string(out), "build failed") || strings.Contains(string(out), "panic: test timed out") {
		t.Fatalf("%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if _, said, ok := strings.Cut(line, "_test.go:"); ok {
			return said
		}
	}
	return string(out)
}
