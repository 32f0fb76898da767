package background

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urlsession/urlsession"
)

// check looks at all that the torture leaves.
func (x *torture) check() {
	x.t.Helper()
	ctx := bounded(x.t)
	s := x.k.session(x.k.configuration(tortured))
	tasks := make(map[int][]urlsession.Status) // by their jobs
	for st, err := range s.Statuses(ctx, 0) {
		if err != nil {
			x.t.Fatal(err)
		}
		n, err := jobOf(st)
		if err != nil {
			x.t.Fatal(err)
		}
		tasks[n] = append(tasks[n], st)
	}
	var stored []line
	for ev, err := range s.Observe(ctx, new(uint64)) {
		if err != nil {
			x.t.Fatal(err)
		}
		if ev.Name() == "sessioneventscompleted" {
			break
		}
		if ev.Sequence() == 0 {
			continue
		}
		var l line
		data, err := json.Marshal(ev)
		if err == nil {
			err = json.Unmarshal(data, &l)
		}
		if err != nil {
			x.t.Fatal(err)
		}
		l.raw = string(data)
		stored = append(stored, l)
	}
	bad := make(map[int]bool) // jobs
	for _, j := range x.plan.Jobs {
		if err := errors.Join(x.checkTasks(j, tasks[j.Number]), x.checkBody(j), x.checkFetched(j), x.checkUpload(j, len(tasks[j.Number])), x.checkParts(j)); err != nil {
			x.t.Errorf("job %d, a %s of %d bytes: %v", j.Number, j.Kind, j.Size, err)
			bad[j.Number] = true
		}
	}
	x.checkLeft()
	x.checkEvents(stored, tasks)
	for n := range bad {
		for _, st := range tasks[n] {
			x.t.Logf("job %d: %+v", n, st)
			for _, l := range stored {
				if l.Task == uint64(st.Identifier) {
					x.t.Log(l.raw)
				}
			}
		}
		for _, r := range x.server(x.plan.Jobs[n]).RequestsTo(x.plan.Jobs[n].path()) {
			x.t.Logf("request %s %s %q: status %d, %d bytes sent, %d received (%v)", r.Method, r.Path, r.Range(), r.Status, r.Sent, r.BodySize, r.BodyError)
		}
	}
	x.k.terminate()
}

// checkTasks looks at the tasks of a job. There is one, and it has succeeded. Where the app was killed between its question and
// the answer there may be a second one, which the app that follows made; of two downloads to one file the other one fails.
func (x *torture) checkTasks(j job, tasks []urlsession.Status) error {
	succeeded := 0
	for _, st := range tasks {
		switch {
		case st.State != urlsession.StateCompleted:
			return fmt.Errorf("task %d is %s, waiting for %+v", st.Identifier, st.State, st.Waiting)
		case st.Kind != j.Kind:
			return fmt.Errorf("task %d is a %s", st.Identifier, st.Kind)
		case st.Err == nil:
			succeeded++
		case len(tasks) > 1 && j.Apart && errors.Is(st.Err, urlsession.ErrBadServerResponse): // the other has completed it
		case len(tasks) == 1 || !errors.Is(st.Err, urlsession.ErrDestinationExists) && !errors.Is(st.Err, urlsession.ErrCannotOpenFile):
			return fmt.Errorf("task %d: %w", st.Identifier, st.Err)
		}
	}
	if succeeded == 0 || len(tasks) > 1+x.kills/3 {
		return fmt.Errorf("%d tasks, %d succeeded", len(tasks), succeeded)
	}
	return nil
}

// checkBody compares what has arrived: the file, or at the origin the upload. What data tasks brought the app has compared.
func (x *torture) checkBody(j job) error {
	switch j.Kind {
	case urlsession.KindDownload:
		return j.body().CheckFile(x.plan.destination(j))
	case urlsession.KindUpload:
		if j.Resumes > 0 || j.Apart {
			return nil // checkUpload's and checkParts's
		}
		want := j.body().SHA256()
		for _, r := range x.origin.RequestsTo(j.path()) {
			if r.BodyError == nil && r.BodySize == j.Size && r.BodySHA256 == want && r.Status/100 == 2 {
				return nil
			}
		}
		return errors.New("its body has never arrived whole")
	}
	return nil
}

// checkLeft says whether something is left that is no file of the plan.
func (x *torture) checkLeft() {
	names, err := filepath.Glob(filepath.Join(x.plan.Folder, "*"))
	if err != nil {
		x.t.Fatal(err)
	}
	for _, j := range x.plan.Jobs {
		for _, path := range []string{x.plan.destination(j), x.plan.source(j)} {
			if i := slices.Index(names, path); i >= 0 {
				names = slices.Delete(names, i, i+1)
			}
		}
	}
	spooled, err := filepath.Glob(filepath.Join(x.k.state, "sessions", "*", "spool", "*")) // bodies of uploads from bytes
	if err != nil {
		x.t.Fatal(err)
	}
	if names = append(names, spooled...); len(names) > 0 {
		x.t.Errorf("left over: %q", names)
	}
}

// checkEvents compares what the apps' loops have dealt with, one after the other, with what is stored: all of it has arrived, in
// order and without a gap, and each task has ended once, by its last event.
func (x *torture) checkEvents(stored []line, tasks map[int][]urlsession.Status) {
	runs, err := readLog(x.plan.Log)
	if err != nil {
		x.t.Fatal(err)
	}
	seen := make(map[uint64]string)
	last := uint64(0)
	for n, run := range runs {
		for i, l := range run {
			switch {
			case l.Name == "gap":
				x.t.Errorf("loop %d was told of a gap: %s", n+1, l.raw)
			case i == 0 && (l.Sequence > last+1 || l.Sequence == 0):
				x.t.Errorf("loop %d began with event %d, and the one before had dealt with %d", n+1, l.Sequence, last)
			case i > 0 && l.Sequence != run[i-1].Sequence+1:
				x.t.Errorf("loop %d was told of event %d after %d", n+1, l.Sequence, run[i-1].Sequence)
			case seen[l.Sequence] != "" && seen[l.Sequence] != l.raw:
				x.t.Errorf("event %d has changed:\n%s\n%s", l.Sequence, seen[l.Sequence], l.raw)
			}
			seen[l.Sequence] = l.raw
			last = max(last, l.Sequence)
		}
	}
	for i, l := range stored {
		if l.Sequence != uint64(i+1) {
			x.t.Fatalf("event %d is stored at place %d", l.Sequence, i+1)
		}
		if seen[l.Sequence] != l.raw {
			x.t.Errorf("the apps were told: %s\nand stored is: %s", seen[l.Sequence], l.raw)
		}
	}
	if last != uint64(len(stored)) {
		x.t.Errorf("the apps were told of %d events, and %d are stored", last, len(stored))
	}
	ends, newest := make(map[uint64]int), make(map[uint64]string)
	for _, l := range stored {
		newest[l.Task] = l.Name
		if l.Name == "sessioncompleted" {
			ends[l.Task]++
		}
	}
	for _, list := range tasks {
		for _, st := range list {
			if id := uint64(st.Identifier); ends[id] != 1 || newest[id] != "sessioncompleted" {
				x.t.Errorf("task %d ended %d times, and its last event is %s", id, ends[id], newest[id])
			}
		}
	}
}
