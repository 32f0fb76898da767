package power

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/store/sqlitestore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/test/powerfs"
)

const (
	writers = 3
	batch   = 20 // tasks that are created by one call
)

// childStore opens and closes a database in dir, writes to it, and says what it was told is durable. It does not end.
func childStore(ctx context.Context, dir string) error {
	for {
		db, err := sqlitestore.Open(ctx, filepath.Join(dir, "db"))
		if err != nil {
			return err
		}
		if err := db.CreateSession(ctx, "s", nil); err != nil && !errors.Is(err, sqlitestore.ErrSessionExists) {
			return err
		}
		say("open")
		s := db.Session("s")
		failed := make(chan error, writers)
		for range writers {
			go func() { failed <- writeTasks(ctx, s) }()
		}
		for range writers {
			err = errors.Join(err, <-failed)
		}
		if err := errors.Join(err, db.Close()); err != nil {
			return err
		}
	}
}

func writeTasks(ctx context.Context, s *sqlitestore.Store) error {
	for range 4 {
		rec := newRecord("alone")
		if err := s.Create(ctx, rec); err != nil {
			return err
		}
		say("task", rec.ID, rec.Version, 0)
		rec.Attempt++
		seq, err := s.Save(ctx, rec, task.WillRetry{Attempt: 1}, task.Waiting{Reason: task.WaitRetry})
		if err != nil {
			return err
		}
		say("task", rec.ID, rec.Version, seq)
		if err := s.Acknowledge(ctx, seq/2); err != nil {
			return err
		}
		say("acknowledged", seq/2)
	}
	recs := make([]*task.Record, batch)
	for i := range recs {
		recs[i] = newRecord(fmt.Sprint("batch ", time.Now().UnixNano()))
		recs[i].Spec.Description = recs[0].Spec.Description
	}
	if err := s.Create(ctx, recs...); err != nil {
		return err
	}
	say("task", recs[batch-1].ID, 1, 0)
	return nil
}

// say prints a line in one write, so that it is said whole or not at all.
func say(words ...any) { os.Stdout.WriteString(fmt.Sprintln(words...)) }

func newRecord(description string) *task.Record {
	return &task.Record{
		State: task.Running, Created: time.Now(),
		Spec: task.Spec{
			Kind: task.Download, Description: description,
			Request:  task.Request{Method: "GET", URL: "https://example.com/" + strings.Repeat("x", 300) + "?secret"},
			Download: &task.DownloadSpec{Destination: "f", Path: "/f"},
		},
	}
}

// told is what a store has said is durable.
type told struct {
	opened       int
	tasks        map[task.ID]uint64 // their versions
	event        uint64             // the newest
	acknowledged uint64
}

func (p *told) line(line string) {
	var id task.ID
	var version, seq uint64
	if line == "open" {
		p.opened++
	} else if n, _ := fmt.Sscanf(line, "task %d %d %d", &id, &version, &seq); n == 3 {
		p.tasks[id] = max(p.tasks[id], version)
		p.event = max(p.event, seq)
	} else if n, _ := fmt.Sscanf(line, "acknowledged %d", &seq); n == 1 {
		p.acknowledged = max(p.acknowledged, seq)
	}
}

// check reads the database, of a copy outside of the mount, and says what it lacks.
func (p *told) check(ctx context.Context, path string) error {
	db, err := sqlitestore.Open(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	if p.opened == 0 { // not even the session was promised
		return nil
	}
	s := db.Session("s")
	found := make(map[task.ID]uint64)
	batches := make(map[string]int)
	for after := task.ID(0); ; {
		page, err := s.Tasks(ctx, after, 1000)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, rec := range page {
			after = rec.ID
			found[rec.ID] = rec.Version
			if want := newRecord(rec.Spec.Description); rec.Spec.Request.URL != want.Spec.Request.URL {
				return fmt.Errorf("task %d is not whole: %+v", rec.ID, rec)
			}
			if strings.HasPrefix(rec.Spec.Description, "batch") {
				batches[rec.Spec.Description]++
			}
		}
	}
	for id, version := range p.tasks {
		if found[id] < version {
			return fmt.Errorf("task %d: version %d was told, and %d is there (0: none)", id, version, found[id])
		}
	}
	for name, n := range batches {
		if n%batch != 0 {
			return fmt.Errorf("%s: %d of %d tasks are there", name, n, batch)
		}
	}
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	if last < p.event {
		return fmt.Errorf("event %d was told, and %d is the last", p.event, last)
	}
	acknowledged, err := s.Acknowledged(ctx)
	if err != nil {
		return err
	}
	if acknowledged < p.acknowledged {
		return fmt.Errorf("the cursor was told to be at %d, and is at %d", p.acknowledged, acknowledged)
	}
	for after := uint64(0); after < last; {
		page, err := s.Events(ctx, after, 0, 1000)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return fmt.Errorf("no events after %d, and %d is the last", after, last)
		}
		for _, ev := range page {
			if after++; ev.Sequence != after || ev.Task == 0 {
				return fmt.Errorf("event %d (%+v) where %d was due", ev.Sequence, ev.Detail, after)
			}
		}
	}
	return nil
}

// The store's power is cut again and again, at its creation and later: what it told of is there, whole, and numbered without
// gaps.
func TestStore(t *testing.T) {
	journals(t, func(t *testing.T, journal powerfs.Journal, cuts int) {
		total, opened := 0, 0
		cuts = (cuts + 1) / 2 // its lives are longer
		for cut := 0; cut < cuts; {
			m := newMachine(t, journal, *first+uint64(cut))
			p := &told{tasks: make(map[task.ID]uint64)}
			for steps := 40; steps <= 200 && cut < cuts; steps += 40 { // the first in the midst of the creation
				cut++
				m.life(steps, func() {
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(os.Environ(), childEnv+"=store", childEnv+"_DIR="+m.dir)
					if _, stderr := m.run(cmd, p.line); !m.dark() {
						m.errorf("the store failed: %s", stderr)
					}
				})
				copied := t.TempDir()
				must(t, m.disk.Export(copied))
				if err := p.check(t.Context(), filepath.Join(copied, "db")); err != nil {
					m.errorf("%v", err)
				}
			}
			total += len(p.tasks)
			opened += p.opened
		}
		if total == 0 {
			t.Error("nothing was told: nothing was tested")
		}
		t.Logf("the database was opened %d times, and told of %d tasks", opened, total)
	})
}
