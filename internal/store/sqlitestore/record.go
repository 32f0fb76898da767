package sqlitestore

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// taskRow is a record as it is stored.
type taskRow struct {
	id       task.ID
	version  uint64 // of the record; the row of one that replaces it has the next
	attempt  int
	state    task.State
	priority task.Priority
	due      int64 // nanos, or never
	deadline time.Time
	ended    time.Time
	origin   string
	record   string
	sealed   []byte // nil: it has no secrets

	multipart []byte // sealed, of a new row; nil: it has none
}

// never is the due time of a task that goes on at an answer alone.
const never = -1

// scratches are buffers that records are encoded in.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// encode makes the row of rec, whose ID is set; version is what it will have when it is stored.
func (db *DB) encode(s *session, rec *task.Record, version uint64) (taskRow, error) {
	row := taskRow{
		id: rec.ID, version: rec.Version, attempt: rec.Attempt, state: rec.State, priority: rec.Spec.Priority,
		due: nanos(rec.Spec.EarliestBegin), deadline: rec.Deadline(), ended: rec.Ended, origin: originOf(rec.Spec.Request.URL),
	}
	if row.priority == 0 {
		row.priority = task.PriorityDefault
	}
	switch {
	case rec.AwaitsAnswer():
		row.due = never
	case rec.Waiting != nil && !rec.Waiting.Until.IsZero():
		row.due = nanos(rec.Waiting.Until)
	}
	open := *rec
	open.Version, open.Counts.Rate = version, 0
	secret, err := encodeSecrets(conceal(&open))
	if err != nil {
		return taskRow{}, fmt.Errorf("encode task %d: %w", rec.ID, err)
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	if *scratch, err = open.AppendJSON((*scratch)[:0]); err != nil {
		return taskRow{}, fmt.Errorf("encode task %d: %w", rec.ID, err)
	}
	row.record = string(*scratch)
	if secret != nil {
		row.sealed = db.key.seal(sealedRecord, s.id, rec.ID, secret)
	}
	return row, nil
}

// decode is the reverse, of a row whose number is known from where it stands.
func (db *DB) decode(s *session, id task.ID, record, sealed []byte) (rec task.Record, err error) {
	if err := json.Unmarshal(record, &rec); err != nil || rec.ID != id {
		return task.Record{}, fmt.Errorf("task %d: its record is of another form: %w", id, ErrDamaged)
	}
	if sealed == nil {
		return rec, nil
	}
	secret, err := db.key.open(sealedRecord, s.id, id, sealed)
	if err != nil {
		return task.Record{}, fmt.Errorf("task %d: %w", id, err)
	}
	var sec secrets
	if err := json.Unmarshal(secret, &sec); err != nil {
		return task.Record{}, fmt.Errorf("task %d: its secrets are of another form: %w", id, ErrDamaged)
	}
	reveal(&rec, sec)
	return rec, nil
}

// originOf is the scheme and the authority of a URL, without userinfo.
func originOf(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	return strings.ToLower(scheme + "://" + rest)
}

// encodeEvent is the JSON of an event without what the columns say: its name and its detail.
func encodeEvent(d task.Detail) (string, error) {
	detail, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encode event %s: %w", d.EventName(), err)
	}
	head := `{"event":"` + d.EventName() + `"`
	if string(detail) == "{}" {
		return head + "}", nil
	}
	return head + "," + string(detail[1:]), nil
}

// event is one on its way to the database.
type event struct {
	detail task.Detail
	json   string
}

func encodeEvents(details []task.Detail) ([]event, error) {
	if len(details) == 0 {
		return nil, nil
	}
	events := make([]event, len(details))
	for i, d := range details {
		json, err := encodeEvent(d)
		if err != nil {
			return nil, err
		}
		events[i] = event{d, json}
	}
	return events, nil
}

// nanos stores a time, as nanoseconds since 1970; the zero time is 0, and one too far off for them (in the year 2262, or
// before 1970) the nearest that is not.
func nanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Unix() >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	case t.Unix() < 0:
		return 1
	}
	return max(1, t.UnixNano())
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
