package sqlitestore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/store"
)

var (
	// ErrNewer: the database was written by a newer program.
	ErrNewer = errors.New("its schema is newer than this program knows; use the program that wrote it, or a newer one")
	// ErrDamaged: the file is not, or no longer, a database of ours.
	ErrDamaged = errors.New("it is damaged or no database of urlsession; restore it, or move it away together with the files beside it")
	// ErrKey: the key file is lost, belongs to something else, or is not safe.
	ErrKey = errors.New("the key of the database cannot be used")
	// ErrNoSession: no such session.
	ErrNoSession = errors.New("no such session")
	// ErrSessionExists: a session of this identifier exists.
	ErrSessionExists = errors.New("the session exists")
	// ErrSessionNotOver: a session has not ended, or has events that nobody has acknowledged.
	ErrSessionNotOver = errors.New("a session can be opened anew once it is invalidated and its events are acknowledged")
)

// fail says what was being done to the database when err happened, and sorts the errors of SQLite into those of package
// store and ours.
func (db *DB) fail(op string, err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w: %w", store.ErrFull, err)
		}
		return fmt.Errorf("%s %s: %w", op, db.path, err)
	}
	var kind error
	switch e.Code() & 0xff { // the primary code
	case sqlite3.SQLITE_FULL:
		kind = store.ErrFull
	case sqlite3.SQLITE_IOERR:
		if noRoom(filepath.Dir(db.path)) {
			kind = store.ErrFull
		}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		kind = ErrDamaged
	}
	if kind == nil {
		return fmt.Errorf("%s %s: %w", op, db.path, err)
	}
	return fmt.Errorf("%s %s: %w: %w", op, db.path, kind, err)
}

// noRoom reports whether the folder's disk, or the user's share of it, is full. SQLite says so itself, but for a few
// errors of which it keeps only that they were of input or output; trying is the one way that knows quotas too.
func noRoom(dir string) bool {
	path := filepath.Join(dir, ".room."+rand.Text())
	err := durable.WriteFile(path, make([]byte, 64<<10), 0o600)
	os.Remove(path)
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
