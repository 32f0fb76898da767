package urlsession

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// numbers are those of parts that have an ETag.
func numbers(parts []UploadedPart) (all []int) {
	for _, p := range parts {
		if strings.HasPrefix(p.ETag, `"`) {
			all = append(all, p.Number)
		}
	}
	return all
}

func TestUploadsInParts(t *testing.T) {
	eachKind(t, func(c *Configuration) { c.Retries = 1 }, uploadsInParts)
}

func uploadsInParts(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	store := urlsessiontest.NewMultipartServer(urlsessiontest.MinimumPart(1000))
	t.Cleanup(store.Close)
	path := write(t, "large", string(large.Bytes()))
	for name, body := range map[string]Body{"file": File(path), "bytes": Bytes(large.Bytes())} {
		for _, completes := range []bool{true, false} {
			signed := store.Create(name, 4)
			signed.Script(3, urlsessiontest.UploadCut(1000))
			r := Request{Body: body, Multipart: &Multipart{Parts: signed.Parts, PartSize: 1 << 20, Abort: signed.Abort}}
			if completes {
				r.URL = signed.Complete
			}
			made, err := s.UploadTask(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := made.Wait(t.Context())
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s: %+v, %v", name, resp, err)
			}
			if err := signed.Check(large); completes != (err == nil) || !slices.Equal(signed.Held(), []int{1, 2, 3}) {
				t.Errorf("%s, %t: %v of %v", name, completes, err, signed.Held())
			}
			status, err := made.Status(t.Context())
			if err != nil || !slices.Equal(numbers(status.UploadedParts), []int{1, 2, 3}) || status.BytesSent != large.Size || status.Progress != 1 {
				t.Errorf("%s: %+v, %v", name, status, err)
			}
			for ev, err := range made.Events(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if text, err := json.Marshal(ev); err != nil || strings.Contains(fmt.Sprintf("%s%+v", text, ev), "X-Amz-Signature=") {
					t.Errorf("%s: %T tells where the parts go: %s, %v", name, ev, text, err)
				}
			}
		}
	}
}

// What the server has already is not sent again. A cancelled upload is dropped there.
func TestPartsThatAreThere(t *testing.T) {
	eachKind(t, func(c *Configuration) { c.MaximumConnectionsPerDownload = 1 }, partsThatAreThere)
}

func partsThatAreThere(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	store := urlsessiontest.NewMultipartServer(urlsessiontest.MinimumPart(1000))
	t.Cleanup(store.Close)
	path := write(t, "large", string(large.Bytes()))
	signed := store.Create("film", 3)
	signed.Always(2, urlsessiontest.UploadStatus(403))
	r := Post(signed.Complete, File(path))
	r.FailOnHTTPError = true
	r.Multipart = &Multipart{Parts: signed.Parts, PartSize: 1 << 20}
	made, err := s.UploadTask(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = made.Wait(t.Context())
	wantCode(t, err, ErrBadServerResponse)
	status, err := made.Status(t.Context())
	if err != nil || len(status.UploadedParts) == 0 || !slices.Equal(numbers(status.UploadedParts), signed.Held()) {
		t.Fatalf("%+v and %v, %v", status.UploadedParts, signed.Held(), err)
	}

	signed.Always(2, nil)
	before := len(store.Requests())
	r.Multipart.Uploaded = status.UploadedParts
	if _, resp, err := s.Upload(t.Context(), r); err != nil || resp.StatusCode != 200 || signed.Check(large) != nil {
		t.Errorf("%+v, %v", resp, err)
	}
	if n := len(store.Requests()) - before; n != 3-len(status.UploadedParts)+1 {
		t.Errorf("%d requests beside %d parts", n, len(status.UploadedParts))
	}

	signed = store.Create("dropped", 3)
	gate := urlsessiontest.NewGate()
	t.Cleanup(gate.Open)
	signed.Script(2, urlsessiontest.UploadHold(1000, gate))
	r = Request{Body: File(path), Multipart: &Multipart{Parts: signed.Parts, PartSize: 1 << 20, Abort: signed.Abort}}
	if made, err = s.UploadTask(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := gate.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	before = len(store.Requests()) // one after the other
	if err := made.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = made.Wait(t.Context())
	wantCode(t, err, ErrCancelled)
	if err := store.WaitRequests(t.Context(), before+1); err != nil {
		t.Fatal(err)
	}
	if last := store.Requests()[before]; last.Method != "DELETE" || !strings.Contains(last.Target, "/dropped?") {
		t.Errorf("after the cancellation: %s %s", last.Method, last.Target)
	}
}

// Many uploads are made in one step, all or none.
func TestUploadTasks(t *testing.T) { eachKind(t, nil, uploadTasks) }

func uploadTasks(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	file := File(write(t, "f", "content"))
	requests := []Request{Put(srv.URL+"/1", file), Put(srv.URL+"/2", file)}
	tasks, err := s.UploadTasks(t.Context(), requests)
	if err != nil || len(tasks) != 2 {
		t.Fatalf("%v, %v", tasks, err)
	}
	for i, made := range tasks {
		if _, err := made.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if got := srv.RequestsTo(fmt.Sprintf("/%d", i+1)); len(got) != 1 || string(got[0].Body) != "content" {
			t.Errorf("%d: %+v", i+1, got)
		}
	}
	for says, bad := range map[string]Request{
		"number 3 of 3": {URL: srv.URL + "/3"},
		"number 3 of 3 has a Request.Body that is no File; make it by UploadTask": Put(srv.URL+"/3", Bytes([]byte("x"))),
	} {
		if _, err := s.UploadTasks(t.Context(), append(requests[:2:2], bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if got := len(srv.Requests()); got != 2 {
		t.Errorf("%d requests", got)
	}
	if _, err := s.UploadTasks(t.Context(), make([]Request, MaximumUploads+1)); err == nil || !strings.Contains(err.Error(), "at most 10000") {
		t.Error(err)
	}
}
