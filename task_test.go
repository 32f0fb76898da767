package urlsession

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestEventsOfATaskComeInOrder(t *testing.T) { eachKind(t, nil, eventsOfATaskComeInOrder) }

func eventsOfATaskComeInOrder(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	body := urlsessiontest.Body{Seed: 4, Size: 2 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: body})
	srv.Script("/r", urlsessiontest.Redirect(302, "/f"))
	task, err := s.DownloadTask(t.Context(), Get(srv.URL+"/r"), t.TempDir()+"/f")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a late listener misses nothing
		var names []string
		var last int64
		for ev, err := range task.Events(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if n := ev.Name(); len(names) == 0 || names[len(names)-1] != n {
				names = append(names, n)
			}
			if ev.Task() != task.Identifier() && ev.Name() != "sessioneventscompleted" || ev.Time().IsZero() {
				t.Errorf("%s: task %d at %v", ev.Name(), ev.Task(), ev.Time())
			}
			switch ev := ev.(type) {
			case DownloadProgress:
				last = ev.TotalBytesWritten
				if ev.TotalBytesExpected != body.Size && ev.TotalBytesExpected != -1 {
					t.Errorf("%+v", ev)
				}
			case DownloadCompleted:
				if err := body.CheckFile(ev.Path); err != nil {
					t.Error(err)
				}
				if last != body.Size {
					t.Errorf("%d bytes were told before the end", last)
				}
			case Completed:
				if ev.Err != nil || ev.StatusCode != 200 {
					t.Errorf("%+v", ev)
				}
			}
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == "sessioneventscompleted" || n == "downloadprogress" })
		want := []string{"redirected", "responsereceived", "metrics", "downloadcompleted", "sessioncompleted"}
		if !slices.Equal(names, want) {
			t.Errorf("%q, want %q", names, want)
		}
	}
	if _, err := task.Body(t.Context()); err == nil || !strings.Contains(err.Error(), "Response.Path") {
		t.Errorf("the body of a download: %v", err)
	}
}

func TestStatusOfATask(t *testing.T) { eachKind(t, nil, statusOfATask) }

func statusOfATask(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	body := urlsessiontest.Body{Seed: 5, Size: 1 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: body})
	gate := urlsessiontest.NewGate()
	srv.Script("/f", urlsessiontest.HoldAt(urlsessiontest.AtBody(1<<19), gate))
	r := Get(srv.URL + "/f?q=1")
	r.Description, r.Metadata, r.Suspended = "film", map[string]string{"id": "7"}, true
	task, err := s.DownloadTask(t.Context(), r, t.TempDir()+"/f")
	if err != nil {
		t.Fatal(err)
	}
	r.Metadata["id"] = "8"
	st := status(t, task)
	if st.Kind != KindDownload || st.State != StateSuspended || st.Description != "film" || st.Metadata["id"] != "7" ||
		st.Priority != PriorityDefault || st.OriginalURL != r.URL || st.Progress != -1 || st.ETA != -1 || st.Response != nil ||
		st.BytesExpectedToReceive != -1 || st.Attempt != 0 || st.Created.IsZero() || !st.Ended.IsZero() {
		t.Errorf("suspended: %+v", st)
	}
	if err := task.SetPriority(t.Context(), PriorityHigh); err != nil {
		t.Error(err)
	}
	if err := task.SetPriority(t.Context(), 0); err == nil {
		t.Error("priority 0 passes")
	}
	if err := task.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	for ev, err := range task.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := ev.(DownloadProgress); ok && p.TotalBytesWritten >= 1<<18 {
			break
		}
	}
	st = status(t, task)
	if st.State != StateRunning || st.Progress != float64(st.BytesReceived)/(1<<20) || st.Progress > .5 || st.BytesReceived < 1<<18 || st.BytesExpectedToReceive != 1<<20 ||
		st.Response == nil || st.Response.StatusCode != 200 || st.Attempt != 1 || st.Priority != PriorityHigh {
		t.Errorf("on the way: %+v", st)
	}
	gate.Open()
	if _, err := task.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	st = status(t, task)
	if st.State != StateCompleted || st.Progress != 1 || st.ETA != 0 || st.Err != nil || st.Ended.IsZero() || st.Path == "" || st.Response.Path != st.Path {
		t.Errorf("ended: %+v", st)
	}
}

func status(t *testing.T, task *Task) Status {
	t.Helper()
	st, err := task.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestBodyOfATaskCanBeHadAgain(t *testing.T) { eachKind(t, nil, bodyOfATaskCanBeHadAgain) }

func bodyOfATaskCanBeHadAgain(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello"), ContentType: "text/plain"})
	task, err := s.DataTask(t.Context(), Get(srv.URL+"/f"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := task.Body(t.Context()); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
	}
	for ev := range task.Events(t.Context()) {
		if c, ok := ev.(Completed); ok && c.ResponseText != "hello" {
			t.Errorf("%+v", c)
		}
	}
	_, err = task.ResumeData(t.Context())
	wantCode(t, err, ErrResourceUnavailable)

	if s.config.kind == kindBackground {
		return // it waits for connectivity
	}
	if task, err = s.DataTask(t.Context(), Get("http://127.0.0.1:1/")); err != nil {
		t.Fatal(err)
	}
	_, err = task.Body(t.Context())
	wantCode(t, err, ErrCannotConnect)
	_, err = task.Wait(t.Context())
	wantCode(t, err, ErrCannotConnect)
	wantCode(t, status(t, task).Err, ErrCannotConnect)
}

func TestStreamedData(t *testing.T) {
	s, srv := start(t, nil)
	body := urlsessiontest.Body{Seed: 6, Size: 3 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: body})
	r := Get(srv.URL + "/f")
	r.Stream = true
	task, err := s.DataTask(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	checked := make(chan error, 1)
	go func() { checked <- body.Check(read) }()
	for ev, err := range task.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := ev.(DataReceived); ok {
			write.Write(d.Data)
		}
	}
	write.Close()
	if err := <-checked; err != nil {
		t.Error(err)
	}
	if _, err := task.Body(t.Context()); err == nil || !strings.Contains(err.Error(), "DataReceived") {
		t.Errorf("the body of a stream: %v", err)
	}
}

func TestResumeDataGoesOn(t *testing.T) { eachKind(t, nil, resumeDataGoesOn) }

func resumeDataGoesOn(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	body := urlsessiontest.Body{Seed: 7, Size: 4 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
	srv.Script("/f", urlsessiontest.StallAt(urlsessiontest.AtBody(1<<20), urlsessiontest.Forever))
	path := filepath.Join(t.TempDir(), "f")
	task, err := s.DownloadTask(t.Context(), Get(srv.URL+"/f"), path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = task.ResumeData(t.Context())
	wantCode(t, err, ErrResourceUnavailable)
	for ev := range task.Events(t.Context()) {
		if p, ok := ev.(DownloadProgress); ok && p.TotalBytesWritten >= 1<<20 { // all that was sent
			break
		}
	}
	data, err := task.CancelForResumeData(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, status(t, task).Err, ErrCancelled)
	again, err := s.DownloadTaskWithResumeData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := again.Wait(t.Context()); err != nil || resp.Path != path {
		t.Fatalf("%+v, %v", resp, err)
	}
	if err := body.CheckFile(path); err != nil {
		t.Error(err)
	}
	if got := srv.Sent("/f"); got > body.Size+1<<18 {
		t.Errorf("%d bytes were sent for a file of %d: it did not go on", got, body.Size)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	third, err := s.DownloadTaskWithResumeData(t.Context(), data) // the part is gone now
	if err != nil {
		t.Fatal(err)
	}
	_, err = third.Wait(t.Context())
	wantCode(t, err, ErrResumeDataUnusable)
	for _, bad := range []string{"", "{}", "null", `{"version":9}`, string(data[:len(data)-1])} {
		_, err := s.DownloadTaskWithResumeData(t.Context(), []byte(bad))
		wantCode(t, err, ErrResumeDataUnusable)
	}
}

func TestTasksAreListedAndFoundByNumber(t *testing.T) {
	eachKind(t, nil, tasksAreListedAndFoundByNumber)
}

func tasksAreListedAndFoundByNumber(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	var made []*Task
	for range 3 {
		task, err := s.DataTask(t.Context(), Request{URL: srv.URL + "/f", Suspended: true})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, task)
	}
	var listed []*Task
	for task, err := range s.Tasks(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, task)
	}
	if !slices.Equal(made, listed) {
		t.Errorf("%v were made, %v listed", made, listed)
	}
	if task, err := s.Task(t.Context(), made[1].Identifier()); err != nil || task != made[1] {
		t.Errorf("%v, %v", task, err)
	}
	_, err := s.Task(t.Context(), 99)
	wantCode(t, err, ErrResourceUnavailable)
	if !strings.Contains(err.Error(), "99") {
		t.Errorf("%v does not name the number", err)
	}
	if made[0].Identifier() != 1 || made[2].Identifier() != 3 {
		t.Errorf("numbers %d to %d", made[0].Identifier(), made[2].Identifier())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = made[0].Wait(ctx)
	wantCode(t, err, ErrCancelled)
	if st := status(t, made[0]); st.State != StateSuspended {
		t.Errorf("the context of Wait has changed the task: %s", st.State)
	}
}
