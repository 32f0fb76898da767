package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/control/server"
	"github.com/urlsession/urlsession/internal/task"
)

// raw asks without a client.
func (d *daemon) raw(method, path, mediaType, body string, change ...func(*http.Request)) (status int, answer string) {
	d.t.Helper()
	req, err := http.NewRequest(method, "http://urlsession"+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	for _, f := range change {
		f(req)
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.socket)
	}}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func count(t *testing.T, svc control.Service) (n int) {
	t.Helper()
	for _, err := range svc.Tasks(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// upload is a spec whose body comes beside it.
func upload(size int64) task.Spec {
	return get("echo", func(s *task.Spec) {
		s.Kind, s.Request.Method, s.Request.Body = task.Upload, "PUT", &task.Body{Size: size}
	})
}

// TestCreatedOnce loses the answer to a creation: by a connection that breaks, and by a daemon that dies and remembers
// nothing but its tasks.
func TestCreatedOnce(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			d, _ := serve(t, newNetwork().run)
			l := new(loser)
			c := l.client(d)
			if restart {
				l.then = func() {
					d.kill()
					d.start()
				}
			}
			create(t, c, get("ok"))
			for i := range 3 {
				l.armed.Store(1)
				if id := create(t, c, get("ok")); id != task.ID(i+2) {
					t.Errorf("task %d", id)
				}
			}
			l.armed.Store(1)
			specs := make([]task.Spec, 12)
			for i := range specs {
				specs[i] = get("ok", func(s *task.Spec) { s.Description = fmt.Sprint(i) })
			}
			ids, err := c.CreateBatch(t.Context(), specs)
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				if rec, err := c.Task(t.Context(), id); err != nil || rec.Spec.Description != fmt.Sprint(i) {
					t.Errorf("task %d of the batch is %q, %v", i, rec.Spec.Description, err)
				}
			}
			l.armed.Store(1)
			// A stream that cannot be rewound need not be: the task is found.
			id, err := c.Create(t.Context(), upload(-1), onlyReader{strings.NewReader("body")})
			if err != nil {
				t.Fatal(err)
			}
			if rec := end(t, c, id); rec.Failure != nil {
				t.Error(rec.Failure.Text())
			}
			if n := count(t, c); n != 17 {
				t.Errorf("%d tasks", n)
			}
		})
	}
}

type onlyReader struct{ io.Reader }

// TestDaemonDiesDuringAnUpload: what it had of the body is gone, and nothing was made; the body goes again, if it can.
func TestDaemonDiesDuringAnUpload(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	text := strings.Repeat("x", 1<<20)
	var once sync.Once
	// crash kills the daemon in the midst of the body.
	crash := func(r io.Reader) io.Reader {
		return readFunc(func(p []byte) (int, error) {
			n, err := r.Read(p[:min(len(p), 1000)])
			once.Do(func() { d.kill(); d.start() })
			return n, err
		})
	}
	_, err := c.Create(t.Context(), upload(-1), crash(strings.NewReader(text)))
	if code(t, err, task.BodyStreamExhausted); !strings.Contains(err.Error(), "no task was made") {
		t.Error(err)
	}
	once = sync.Once{}
	seeker := strings.NewReader(text)
	id, err := c.Create(t.Context(), upload(int64(len(text))), struct {
		io.Reader
		io.Seeker
	}{crash(seeker), seeker})
	if err != nil {
		t.Fatal(err)
	}
	if rec := end(t, c, id); rec.Counts.Sent != int64(len(text)) {
		t.Errorf("sent %d bytes", rec.Counts.Sent)
	}
	if n := count(t, c); n != 1 {
		t.Errorf("%d tasks", n)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// A creation ends with its context, though its body says nothing for ever, as a terminal does.
func TestBodyThatIsSilent(t *testing.T) {
	_, c := serve(t, newNetwork().run)
	silent, end := io.Pipe()
	defer end.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.Create(ctx, upload(-1), silent)
		ended <- err
	}()
	if _, err := end.Write([]byte("begun")); err != nil { // it is being read
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-ended:
		code(t, err, task.Cancelled)
	case <-time.After(time.Minute):
		t.Fatal("the creation goes on")
	}
	if n := count(t, c); n != 0 {
		t.Errorf("%d tasks were made", n)
	}
}

// TestBodyThatFails: the caller is told its own error, and there is no task.
func TestBodyThatFails(t *testing.T) {
	_, c := serve(t, newNetwork().run)
	own := errors.New("the disk was pulled out")
	_, err := c.Create(t.Context(), upload(-1), io.MultiReader(strings.NewReader("some"), readFunc(func([]byte) (int, error) { return 0, own })))
	if !errors.Is(err, own) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = c.Create(ctx, upload(-1), readFunc(func(p []byte) (int, error) { cancel(); return copy(p, "x"), nil }))
	code(t, err, task.Cancelled)
	_, err = c.Create(t.Context(), upload(100), strings.NewReader("short"))
	code(t, err, task.Unknown)
	_, err = c.Create(t.Context(), upload(3), strings.NewReader("long"))
	code(t, err, task.Unknown)
	if n := count(t, c); n != 0 {
		t.Errorf("%d tasks", n)
	}
}

// TestOneKeyAtOnce: requests of one key that are there at the same time make one task.
func TestOneKeyAtOnce(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	gate := make(chan struct{})
	d.session().beforeCreate = func() { <-gate }
	spec := `{"kind":"data","request":{"method":"GET","url":"http://example.com/ok"},"policy":{"requestTimeout":0,"resourceTimeout":0,"allowsExpensive":true,"allowsConstrained":true},"key":"K"}`
	answers := make(chan string)
	for range 5 {
		go func() {
			_, answer := d.raw("POST", "/v1/sessions/s/tasks", "application/json", spec)
			answers <- answer
		}()
	}
	go func() {
		_, answer := d.raw("GET", "/v1/sessions/s/created?key=K", "", "")
		answers <- answer
	}()
	close(gate)
	made := 0
	for range 6 {
		switch answer := strings.TrimSpace(<-answers); answer {
		case `{"taskIdentifier":1}`:
			made++
		case `{"taskIdentifiers":[1]}`, `{"taskIdentifiers":[]}`: // it came first
		default:
			t.Error(answer)
		}
	}
	if n := count(t, c); n != 1 || made != 5 {
		t.Errorf("%d tasks, and %d were told of it", n, made)
	}
}

func TestBatches(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	spec := get("ok", func(s *task.Spec) { s.Suspended = true })
	specs := make([]task.Spec, control.MaxBatch)
	for i := range specs {
		specs[i] = spec
	}
	ids, err := c.CreateBatch(t.Context(), specs)
	if err != nil || len(ids) != control.MaxBatch || ids[0] != 1 || ids[len(ids)-1] != control.MaxBatch {
		t.Fatalf("%d tasks, %v", len(ids), err)
	}
	if n := count(t, c); n != control.MaxBatch {
		t.Errorf("%d tasks are listed", n)
	}
	_, err = c.CreateBatch(t.Context(), append(specs, spec))
	code(t, err, task.Unknown)
	if ids, err := c.CreateBatch(t.Context(), nil); ids != nil || err != nil {
		t.Errorf("%v, %v", ids, err)
	}
	bad := []task.Spec{spec, spec}
	bad[1].Request.URL = "ftp://example.com/secret?x=y"
	_, err = c.CreateBatch(t.Context(), bad)
	if err == nil || !strings.Contains(err.Error(), "task 1 of the batch") || strings.Contains(err.Error(), "x=y") {
		t.Error(err)
	}
	_, err = c.CreateBatch(t.Context(), []task.Spec{upload(1)})
	if err == nil || !strings.Contains(err.Error(), "no file") {
		t.Error(err)
	}
	d.sessions.bare = true
	_, err = c.CreateBatch(t.Context(), specs[:1])
	if err == nil || !strings.Contains(err.Error(), "unsupported") {
		t.Error(err)
	}
}

func TestSessions(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	odd := d.client(func(o *control.ClientOptions) { o.Session = "a/b c?%2e\u00e4" })
	end(t, odd, create(t, odd, get("ok")))
	if err := odd.Acknowledge(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	info, err := odd.Info(t.Context())
	if err != nil || info.ID != "a/b c?%2e\u00e4" || info.Last != 2 || info.Acknowledged != 1 || info.State != control.SessionOpen {
		t.Errorf("%+v, %v", info, err)
	}
	list, err := c.Sessions(t.Context())
	if err != nil || len(list) != 2 || list[1].ID != "s" {
		t.Errorf("%+v, %v", list, err)
	}
	if st, err := c.Status(t.Context()); err != nil || st.PID != 7 || st.Sessions != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	none := control.NewClient(control.ClientOptions{Socket: d.socket, Session: "none"})
	defer none.Close()
	_, err = none.Task(t.Context(), 1)
	code(t, err, task.ResourceUnavailable)
	for _, err := range none.Events(t.Context(), task.EventQuery{}) {
		code(t, err, task.ResourceUnavailable)
	}
	for _, id := range []string{"", ".", "..", strings.Repeat("x", 256), "a\nb", "\xff"} {
		_, err := control.Dial(t.Context(), control.ClientOptions{Socket: d.socket, Session: id})
		code(t, err, task.Unknown)
	}
	_, err = control.Dial(t.Context(), control.ClientOptions{Socket: d.socket, Session: "s", Configuration: []byte("[]")})
	code(t, err, task.Unknown)
}

func TestLimitsOfRequests(t *testing.T) {
	d := newDaemon(t, newNetwork().run)
	d.options = server.Options{MaxBody: 1000}
	d.start()
	c := d.client()
	_, err := c.Create(t.Context(), upload(-1), bytes.NewReader(make([]byte, 1<<20)))
	code(t, err, task.DataTooLarge)
	_, err = c.Create(t.Context(), get("ok", func(s *task.Spec) { s.Description = strings.Repeat("x", control.MaxSpec) }), nil)
	code(t, err, task.Unknown)
	_, err = c.Create(t.Context(), get("ok", func(s *task.Spec) { s.Stream = true }), nil)
	code(t, err, task.Unknown)
	const tasks, answers = "/v1/sessions/s/tasks", "/v1/sessions/s/tasks/1/answers"
	ok := `"kind":"data","request":{"method":"GET","url":"http://example.com/ok"},"policy":{}`
	for _, q := range []struct {
		name, method, path, mediaType, body string
		status                              int
		says                                string
	}{
		{"a spec without end", "POST", tasks, control.JSONMediaType, `{"kind":"` + strings.Repeat("x", control.MaxSpec+1), 413, "more than"},
		{"the same with a body", "POST", tasks, control.TaskMediaType, strings.Repeat("x", control.MaxSpec+1), 413, "more than"},
		{"a line without end", "POST", tasks, control.TaskMediaType, `{}`, 400, "cut short"},
		{"a batch without end", "POST", "/v1/sessions/s/batches", control.JSONMediaType, `{"tasks":[` + strings.Repeat(" ", 65<<20), 413, "more than"},
		{"an empty batch", "POST", "/v1/sessions/s/batches", control.JSONMediaType, `{"tasks":[]}`, 400, "0 tasks"},
		{"a field of a later version", "POST", tasks, control.JSONMediaType, `{` + ok + `,"later":1}`, 400, "later"},
		{"two values", "POST", tasks, control.JSONMediaType, `{` + ok + `}{}`, 400, "follows"},
		{"another media type", "POST", tasks, "text/plain", `{` + ok + `}`, 415, "media type"},
		{"a body that is not announced", "POST", tasks, control.TaskMediaType, `{` + ok + "}\nbody", 400, "followed by the body"},
		{"a body that does not come", "POST", tasks, control.JSONMediaType, `{"kind":"data","request":{"method":"PUT","url":"http://h/","body":{"size":1}},"policy":{}}`, 400, "followed by the body"},
		{"what a server holds, of bytes", "POST", tasks, control.JSONMediaType, `{"kind":"upload","request":{"method":"PUT","url":"http://h/","body":{"path":"/f","size":1}},"policy":{},"upload":{"resume":{"protocol":"ietf","version":8,"url":"http://h/u","offset":0}}}`, 400, "a file that is known"},
		{"what a server cannot hold", "POST", tasks, control.JSONMediaType, `{"kind":"upload","request":{"method":"PUT","url":"http://h/","body":{"path":"/f","size":1,"source":{"size":1}}},"policy":{},"upload":{"resume":{"protocol":"ietf","version":8,"url":"http://h/u","offset":2}}}`, 400, "has 2 bytes"},
		{"an upload's resume data of a download", "POST", tasks, control.JSONMediaType, `{"kind":"download","request":{"method":"GET","url":"http://h/"},"policy":{},"download":{"destination":"f","resume":{"version":1,"url":"http://h/","upload":{}}}}`, 400, "does not go on from an upload"},
		{"a copy of its own", "POST", tasks, control.JSONMediaType, `{"kind":"upload","request":{"method":"PUT","url":"http://h/","body":{"path":"/home/u/f","size":1,"spooled":true}},"policy":{}}`, 400, "another task's"},
		{"a relative path", "POST", tasks, control.JSONMediaType, `{"kind":"download","request":{"method":"GET","url":"http://h/"},"policy":{},"download":{"path":"f"}}`, 400, "not absolute"},
		{"a scheme", "POST", tasks, control.JSONMediaType, `{"kind":"data","request":{"method":"GET","url":"file:///etc/passwd"},"policy":{}}`, 400, "-1000"},
		{"no such resource", "GET", "/v2", "", "", 404, "openapi"},
		{"no such method", "DELETE", tasks, "", "", 404, "openapi"},
		{"a page too long", "GET", tasks + "?limit=100000", "", "", 422, "limit"},
		{"an unknown parameter", "GET", tasks + "?befor=1", "", "", 422, "befor"},
		{"no number", "GET", tasks + "/x", "", "", 422, "path.task"},
		{"no number of a body", "GET", tasks + "/0/body", "", "", 400, "no task's number"},
		{"a cursor", "GET", "/v1/sessions/s/events?after=-1", "", "", 400, "no number"},
		{"a flag", "GET", "/v1/sessions/s/events?own=maybe", "", "", 400, "neither"},
		{"an owner of a task", "GET", "/v1/sessions/s/events?own=1&task=1", "", "", 400, "whole session"},
		{"priority", "PUT", tasks + "/1/priority", control.JSONMediaType, `{"priority":7}`, 400, "above 0"},
		{"not JSON", "PUT", tasks + "/1/priority", control.JSONMediaType, `{"priority"`, 400, "errorCode"},
		{"a secret where a number belongs", "PUT", tasks + "/1/priority", control.JSONMediaType, `{"priority":"hunter2"}`, 422, "number"},
		{"a disposition", "POST", answers, control.JSONMediaType, `{"ticket":"1-1","decision":{"answer":{"disposition":"maybe"}}}`, 400, "maybe"},
		{"nothing to use", "POST", answers, control.JSONMediaType, `{"ticket":"1-1","decision":{"answer":{"disposition":"use"}}}`, 400, "with a credential"},
		{"an empty credential", "POST", answers, control.JSONMediaType, `{"ticket":"1-1","decision":{"answer":{"disposition":"use","credential":{}}}}`, 400, "with a credential"},
		{"a credential that is not used", "POST", answers, control.JSONMediaType, `{"ticket":"1-1","decision":{"answer":{"disposition":"cancel","credential":{"password":"hunter2"}}}}`, 400, "alone"},
		{"a credential of two kinds", "POST", answers, control.JSONMediaType, `{"ticket":"1-1","decision":{"answer":{"disposition":"use","credential":{"token":"hunter2","password":"hunter2"}}}}`, 400, "both"},
		{"a persistence", "POST", answers, control.JSONMediaType, `{"ticket":"1-1","decision":{"answer":{"disposition":"use","credential":{"user":"u","password":"hunter2","persistence":"ever"}}}}`, 400, "ever"},
		{"a long credential", "POST", answers, control.JSONMediaType, `{"ticket":"1-1","decision":{"answer":{"disposition":"use","credential":{"token":"` + strings.Repeat("hunter2", 10_000) + `"}}}}`, 400, "65536 bytes"},
		{"a secret where none belongs", "POST", answers, control.JSONMediaType, `{"ticket":"1-1","decision":{"answer":{"disposition":"use","credential":"hunter2"}}}`, 422, "object"},
	} {
		status, answer := d.raw(q.method, q.path, q.mediaType, q.body)
		if status != q.status || !strings.Contains(answer, q.says) || !strings.Contains(answer, `"errorCode":-`) || strings.Contains(answer, "hunter2") {
			t.Errorf("%s: %d %s", q.name, status, answer)
		}
	}
	if n := count(t, c); n != 0 {
		t.Errorf("%d tasks", n)
	}
}

// TestSlowSpec: a spec that does not come is given up; a body that takes its time is not.
func TestSlowSpec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, newNetwork().run)
		p := newPipes()
		s := server.NewHTTPServer(context.Background(), server.New(d.sessions, server.Options{}))
		served := make(chan error)
		go func() { served <- s.Serve(p) }()
		c := d.client(func(o *control.ClientOptions) { o.DialContext = p.dial })

		conn, err := p.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go io.WriteString(conn, "POST /v1/sessions/s/tasks HTTP/1.1\r\nHost: urlsession\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{")
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if took := time.Since(began); err != nil || !strings.Contains(answer, "400") || took != 30*time.Second {
			t.Errorf("%q, %v, after %v", answer, err, took)
		}
		conn.Close()

		slow := 0
		id, err := c.Create(t.Context(), upload(-1), readFunc(func(p []byte) (int, error) {
			if slow++; slow == 5 {
				return 0, io.EOF
			}
			time.Sleep(time.Minute)
			return copy(p, "x"), nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		if rec := end(t, c, id); rec.Counts.Sent != 4 {
			t.Errorf("sent %d bytes", rec.Counts.Sent)
		}
		c.Close()
		s.Close()
		<-served
		for _, s := range d.sessions.all {
			s.Close()
		}
		time.Sleep(time.Minute)
	})
}
