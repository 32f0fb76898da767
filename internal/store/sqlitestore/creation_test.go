package sqlitestore

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// usable checks that the folder that a process left, which was killed while it made the database, is gone on with.
func usable(t *testing.T, what, path string) {
	t.Helper()
	for range 2 {
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if _, err := db.Info(t.Context(), "s"); err != nil {
			must(t, db.CreateSession(t.Context(), "s", []byte("secret")))
			must(t, db.Session("s").Create(t.Context(), newRecord(1)))
		}
		if rec, err := db.Session("s").Load(t.Context(), 1); err != nil || rec.State != task.Running {
			t.Errorf("%s: the task is %+v, %v", what, rec, err)
		}
		must(t, db.Close())
	}
}

// put makes a folder of files, and returns the database's path in it.
func put(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600))
	}
	return filepath.Join(dir, "db")
}

// Each state that a kill can leave while the database is made.
func TestKilledWhileCreating(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	must(t, createKey(path+".key"))
	key := folder(t, filepath.Dir(path))
	usable(t, "a key", put(t, key))
	usable(t, "a key, and one that has not its name yet", put(t, map[string]string{"db.key": key["db.key"], "db.key.ABC": key["db.key"]}))
	usable(t, "an empty database", put(t, map[string]string{"db.key": key["db.key"], "db": ""}))

	// In WAL mode, and nothing in it: the header alone.
	must(t, createFile(path))
	w, err := openWriter(t.Context(), path)
	must(t, err)
	header := folder(t, filepath.Dir(path))
	usable(t, "a header", put(t, map[string]string{"db.key": header["db.key"], "db": header["db"]}))
	usable(t, "a header and what is beside it", put(t, header))

	// Its tables are in the -wal file alone, or a part of them.
	k, err := openKey(path+".key", false)
	must(t, err)
	must(t, migrate(t.Context(), w.conn, migrations, k))
	whole := folder(t, filepath.Dir(path))
	wal := whole["db-wal"]
	if len(wal) < 8192 {
		t.Fatalf("the -wal file has %d bytes", len(wal))
	}
	must(t, w.close())
	must(t, k.close())
	usable(t, "tables in the -wal file", put(t, whole))
	for range 20 {
		n := rand.IntN(len(wal))
		whole["db-wal"] = wal[:n]
		usable(t, "a -wal file cut at "+strconv.Itoa(n), put(t, whole))
	}
	usable(t, "a -wal file and an empty database", put(t, map[string]string{"db.key": whole["db.key"], "db": "", "db-wal": wal}))

	// Before WAL mode SQLite has a journal; with it, pages that are to be undone.
	other := filepath.Join(t.TempDir(), "db")
	must(t, createFile(other))
	raw, err := openConnections(dsn(other, "rw", "journal_mode(delete)", "cache_size(1)"), 1)
	must(t, err)
	defer raw.Close()
	for _, text := range []string{"BEGIN IMMEDIATE", "CREATE TABLE t (b BLOB)", "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) SELECT randomblob(3000) FROM n"} {
		_, err := raw.ExecContext(t.Context(), text)
		must(t, err)
	}
	hot := folder(t, filepath.Dir(other))
	if len(hot["db"]) == 0 || len(hot["db-journal"]) == 0 {
		t.Fatalf("no journal: %d, %d bytes", len(hot["db"]), len(hot["db-journal"]))
	}
	hot["db.key"] = key["db.key"]
	usable(t, "a journal", put(t, hot))
}

// The same at whatever moment.
func TestKilledWhileOpening(t *testing.T) {
	for range 15 {
		path := filepath.Join(t.TempDir(), "db")
		cmd, lines := startChild(t, "write", path)
		kill := time.AfterFunc(time.Duration(rand.IntN(40))*time.Millisecond, func() { cmd.Process.Kill() })
		lines.Scan() // it is open, or was killed before
		kill.Stop()
		cmd.Process.Kill()
		cmd.Wait()
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		must(t, db.Close())
	}
}
