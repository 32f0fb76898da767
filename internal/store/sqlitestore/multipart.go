package sqlitestore

import (
	"encoding/json"
	"fmt"

	"github.com/urlsession/urlsession/internal/task"
)

// The Multipart of an upload is stored once, with the task's creation, in a row of its own: with 10,000 parts its URLs have
// megabytes, and the record is written every other second while parts come.

// selectRecords is what decode and decodeMultipart need.
const selectRecords = `SELECT t.id, t.record, t.sealed, m.sealed FROM tasks t
	LEFT JOIN multiparts m ON m.session = t.session AND m.task = t.id `

// encodeMultipart seals that of rec, whose ID is set; nil: it has none.
func (db *DB) encodeMultipart(s *session, rec *task.Record) ([]byte, error) {
	u := rec.Spec.Upload
	if u == nil || u.Multipart == nil {
		return nil, nil
	}
	text, err := json.Marshal(u.Multipart)
	if err != nil {
		return nil, fmt.Errorf("encode the parts of task %d: %w", rec.ID, err)
	}
	return db.key.seal(sealedMultipart, s.id, rec.ID, text), nil
}

// decodeMultipart is the reverse, on a record that nobody shares yet; nil: it has none.
func (db *DB) decodeMultipart(s *session, rec *task.Record, sealed []byte) error {
	if sealed == nil {
		return nil
	}
	text, err := db.key.open(sealedMultipart, s.id, rec.ID, sealed)
	if err != nil {
		return fmt.Errorf("task %d: %w", rec.ID, err)
	}
	var m task.Multipart
	if rec.Spec.Upload == nil || json.Unmarshal(text, &m) != nil {
		return fmt.Errorf("task %d: its parts are of another form: %w", rec.ID, ErrDamaged)
	}
	rec.Spec.Upload.Multipart = &m
	return nil
}
