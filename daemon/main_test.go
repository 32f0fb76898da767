package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// childEnv has this test binary be a daemon, in a process that a test kills, on the state folder that it names.
const childEnv = "DAEMON_TEST_STATE"

func TestMain(m *testing.M) {
	if state := os.Getenv(childEnv); state != "" {
		err := Run(context.Background(), Options{State: state, OwnsProcess: true, Ready: func() { os.Stdout.WriteString("ready\n") }})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait.
const patience = 60 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// running is a daemon in this process.
type running struct {
	t      *testing.T
	state  string
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	log    *lines
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a daemon, and returns when it serves. It is stopped at the test's end.
func start(t *testing.T, state string, change ...func(*Options)) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d := &running{t: t, state: state, cancel: cancel, done: make(chan struct{}), log: new(lines)}
	ready := make(chan struct{})
	o := Options{State: state, Version: "test", Ready: func() { close(ready) }, Logger: slog.New(slog.NewTextHandler(d.log, nil))}
	for _, f := range change {
		f(&o)
	}
	go func() {
		defer close(d.done)
		d.err = Run(ctx, o)
	}()
	t.Cleanup(func() {
		cancel()
		await(t, "the daemon's end", d.done)
		if t.Failed() {
			t.Logf("the log of %s:\n%s", state, d.log)
		}
	})
	select {
	case <-ready:
	case <-d.done:
		t.Fatalf("the daemon did not start: %v", d.err)
	case <-time.After(patience):
		t.Fatal("the daemon does not start")
	}
	return d
}

// stop ends the daemon in order.
func (d *running) stop() {
	d.t.Helper()
	d.cancel()
	await(d.t, "the daemon's end", d.done)
	if d.err != nil {
		d.t.Fatalf("the daemon ended with %v", d.err)
	}
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}

// until waits until f, or fails.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// child is a daemon in a process of its own.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
}

// startChild starts one, and returns when it serves. It is killed at the test's end, or with its patience.
func startChild(t *testing.T, state string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+state)
	out, in, err := os.Pipe()
	must(t, err)
	defer out.Close()
	cmd.Stdout = in
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	cmd.Stderr = log
	err = cmd.Start()
	in.Close()
	log.Close()
	must(t, err)
	c := &child{t, cmd}
	t.Cleanup(c.kill)
	must(t, out.SetReadDeadline(time.Now().Add(patience)))
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		why, _ := os.ReadFile(log.Name())
		t.Fatalf("the daemon's process did not start: %v\n%s", err, why)
	}
	return c
}

// kill is kill -9.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// dial opens a session.
func dial(t *testing.T, state, id string, change ...func(*control.Configuration)) *control.Client {
	t.Helper()
	c := client(t, state, id, change...)
	must(t, c.Open(within(t)))
	return c
}

func client(t *testing.T, state, id string, change ...func(*control.Configuration)) *control.Client {
	t.Helper()
	conf := control.Configuration{Chain: control.Chain{Cookies: true, SetCookies: true}}
	for _, f := range change {
		f(&conf)
	}
	b, err := json.Marshal(conf)
	must(t, err)
	c := control.NewClient(control.ClientOptions{Socket: control.Socket(state), Session: id, Configuration: b, Patience: 20 * time.Second})
	t.Cleanup(c.Close)
	return c
}

func origin(t *testing.T, opts ...urlsessiontest.Option) *urlsessiontest.Server {
	t.Helper()
	srv := urlsessiontest.NewServer(opts...)
	t.Cleanup(func() { srv.Close() })
	return srv
}

// policy is that of a background session.
var policy = task.Policy{RequestTimeout: time.Minute, ResourceTimeout: time.Hour, WaitsForConnectivity: true, WaitsForSpace: true,
	AllowsExpensive: true, AllowsConstrained: true, Retries: -1}

func data(url string) task.Spec {
	return task.Spec{Kind: task.Data, Request: task.Request{Method: "GET", URL: url}, Policy: policy}
}

func download(url, path string) task.Spec {
	return task.Spec{Kind: task.Download, Request: task.Request{Method: "GET", URL: url}, Policy: policy,
		Download: &task.DownloadSpec{Destination: path, Path: path}}
}

func create(t *testing.T, c control.Service, spec task.Spec) task.ID {
	t.Helper()
	id, err := c.Create(within(t), spec, nil)
	must(t, err)
	return id
}

// end waits for a task's end, and returns its record.
func end(t *testing.T, c control.Service, id task.ID) task.Record {
	t.Helper()
	ctx := within(t)
	for _, err := range c.Events(ctx, task.EventQuery{Task: id, DurableOnly: true}) {
		if err != nil {
			t.Fatalf("listen to task %d: %v", id, err)
		}
	}
	rec, err := c.Task(ctx, id)
	must(t, err)
	if rec.State != task.Completed {
		t.Fatalf("after its last event task %d is %s", id, rec.State)
	}
	return rec
}

// succeed is end of a task that succeeds.
func succeed(t *testing.T, c control.Service, id task.ID) task.Record {
	t.Helper()
	rec := end(t, c, id)
	if rec.Failure != nil {
		t.Fatalf("task %d failed: %v", id, rec.Failure.Err())
	}
	return rec
}

// acknowledgeAll moves the cursor to the newest event.
func acknowledgeAll(t *testing.T, c *control.Client) {
	t.Helper()
	info, err := c.Info(within(t))
	must(t, err)
	must(t, c.Acknowledge(within(t), info.Last))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func code(t *testing.T, err error, want task.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there was no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error %q does not say %q", err, w)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
