package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

func TestWebPagesAreRefused(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	for name, change := range map[string]func(*http.Request){
		"another host":   func(r *http.Request) { r.Host = "evil.example" },
		"localhost":      func(r *http.Request) { r.Host = "localhost" },
		"a page":         func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"a page of null": func(r *http.Request) { r.Header.Set("Origin", "null") },
		"an empty one":   func(r *http.Request) { r.Header["Origin"] = []string{""} },
		"a picture":      func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
	} {
		for _, path := range []string{"/v1/sessions", "/v1/sessions/s/events", "/openapi.json", "/"} {
			if status, answer := d.raw("GET", path, "", "", change); status != 403 || !strings.Contains(answer, "errorCode") {
				t.Errorf("%s at %s: %d %s", name, path, status, answer)
			}
		}
	}
}

func TestHeadTooLarge(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	status, _ := d.raw("GET", "/v1/sessions", "", "", func(r *http.Request) { r.Header.Set("X", strings.Repeat("x", 128<<10)) })
	if status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", status)
	}
}

// TestVersions: a client older or newer than the daemon is told so, by whoever of the two is there.
func TestVersions(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	status, answer := d.raw("GET", "/v1/sessions", "", "", func(r *http.Request) { r.Header.Set(control.VersionHeader, "2") })
	if status != 400 || !strings.Contains(answer, "-995") || !strings.Contains(answer, "version") {
		t.Errorf("%d %s", status, answer)
	}
	for _, version := range []string{"0", "2", ""} {
		c := against(t, func(w http.ResponseWriter, r *http.Request) {
			if version != "" {
				w.Header().Set(control.VersionHeader, version)
			}
			fmt.Fprint(w, `{}`)
		})
		_, err := c.Create(t.Context(), get("ok"), nil)
		if code(t, err, task.NoSharedContainer); version != "" && !strings.Contains(err.Error(), "stop the daemon") {
			t.Error(err)
		}
		for _, err := range c.Events(t.Context(), task.EventQuery{}) {
			code(t, err, task.NoSharedContainer)
		}
		// It can be stopped all the same, if it is a daemon.
		if err := c.Stop(t.Context()); (err == nil) != (version != "") {
			t.Errorf("stop one of version %q: %v", version, err)
		}
	}
}

// against is a client of some server that is not ours.
func against(t testing.TB, h http.HandlerFunc, options ...func(*control.ClientOptions)) *control.Client {
	socket := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	o := control.ClientOptions{Socket: socket, Session: "s", Patience: 1}
	for _, set := range options {
		set(&o)
	}
	c := control.NewClient(o)
	t.Cleanup(func() {
		c.Close()
		s.Close()
		<-done
	})
	return c
}

// TestGarbage: whatever answers, a call ends with an error that names a code.
func TestGarbage(t *testing.T) {
	for _, answer := range []struct {
		status int
		body   string
	}{
		{200, ""}, {200, "null garbage"}, {200, `{"tasks":[{"taskIdentifier":1}],"next":0}garbage`}, {200, `[]`},
		{500, ""}, {500, "<html>"}, {404, `{"errorCode":0}`}, {404, `{"errorCode":"x"}`}, {302, ""}, {101, ""},
	} {
		c := against(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(control.VersionHeader, "1")
			w.WriteHeader(answer.status)
			fmt.Fprint(w, answer.body)
		})
		_, err := c.Task(t.Context(), 1)
		if _, ok := errors.AsType[*task.Error](err); !ok {
			t.Errorf("%d %q: %v", answer.status, answer.body, err)
		}
		for _, err := range c.Tasks(t.Context()) {
			if _, ok := errors.AsType[*task.Error](err); !ok {
				t.Errorf("%d %q: %v", answer.status, answer.body, err)
			}
			break
		}
	}
	endless := against(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(control.VersionHeader, "1")
		fmt.Fprint(w, `{"tasks":[{"taskIdentifier":1}],"next":1}`) // a page that leads to itself
	})
	var last error
	for _, err := range endless.Tasks(t.Context()) {
		last = err
	}
	code(t, last, task.CannotParseResponse)
}

func TestDocument(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	status, answer := d.raw("GET", "/openapi.json", "", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(answer), &doc); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	operations := 0
	for _, methods := range doc.Paths {
		operations += len(methods)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || operations != 28 {
		t.Errorf("OpenAPI %s with %d operations", doc.OpenAPI, operations)
	}
	for _, path := range []string{"/v1/sessions/{session}/tasks", "/v1/sessions/{session}/events", "/v1/sessions/{session}/batches"} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not in it", path)
		}
	}
	for _, path := range []string{"/docs", "/schemas/Spec.json", "/openapi.yaml"} {
		if status, _ := d.raw("GET", path, "", ""); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// TestShutdown ends the streams, and then everything else.
func TestShutdown(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for ev, err := range c.Events(ctx, task.EventQuery{}) {
		if err != nil {
			break
		}
		if is("sessioneventscompleted")(ev) {
			go func() {
				d.kill()
				cancel()
			}()
		}
	}
}
