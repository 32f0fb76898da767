package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
)

type behaviour struct {
	name string
	test func(t *testing.T, svc control.Service, n *network)
}

// behaviours are what a caller of a Service may rely on, whoever it is. Each is run against an engine, and against the
// same engine through client, socket and server: drift between the two fails here.
var behaviours = []behaviour{
	{"numbers ascend from 1", func(t *testing.T, svc control.Service, _ *network) {
		for want := task.ID(1); want <= 3; want++ {
			if id := create(t, svc, get("ok")); id != want {
				t.Fatalf("task %d, want %d", id, want)
			}
		}
	}},
	{"a record says what was asked and what came", func(t *testing.T, svc control.Service, _ *network) {
		spec := get("ok", func(s *task.Spec) {
			s.Description, s.Metadata, s.Priority = "d", map[string]string{"k": "v"}, task.PriorityHigh
			s.Request.Header = http.Header{"Authorization": {"Bearer x"}, "X-Many": {"a", "b"}}
			s.EarliestBegin = time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
			s.Policy.Retries, s.Policy.RetryUnsafe, s.Policy.RequestTimeout = 3, true, time.Minute
			s.Limit = 100
		})
		rec := end(t, svc, create(t, svc, spec))
		rec.Spec.Key = ""
		if !reflect.DeepEqual(rec.Spec, spec) {
			t.Errorf("spec\n%+v\nwant\n%+v", rec.Spec, spec)
		}
		if rec.Failure != nil || rec.Response == nil || rec.Response.Status != 200 || rec.Response.Header.Get("Set-Cookie") != "k=v" {
			t.Errorf("record %+v", rec)
		}
		if rec.Ended.Before(rec.Created) || rec.Created.IsZero() || rec.Attempt != 1 {
			t.Errorf("created %v, ended %v, attempt %d", rec.Created, rec.Ended, rec.Attempt)
		}
	}},
	{"an unknown task", func(t *testing.T, svc control.Service, _ *network) {
		_, err := svc.Task(t.Context(), 7)
		code(t, err, task.ResourceUnavailable)
		if !strings.Contains(err.Error(), "look up task") || !strings.Contains(err.Error(), "no such task") {
			t.Errorf("%v", err)
		}
		for name, err := range map[string]error{
			"suspend": svc.Suspend(t.Context(), 7), "resume": svc.Resume(t.Context(), 7), "cancel": svc.Cancel(t.Context(), 7),
			"cancel for resume data": svc.CancelForResumeData(t.Context(), 7),
			"priority":               svc.SetPriority(t.Context(), 7, task.PriorityHigh), "rate limit": svc.SetRateLimit(t.Context(), 7, 1), "answer": svc.Answer(t.Context(), 7, "1-1", task.Decision{}),
		} {
			if code(t, err, task.ResourceUnavailable); t.Failed() {
				t.Fatal(name)
			}
		}
		_, err = svc.Body(t.Context(), 7)
		code(t, err, task.ResourceUnavailable)
		for _, err := range svc.Events(t.Context(), task.EventQuery{Task: 7}) {
			code(t, err, task.ResourceUnavailable)
		}
	}},
	{"tasks come by their numbers, and the loop can be left", func(t *testing.T, svc control.Service, _ *network) {
		for range 600 {
			create(t, svc, get("hang", func(s *task.Spec) { s.Suspended = true }))
		}
		var ids []task.ID
		for rec, err := range svc.Tasks(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, rec.ID)
		}
		if len(ids) != 600 || !slices.IsSorted(ids) {
			t.Errorf("%d tasks, sorted: %v", len(ids), slices.IsSorted(ids))
		}
		n := 0
		for range svc.Tasks(t.Context()) {
			if n++; n == 300 {
				break
			}
		}
	}},
	{"suspend and resume nest", func(t *testing.T, svc control.Service, _ *network) {
		id := create(t, svc, get("ok", func(s *task.Spec) { s.Suspended = true }))
		if err := svc.Suspend(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for _, want := range []task.State{task.Suspended, task.Suspended} {
			rec, err := svc.Task(t.Context(), id)
			if err != nil || rec.State != want {
				t.Fatalf("%s, %v", rec.State, err)
			}
			if err := svc.Resume(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		end(t, svc, id)
		for _, err := range []error{svc.Suspend(t.Context(), id), svc.Resume(t.Context(), id), svc.Cancel(t.Context(), id)} {
			if err != nil {
				t.Errorf("of a task that has ended: %v", err)
			}
		}
	}},
	{"wait for the end", func(t *testing.T, svc control.Service, _ *network) {
		_, err := svc.Wait(t.Context(), 7)
		code(t, err, task.ResourceUnavailable)
		id := create(t, svc, get("ok", func(s *task.Spec) { s.Suspended = true }))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := svc.Wait(ctx, id); !errors.Is(err, context.Canceled) {
			t.Errorf("its context had ended: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		wait := func() {
			if rec, err := svc.Wait(ctx, id); err != nil || rec.State != task.Completed || rec.Response == nil {
				t.Errorf("record %+v, %v", rec, err)
			}
		}
		var waiting sync.WaitGroup
		waiting.Go(wait)
		if err := svc.Resume(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		waiting.Wait()
		wait() // it has ended
	}},
	{"cancel", func(t *testing.T, svc control.Service, _ *network) {
		id := create(t, svc, get("hang"))
		if err := svc.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		code(t, end(t, svc, id).Failure.Err(), task.Cancelled)
	}},
	{"cancel for resume data, of an upload that goes on from another's", func(t *testing.T, svc control.Service, _ *network) {
		held := task.UploadState{Protocol: task.ResumableIETF, Version: 8, URL: "http://example.com/uploads/1", Offset: 4}
		spec := get("hang", func(s *task.Spec) {
			s.Kind, s.Request.Method = task.Upload, "POST"
			s.Request.Body = &task.Body{Path: "/f", Size: 10, Source: &task.Source{Size: 10, Inode: 1}}
			s.Upload = &task.UploadSpec{Resumable: task.ResumableIETF, Resume: &held}
		})
		for _, drops := range []bool{false, true} {
			id := create(t, svc, spec)
			if rec, err := svc.Task(t.Context(), id); err != nil || rec.Spec.Upload.Resume != nil || rec.Upload != nil || rec.ResumeData == nil || rec.Counts.Sent != 4 {
				t.Errorf("under way: %+v, %v", rec, err)
			}
			cancel := svc.CancelForResumeData
			if drops {
				cancel = svc.Cancel
			}
			if err := cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			rec := end(t, svc, id)
			code(t, rec.Failure.Err(), task.Cancelled)
			for rec, err := range svc.Tasks(t.Context()) {
				if err != nil || rec.ResumeData != nil {
					t.Errorf("a list has %+v, %v", rec.ResumeData, err)
				}
			}
			switch d := rec.ResumeData; {
			case drops:
				if d != nil {
					t.Errorf("it was dropped, and left %s", d.Encode())
				}
			case d == nil || !reflect.DeepEqual(d.Upload.State, held) || d.Upload.Path != "/f":
				t.Errorf("it left %+v", d)
			}
			if err := svc.CancelForResumeData(t.Context(), id); err != nil {
				t.Errorf("of a task that has ended: %v", err)
			}
		}
	}},
	{"priority", func(t *testing.T, svc control.Service, _ *network) {
		id := create(t, svc, get("hang"))
		if err := svc.SetPriority(t.Context(), id, task.PriorityHigh); err != nil {
			t.Fatal(err)
		}
		if rec, err := svc.Task(t.Context(), id); err != nil || rec.Spec.Priority != task.PriorityHigh {
			t.Errorf("%v, %v", rec.Spec.Priority, err)
		}
	}},
	{"rate limits", func(t *testing.T, svc control.Service, n *network) {
		ids := []task.ID{create(t, svc, get("hang", func(s *task.Spec) { s.RateLimit = 5 })), create(t, svc, get("hang"))}
		wait(t, "two attempts", func() bool { return len(n.limits(ids...)) == 2 })
		for id, rate := range map[task.ID]int64{0: 100, ids[1]: 10} {
			if err := svc.SetRateLimit(t.Context(), id, rate); err != nil {
				t.Fatal(err)
			}
		}
		if got := n.limits(ids...); !slices.Equal(got, []string{"5 100", "10 100"}) { // of attempts under way
			t.Errorf("the limits are %v", got)
		}
		if rec, err := svc.Task(t.Context(), ids[1]); err != nil || rec.Spec.RateLimit != 10 {
			t.Errorf("%d, %v", rec.Spec.RateLimit, err)
		}
		for _, id := range []task.ID{0, ids[0]} {
			if err := svc.SetRateLimit(t.Context(), id, 0); err != nil {
				t.Fatal(err)
			}
			code(t, svc.SetRateLimit(t.Context(), id, -1), task.Unknown)
		}
		if got := n.limits(ids...); !slices.Equal(got, []string{"0 0", "10 0"}) {
			t.Errorf("the limits are %v", got)
		}
	}},
	{"a failure keeps its words", func(t *testing.T, svc control.Service, _ *network) {
		err := end(t, svc, create(t, svc, get("refused"))).Failure.Err()
		code(t, err, task.CannotConnect)
		if want := "connect http://example.com/refused: cannot connect to host (-1004): connection refused"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}},
	{"a task's events", func(t *testing.T, svc control.Service, _ *network) {
		id := create(t, svc, get("ok"))
		end(t, svc, id)
		for range 2 { // as often as one likes
			evs := collect(t, svc, task.EventQuery{Task: id})
			if got := names(evs); got != "responsereceived sessioncompleted" {
				t.Fatal(got)
			}
			for i, ev := range evs {
				if ev.Session != "s" || ev.Task != id || ev.Time.IsZero() || ev.Sequence != uint64(i+1) {
					t.Errorf("%+v", ev)
				}
			}
			done := evs[1].Detail.(task.SessionCompleted)
			if !done.Success || done.Status != 200 || done.Text != "body of ok" {
				t.Errorf("%+v", done)
			}
			r := evs[0].Detail.(task.ResponseReceived)
			if r.Header.Get("Set-Cookie") != task.Redacted || r.Header.Get("X-A") != "b" || r.Expected != 10 {
				t.Errorf("%+v", r)
			}
		}
		after := uint64(1)
		if got := names(collect(t, svc, task.EventQuery{Task: id, After: &after})); got != "sessioncompleted" {
			t.Error(got)
		}
		after = 2
		if got := names(collect(t, svc, task.EventQuery{Task: id, After: &after})); got != "" && got != "sessioneventscompleted" {
			t.Error(got)
		}
	}},
	{"a session's events: missed, completed, then as they come, to the last", func(t *testing.T, svc control.Service, _ *network) {
		end(t, svc, create(t, svc, get("ok")))
		var evs []task.Event
		for ev, err := range svc.Events(t.Context(), task.EventQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			evs = append(evs, ev)
			switch d := ev.Detail.(type) {
			case task.EventsCompleted:
				create(t, svc, get("refused"))
			case task.SessionCompleted:
				if !d.Success {
					if err := svc.Finish(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if got := names(evs); got != "responsereceived sessioncompleted sessioneventscompleted sessioncompleted invalidated" {
			t.Error(got)
		}
		sequences(t, evs)
		for range 2 {
			after := uint64(4) // the last
			if got := names(collect(t, svc, task.EventQuery{After: &after})); got != "sessioneventscompleted" {
				t.Error(got)
			}
		}
	}},
	{"retries are told", func(t *testing.T, svc control.Service, _ *network) {
		id := create(t, svc, get("refused", func(s *task.Spec) { s.Policy.Retries = 1 }))
		evs := collect(t, svc, task.EventQuery{Task: id}, is("willretry"))
		d := evs[len(evs)-1].Detail.(task.WillRetry)
		if d.Attempt != 1 || d.Code != task.CannotConnect || d.At.IsZero() {
			t.Errorf("%+v", d)
		}
	}},
	{"one owner", func(t *testing.T, svc control.Service, _ *network) {
		for range 2 { // the second time after the first has left
			for _, err := range svc.Events(t.Context(), task.EventQuery{Own: true}) {
				if err != nil {
					t.Fatal(err)
				}
				for _, err := range svc.Events(t.Context(), task.EventQuery{Own: true}) {
					code(t, err, task.SessionInUse)
				}
				collect(t, svc, task.EventQuery{}, is("sessioneventscompleted")) // to look on is free
				break
			}
		}
	}},
	{"the cursor", func(t *testing.T, svc control.Service, _ *network) {
		end(t, svc, create(t, svc, get("ok")))
		end(t, svc, create(t, svc, get("ok")))
		for ev, err := range svc.Events(t.Context(), task.EventQuery{Own: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if err := svc.Acknowledge(t.Context(), ev.Sequence); err != nil {
				t.Fatal(err)
			}
			if ev.Sequence == 3 {
				break
			}
		}
		first := func(q task.EventQuery) uint64 {
			return collect(t, svc, q, func(task.Event) bool { return true })[0].Sequence
		}
		if got := first(task.EventQuery{Own: true}); got != 4 {
			t.Errorf("begins at %d", got)
		}
		if got := first(task.EventQuery{}); got != 4 {
			t.Errorf("a listener begins at %d", got)
		}
		if got := first(task.EventQuery{After: new(uint64)}); got != 1 {
			t.Errorf("one that names its start begins at %d", got)
		}
		if err := svc.Acknowledge(t.Context(), 1); err != nil { // it never goes back
			t.Fatal(err)
		}
		if err := svc.Acknowledge(t.Context(), 1000); err != nil { // nor further than there is
			t.Fatal(err)
		}
		end(t, svc, create(t, svc, get("ok")))
		if got := first(task.EventQuery{}); got != 5 {
			t.Errorf("begins at %d", got)
		}
	}},
	{"progress", func(t *testing.T, svc control.Service, n *network) {
		id := create(t, svc, get("move", download))
		close(n.gate("move"))
		for _, q := range []task.EventQuery{{}, {Task: id}, {After: new(uint64)}} {
			var moved, total int64
			ended := false
			for _, ev := range collect(t, svc, q, is("sessioncompleted")) {
				switch d := ev.Detail.(type) {
				case task.DownloadProgress:
					if ended || ev.Task != id || ev.Sequence != 0 || d.Expected != 100 || d.Total <= total {
						t.Errorf("%+v after %d, ended %v", d, total, ended)
					}
					moved, total = moved+d.Written, d.Total
				case task.DownloadCompleted:
					if ended = true; d.Path != "/tmp/file" {
						t.Errorf("%+v", d)
					}
				}
			}
			if moved != 100 || total != 100 || !ended {
				t.Errorf("%+v: moved %d of %d, ended %v", q, moved, total, ended)
			}
		}
		for _, ev := range collect(t, svc, task.EventQuery{Task: id, DurableOnly: true}) {
			if ev.Sequence == 0 && !is("sessioneventscompleted")(ev) {
				t.Errorf("live: %+v", ev)
			}
		}
	}},
	{"a late listener is told where a task that stands still is", func(t *testing.T, svc control.Service, n *network) {
		id := create(t, svc, get("move", download))
		for range 41 {
			n.gate("move") <- struct{}{}
		}
		for range 3 {
			for _, q := range []task.EventQuery{{}, {Task: id}} {
				evs := collect(t, svc, q, func(ev task.Event) bool {
					d, ok := ev.Detail.(task.DownloadProgress)
					return ok && d.Total == 42
				})
				var moved int64
				for _, ev := range evs {
					if d, ok := ev.Detail.(task.DownloadProgress); ok {
						moved += d.Written
					}
				}
				if moved != 42 {
					t.Errorf("told of %d bytes", moved)
				}
			}
		}
	}},
	{"bodies, there and back", func(t *testing.T, svc control.Service, _ *network) {
		text := strings.Repeat("0123456789", 100_000)
		spec := get("echo", func(s *task.Spec) {
			s.Kind, s.Request.Method, s.Request.Body = task.Upload, "POST", &task.Body{Size: int64(len(text))}
		})
		body := &closing{Reader: strings.NewReader(text)}
		id, err := svc.Create(t.Context(), spec, body)
		if err != nil {
			t.Fatal(err)
		}
		if rec := end(t, svc, id); rec.Counts.Sent != int64(len(text)) {
			t.Errorf("%+v", rec.Counts)
		}
		wait(t, "the body's Close", body.isClosed)
		r, err := svc.Body(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != text {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		r.Close()
		_, err = svc.Body(t.Context(), create(t, svc, get("hang")))
		code(t, err, task.ResourceUnavailable)
	}},
	{"an empty body", func(t *testing.T, svc control.Service, _ *network) {
		id, err := svc.Create(t.Context(), get("echo", func(s *task.Spec) {
			s.Kind, s.Request.Method, s.Request.Body = task.Upload, "PUT", &task.Body{Size: -1}
		}), strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		if rec := end(t, svc, id); rec.Failure != nil {
			t.Error(rec.Failure.Text())
		}
	}},
	{"tickets", func(t *testing.T, svc control.Service, _ *network) {
		for _, cancel := range []bool{false, true} {
			id := create(t, svc, get("ok", func(s *task.Spec) { s.Policy.Ask.Response = true }))
			for ev, err := range svc.Events(t.Context(), task.EventQuery{Task: id}) {
				if err != nil {
					t.Fatal(err)
				}
				r, ok := ev.Detail.(task.ResponseReceived)
				if !ok {
					continue
				}
				code(t, svc.Answer(t.Context(), id, "no such", task.Decision{}), task.ResourceUnavailable)
				if err := svc.Answer(t.Context(), id, r.Ticket, task.Decision{Cancel: cancel}); err != nil {
					t.Error(err)
				}
				code(t, svc.Answer(t.Context(), id, r.Ticket, task.Decision{}), task.ResourceUnavailable)
			}
			rec, err := svc.Task(t.Context(), id)
			if err != nil || (rec.Failure != nil) != cancel {
				t.Errorf("cancel %v: %+v, %v", cancel, rec.Failure, err)
			}
		}
	}},
	{"an invalidated session takes no tasks", func(t *testing.T, svc control.Service, _ *network) {
		id := create(t, svc, get("hang"))
		for range 2 {
			if err := svc.Invalidate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_, err := svc.Create(t.Context(), get("ok?secret=1"), nil)
		code(t, err, task.SessionInvalidated)
		if strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
		code(t, end(t, svc, id).Failure.Err(), task.Cancelled)
		if got := names(collect(t, svc, task.EventQuery{After: new(uint64)})); !strings.HasSuffix(got, "invalidated") {
			t.Error(got)
		}
	}},
	{"flush and reset", func(t *testing.T, svc control.Service, _ *network) {
		if err := svc.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if err := svc.Reset(t.Context()); err != nil {
			t.Error(err)
		}
	}},
	{"the end of ctx ends a loop, with its error", func(t *testing.T, svc control.Service, _ *network) {
		id := create(t, svc, get("hang"))
		for _, q := range []task.EventQuery{{}, {Task: id}, {Own: true}, {DurableOnly: true}} {
			ctx, cancel := context.WithCancel(t.Context())
			var last error
			for ev, err := range svc.Events(ctx, q) {
				if last = err; err == nil && is("sessioneventscompleted")(ev) {
					cancel()
				}
			}
			if cancel(); !errors.Is(last, context.Canceled) {
				t.Errorf("%+v: %v", q, last)
			}
		}
	}},
	{"events survive their form on the wire", func(t *testing.T, svc control.Service, _ *network) {
		end(t, svc, create(t, svc, get("ok")))
		end(t, svc, create(t, svc, get("refused")))
		for _, ev := range collect(t, svc, task.EventQuery{}, is("sessioneventscompleted")) {
			var back task.Event
			b, err := json.Marshal(ev)
			if err == nil {
				err = json.Unmarshal(b, &back)
			}
			if err != nil || back.Sequence != ev.Sequence || !back.Time.Equal(ev.Time) {
				t.Errorf("%s: %v", b, err)
			}
		}
	}},
}

func TestServices(t *testing.T) {
	for _, b := range slices.Concat(behaviours, asking, beyond) {
		t.Run(b.name, func(t *testing.T) {
			t.Run("engine", func(t *testing.T) {
				n := newNetwork()
				e := engine.New(engine.Options{Session: "s", Store: memstore.New("s"), Run: n.run})
				defer e.Close()
				b.test(t, e, n)
			})
			t.Run("client", func(t *testing.T) {
				n := newNetwork()
				_, c := serve(t, n.run)
				b.test(t, c, n)
			})
			t.Run("client of a bare service", func(t *testing.T) {
				n := newNetwork()
				d := newDaemon(t, n.run)
				d.sessions.bare = true
				d.start()
				b.test(t, d.client(), n)
			})
		})
	}
}
