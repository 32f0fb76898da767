package urlsession

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// large is worth to be gone on with.
var large = urlsessiontest.Body{Seed: 4, Size: 3 << 20}

func resumable(t *testing.T, steps ...urlsessiontest.UploadStep) *urlsessiontest.UploadServer {
	t.Helper()
	srv := urlsessiontest.NewUploadServer()
	t.Cleanup(srv.Close)
	srv.Script("/f", steps...)
	return srv
}

func methodsOf(srv interface {
	Requests() []urlsessiontest.Request
}) string {
	var all []string
	for _, r := range srv.Requests() {
		all = append(all, r.Method)
	}
	return strings.Join(all, " ")
}

func TestUploadsGoOn(t *testing.T) {
	eachKind(t, func(c *Configuration) { c.Retries = 2 }, uploadsGoOn)
}

func uploadsGoOn(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	path := write(t, "large", string(large.Bytes()))
	for name, body := range map[string]Body{"file": File(path), "bytes": Bytes(large.Bytes())} {
		srv := resumable(t, urlsessiontest.UploadCut(1<<20), urlsessiontest.UploadHonest(), urlsessiontest.UploadCut(500_000))
		made, err := s.UploadTask(t.Context(), Post(srv.URL+"/f?key=secret", body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := made.Wait(t.Context())
		if err != nil || resp.StatusCode != 201 {
			t.Fatalf("%s: %+v, %v after %s", name, resp, err, methodsOf(srv))
		}
		if up := srv.Uploads(); len(up) != 1 || !up[0].Complete || up[0].Check(large) != nil || srv.Received() != large.Size {
			t.Errorf("%s: %d bytes came for %+v", name, srv.Received(), up)
		}
		for ev, err := range made.Events(t.Context()) { // nobody is told where the server has it
			if err != nil {
				t.Fatal(err)
			}
			if m, ok := ev.(Metrics); ok && slices.ContainsFunc(m.Transactions, func(x Transaction) bool { return strings.Contains(x.URL, "/uploads/") }) {
				t.Errorf("%s: %+v", name, m)
			}
			if r, ok := ev.(ResponseReceived); ok && strings.Contains(r.URL, "/uploads/") {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

// A suspended upload goes on where it was; one that is cancelled is dropped by the server.
func TestUploadsAreInterrupted(t *testing.T) { eachKind(t, nil, uploadsAreInterrupted) }

func uploadsAreInterrupted(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	path := write(t, "large", string(large.Bytes()))
	begin := func() (*Task, *urlsessiontest.UploadServer) {
		srv := resumable(t, urlsessiontest.UploadStall(1<<20, urlsessiontest.Forever))
		made, err := s.UploadTask(t.Context(), Post(srv.URL+"/f", File(path)))
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.WaitReceived(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
		return made, srv
	}
	made, srv := begin()
	if err := made.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := made.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if resp, err := made.Wait(t.Context()); err != nil || resp.StatusCode != 201 || srv.Received() != large.Size {
		t.Errorf("%+v, %v: %d bytes came", resp, err, srv.Received())
	}

	made, srv = begin()
	if err := made.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := made.Wait(t.Context())
	wantCode(t, err, ErrCancelled)
	if err := srv.WaitRequests(t.Context(), 2); err != nil || methodsOf(srv) != "POST DELETE" {
		t.Errorf("%s, %v", methodsOf(srv), err)
	}
}

func TestResumableOfRequests(t *testing.T) {
	s := offline(t, nil)
	for how, want := range map[Resumable]*task.UploadSpec{
		ResumableAuto: nil, ResumableIETF: {Resumable: task.ResumableIETF}, ResumableTus: {Resumable: task.ResumableTus}, ResumableNo: {Resumable: task.ResumableNo},
	} {
		r := Put("http://example.com/", Bytes([]byte("x")))
		r.Resumable = how
		spec, _, err := s.newSpec(task.Upload, r)
		if err != nil || (spec.Upload == nil) != (want == nil) || want != nil && !reflect.DeepEqual(spec.Upload, want) {
			t.Errorf("%v: %+v, %v", how, spec.Upload, err)
		}
	}
	for _, r := range []Request{{Method: http.MethodPut, Resumable: -1}, {Method: http.MethodPut, Resumable: ResumableNo + 1}} {
		r.URL, r.Body = "http://example.com/", Bytes(nil)
		if _, _, err := s.newSpec(task.Upload, r); err == nil || !strings.Contains(err.Error(), "Request.Resumable") {
			t.Errorf("%d: %v", r.Resumable, err)
		}
	}
	if _, _, err := s.newSpec(task.Data, Request{URL: "http://example.com/", Resumable: ResumableNo}); err == nil {
		t.Error("a data task has it")
	}
}
