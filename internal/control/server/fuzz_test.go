package server

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
)

// FuzzReadTask: a request to create a task is refused with a status of the client's fault, or is a spec that a session
// could have made, and a body of the size that it says.
func FuzzReadTask(f *testing.F) {
	const ok = `{"kind":"upload","request":{"method":"PUT","url":"https://h/","body":{"size":4}},"policy":{}}`
	f.Add(control.TaskMediaType, ok+"\nbody")
	f.Add(control.TaskMediaType, ok)
	f.Add(control.JSONMediaType, `{"kind":"download","request":{"method":"GET","url":"http://h/f"},"policy":{},"download":{"path":"/f"}}`)
	f.Add(control.JSONMediaType, `{"kind":"data","priority":1e400}`)
	f.Add("text/plain; x", `{}`)
	s := &server{options: Options{MaxBody: 100}}
	f.Fuzz(func(t *testing.T, mediaType, body string) {
		r := httptest.NewRequest("POST", "/v1/sessions/s/tasks", strings.NewReader(body))
		r.Header.Set("Content-Type", mediaType)
		spec, in, err := s.readTask("create task", r)
		if err != nil {
			r, _ := errors.AsType[*refusal](refuse(err))
			if r.status < 400 || r.status > 499 || r.Code == 0 {
				t.Errorf("%d %v", r.status, err)
			}
			return
		}
		u, err := url.Parse(spec.Request.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("URL %q", spec.Request.URL)
		}
		if d := spec.Download; d != nil && d.Path != "" && !filepath.IsAbs(d.Path) {
			t.Errorf("path %q", d.Path)
		}
		if in == nil {
			return
		}
		held, err := io.ReadAll(in)
		if err == nil && (len(held) > 100 || spec.Request.Body.Size >= 0 && int64(len(held)) != spec.Request.Body.Size) {
			t.Errorf("%d bytes for %+v", len(held), spec.Request.Body)
		}
	})
}

// FuzzEventQuery: a cursor, a task's number and flags, as anybody may write them.
func FuzzEventQuery(f *testing.F) {
	f.Add("after=7&own=true", "")
	f.Add("task=1&durable=1&after=", "18446744073709551615")
	f.Add("after=-1&task=x", "0x7")
	f.Fuzz(func(t *testing.T, query, last string) {
		r := &http.Request{URL: &url.URL{RawQuery: query}, Header: http.Header{"Last-Event-Id": {last}}}
		q, err := eventQuery(r)
		if err != nil {
			if r, _ := errors.AsType[*refusal](err); r == nil || r.status != http.StatusBadRequest {
				t.Errorf("%v", err)
			}
			return
		}
		if q.Own && q.Task != 0 {
			t.Error("an owner of one task")
		}
		if last != "" && q.After == nil {
			t.Errorf("%q is no cursor", last)
		}
	})
}
