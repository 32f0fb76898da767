// Package sqlitestore keeps the sessions of the daemon in one SQLite database.
//
// # What durable means here
//
// A write that has returned nil survives kill -9 and the loss of power. The database is in WAL mode with
// synchronous=FULL: a commit appends its pages to the -wal file and calls fsync (fdatasync where there is one) on it
// before it returns, and no caller is answered before that. After a kill or a power loss the next Open replays the
// commits that stand whole in the -wal file and ignores what follows them. A checkpoint copies them into the database,
// with an fsync of the -wal file before and of the database after, and only then is the -wal file written over. The
// names of the files are made durable by an fsync of their folder when they are created: by Open for the database and
// its key, by SQLite for the -wal file at its first fsync.
//
// A write that has returned an error has changed nothing, with one exception that no program can mend: where the fsync
// itself failed, and the machine then stops before the next commit has written over the same place, the disk may
// turn out to have the commit after all.
//
// # One writer
//
// Every write passes through one goroutine, which commits all that is waiting in one transaction: an fsync is shared by
// everyone who came while the one before it ran. A write that is refused (store.ErrConflict) does so before it has
// changed anything, and does not disturb the others. Reads go to connections of their own, which see what was committed
// when they began and neither wait for the writer nor keep it waiting.
//
// # Secrets
//
// What a copy of the database must not tell is sealed: see seal.go and secrets.go.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/urlsession/urlsession/internal/durable"
)

// DB is an open database. Its methods may be called from any goroutine.
type DB struct {
	path  string
	key   *keyFile
	write *writer
	read  *reader

	mu       sync.RWMutex
	sessions map[string]*session // by identifier

	closing  sync.Once
	closed   atomic.Bool
	closeErr error
}

// Open opens the database at path, in a folder that exists, and creates it with mode 0600 where there is none. Beside
// it stand its key, path + ".key", and, while it is open, what SQLite names path + "-wal" and "-shm".
//
// An older schema is migrated. A newer one is ErrNewer, a file that is no database of ours, or is broken, ErrDamaged, a
// key that is lost or not safe ErrKey, one that another process has open durable.ErrLocked: nothing is changed then.
// A full disk is store.ErrFull.
func Open(ctx context.Context, path string) (*DB, error) {
	return open(ctx, path, migrations)
}

func open(ctx context.Context, path string, steps []migration) (_ *DB, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db := &DB{path: path}
	defer func() {
		if err != nil {
			err = db.fail("open", errors.Join(err, db.close()))
		}
	}()

	version, check, err := inspect(ctx, path, len(steps))
	if err != nil {
		return nil, err
	}
	if db.key, err = openKey(path+".key", version == 0); err != nil {
		return nil, err
	}
	if version > 0 {
		if err := db.key.check(check); err != nil {
			return nil, err
		}
	}
	if err := createFile(path); err != nil {
		return nil, err
	}
	if db.write, err = openWriter(ctx, path); err != nil {
		return nil, err
	}
	if err := migrate(ctx, db.write.conn, steps, db.key); err != nil {
		return nil, err
	}
	if err := db.write.prepare(ctx); err != nil {
		return nil, err
	}
	if db.read, err = openReader(ctx, path); err != nil {
		return nil, err
	}
	if err := db.loadSessions(ctx); err != nil {
		return nil, err
	}
	db.write.start(db.fail)
	return db, nil
}

// createFile makes an empty file that only its owner can read, unless there is one: SQLite gives the files beside it
// the same mode. The folder is synced also where there is: a process that was killed may have made key and database, and
// not come to it, and a power loss could take the names, and all the commits with them.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// Close waits for the writes that were asked for before it, then closes the database. What is asked for after is
// os.ErrClosed. Called again, it returns the same.
func (db *DB) Close() error {
	db.closing.Do(func() {
		db.closed.Store(true)
		if err := db.close(); err != nil {
			db.closeErr = db.fail("close", err)
		}
	})
	return db.closeErr
}

func (db *DB) close() error {
	var errs []error
	if db.write != nil {
		db.write.drain()
	}
	// The readers go first: the connection that closes last copies the -wal file into the database and removes it,
	// and only the writer can.
	if db.read != nil {
		errs = append(errs, db.read.db.Close())
	}
	if db.write != nil {
		errs = append(errs, db.write.close())
	}
	if db.key != nil {
		errs = append(errs, db.key.close()) // last, since it is the lock
	}
	return errors.Join(errs...)
}

// dsn names the database for the driver. Each pragma is "name(value)".
func dsn(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_pragma": slices.Clone(pragmas)}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// openConnections opens at most n connections, which stay open.
func openConnections(dsn string, n int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}
