package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// applicationID marks a database as ours, in its header: "urls".
const applicationID = 0x75726c73

// migration takes a database from the version that is its index to the next, in one transaction together with its
// version, so that a kill leaves the one or the other.
type migration struct {
	sql  string
	then func(context.Context, *sql.Conn, *keyFile) error // may be nil; in the same transaction
}

// migrations are never changed once released: a new schema is a new one at the end. The version of a database, its
// user_version, is the number of those that it has had.
var migrations = []migration{
	{sql: schema1, then: sealCheck},
	{sql: schema2},
}

const schema1 = `
CREATE TABLE key_check (sealed BLOB NOT NULL) STRICT;

CREATE TABLE sessions (
	id            INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: sealed values are bound to it
	identifier    TEXT NOT NULL UNIQUE,
	created       INTEGER NOT NULL,                  -- nanoseconds since 1970, as all times here
	state         TEXT NOT NULL,
	configuration BLOB,                              -- sealed
	last_task     INTEGER NOT NULL DEFAULT 0,        -- the highest number ever given to a task
	last_event    INTEGER NOT NULL DEFAULT 0,        -- and to an event
	acknowledged  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The columns before record repeat of it what queries ask for; they stand first, to be read without it.
CREATE TABLE tasks (
	session  INTEGER NOT NULL,
	id       INTEGER NOT NULL,
	version  INTEGER NOT NULL,
	attempt  INTEGER NOT NULL,
	state    TEXT NOT NULL,
	priority REAL NOT NULL,
	due      INTEGER NOT NULL, -- when it wants to go on; 0: at once; -1: at an answer
	deadline INTEGER NOT NULL, -- when its time is over; 0: never
	ended    INTEGER NOT NULL, -- 0: it has not
	origin   TEXT NOT NULL,    -- scheme, host and port
	record   TEXT NOT NULL,    -- JSON of task.Record without its secrets
	sealed   BLOB,             -- those
	PRIMARY KEY (session, id)
) STRICT;

CREATE INDEX tasks_pending ON tasks (session, id, state, priority, due, deadline, origin) WHERE state <> 'completed';
CREATE INDEX tasks_ended ON tasks (session, ended, id) WHERE state = 'completed';

CREATE TABLE events (
	session INTEGER NOT NULL,
	seq     INTEGER NOT NULL,
	task    INTEGER NOT NULL, -- 0: the session's own
	time    INTEGER NOT NULL,
	event   TEXT NOT NULL,    -- JSON of task.Event without what the columns say
	PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX events_of_task ON events (session, task, seq);
`

const schema2 = `
-- What a task is created with that is large and never changes: the URLs of an upload in parts, which its record's writes need
-- not repeat.
CREATE TABLE multiparts (
	session INTEGER NOT NULL,
	task    INTEGER NOT NULL,
	sealed  BLOB NOT NULL,    -- JSON of task.Multipart
	PRIMARY KEY (session, task)
) STRICT;
`

// inspect reads the version of the database at path, 0 where there is none or it is empty, and what checks its key. It
// refuses what a program that knows the given version must not open. It opens the file for reading only, but where a process
// was killed while it made the database, before WAL mode: what its journal says is undone first.
func inspect(ctx context.Context, path string, known int) (version int, check []byte, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	mode := "ro"
	if journal, err := os.Stat(path + "-journal"); err == nil && journal.Size() > 0 {
		mode = "rw"
	}
	db, err := openConnections(dsn(path, mode, "busy_timeout(5000)"), 1)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	var application, tables int
	row := db.QueryRowContext(ctx, `SELECT (SELECT user_version FROM pragma_user_version),
		(SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)`)
	if err := row.Scan(&version, &application, &tables); err != nil {
		return 0, nil, err
	}
	switch {
	case application != applicationID && (application != 0 || version != 0 || tables != 0):
		return 0, nil, fmt.Errorf("%w (it is a database of another program)", ErrDamaged)
	case version > known:
		return 0, nil, fmt.Errorf("version %d, and %d is known: %w", version, known, ErrNewer)
	case version > 0:
		err = db.QueryRowContext(ctx, "SELECT sealed FROM key_check").Scan(&check)
	}
	return version, check, err
}

// migrate brings the database to the newest version.
func migrate(ctx context.Context, conn *sql.Conn, steps []migration, key *keyFile) error {
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	for ; version < len(steps); version++ {
		if err := steps[version].apply(ctx, conn, key, version+1); err != nil {
			_, rollback := conn.ExecContext(context.Background(), "ROLLBACK")
			_ = rollback // SQLite may have done it already, and an open transaction ends with the connection
			return fmt.Errorf("migrate to version %d: %w", version+1, err)
		}
	}
	return nil
}

func (m migration) apply(ctx context.Context, conn *sql.Conn, key *keyFile, version int) error {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, m.sql); err != nil {
		return err
	}
	if m.then != nil {
		if err := m.then(ctx, conn, key); err != nil {
			return err
		}
	}
	mark := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version)
	if _, err := conn.ExecContext(ctx, mark); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, "COMMIT")
	return err
}
