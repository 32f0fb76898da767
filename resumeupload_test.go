package urlsession

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestUploadsGoOnFromResumeData(t *testing.T) { eachKind(t, nil, uploadsGoOnFromResumeData) }

// Whatever the protocol, the rest alone is sent, by a task of any session, with what the first request had.
func uploadsGoOnFromResumeData(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	path := write(t, "large", string(large.Bytes()))
	other, err := New(Ephemeral())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, to := range []*Session{s, other} {
		for _, version := range []int{3, 6, 8} {
			srv := stalling(t, version)
			data := leaveAt(t, s, srv, srv.URL, path, func(r *Request) { r.Resumable, r.Header = ResumableIETF, http.Header{"X-Token": {"t1"}} })
			before := srv.Received()
			made, err := to.UploadTaskWithResumeData(t.Context(), data)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := made.Wait(t.Context())
			if err != nil || resp.StatusCode/100 != 2 {
				t.Fatalf("version %d: %+v, %v after %s", version, resp, err, methodsOf(srv))
			}
			last := srv.Uploads()[len(srv.Uploads())-1]
			if sent := srv.Received() - before; !last.Complete || last.Check(large) != nil || sent != large.Size-1<<20 {
				t.Errorf("version %d: %d bytes came, and then %d, for %+v", version, before, sent, last)
			}
			all := srv.Requests()
			if got := methodsOf(srv); !strings.HasSuffix(got, " HEAD PATCH") || all[len(all)-1].Header.Get("X-Token") != "t1" {
				t.Errorf("version %d: %s, with %v", version, got, all[len(all)-1].Header)
			}
			if st := status(t, made); st.BytesSent != large.Size {
				t.Errorf("version %d: %+v", version, st)
			}
			for ev, err := range made.Events(t.Context()) {
				if told := fmt.Sprintf("%+v", ev); err != nil || strings.Contains(told, "/uploads/") {
					t.Errorf("version %d: where the server has it is told: %s, %v", version, told, err)
				}
			}
		}

		srv := urlsessiontest.NewTusServer(urlsessiontest.TusExtensions("creation", "termination"))
		t.Cleanup(srv.Close)
		var once sync.Once
		srv.Always("/f", func(r *urlsessiontest.UploadReply) {
			if r.Request.Method == http.MethodPatch {
				once.Do(func() { urlsessiontest.UploadStall(1<<20, urlsessiontest.Forever)(r) })
			}
		})
		data := leaveAt(t, s, srv, srv.URL, path, func(r *Request) { r.Resumable = ResumableTus })
		made, err := to.UploadTaskWithResumeData(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		_, err = made.Wait(t.Context())
		if got := methodsOf(srv); err != nil || !strings.HasSuffix(got, "PATCH OPTIONS HEAD PATCH") || srv.Received() != large.Size {
			t.Errorf("tus: %v after %s, by which %d bytes came", err, got, srv.Received())
		}
		if all := srv.Uploads(); len(all) != 1 || all[0].Check(large) != nil {
			t.Errorf("tus: %+v", all)
		}
	}
}

// A failure leaves resume data too, with what its outcome depends on.
func TestFailedUploadsLeaveResumeData(t *testing.T) {
	eachKind(t, func(c *Configuration) { c.Retries = 1 }, failedUploadsLeaveResumeData)
}

func failedUploadsLeaveResumeData(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	path := write(t, "large", string(large.Bytes()))
	srv := resumable(t)
	srv.Always("/f", urlsessiontest.UploadAll(urlsessiontest.UploadWhen(http.MethodPost, urlsessiontest.UploadCut(1<<20)),
		urlsessiontest.UploadWhen(http.MethodPatch, urlsessiontest.UploadStatus(http.StatusForbidden))))
	r := Post(srv.URL+"/f", File(path))
	r.FailOnHTTPError = true
	made, err := s.UploadTask(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = made.Wait(t.Context())
	wantCode(t, err, ErrBadServerResponse)
	data, err := made.ResumeData(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	srv.Always("/f", urlsessiontest.UploadHonest())
	again, err := s.UploadTaskWithResumeData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	_, err = again.Wait(t.Context())
	if up := srv.Uploads(); err != nil || len(up) != 1 || !up[0].Complete || up[0].Check(large) != nil {
		t.Errorf("%v after %s: %+v", err, methodsOf(srv), up)
	}
	_, err = again.ResumeData(t.Context())
	if wantCode(t, err, ErrResourceUnavailable); !strings.Contains(err.Error(), "succeeded") {
		t.Error(err)
	}
}

// What the data say is checked when the task is made, and what changes later before its bytes leave.
func TestUnusableResumeDataOfUploads(t *testing.T) { eachKind(t, nil, unusableResumeDataOfUploads) }

func unusableResumeDataOfUploads(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	path := write(t, "large", string(large.Bytes()))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := stalling(t, 8)
	data := leaveAt(t, s, srv, srv.URL, path)
	asked := len(srv.Requests())
	refused := func(says string) {
		t.Helper()
		_, err := s.UploadTaskWithResumeData(t.Context(), data)
		if wantCode(t, err, ErrResumeDataUnusable); !strings.Contains(fmt.Sprint(err), says) || !strings.Contains(fmt.Sprint(err), path) {
			t.Errorf("%v; want one of %s that says %q", err, path, says)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(os.Rename(path, path+"2"))
	refused("is gone")
	write2 := func(b []byte) { do(os.WriteFile(path, b, 0o600)) }
	write2(large.Bytes())
	refused("another file has its name")
	do(os.Rename(path+"2", path))
	do(os.Truncate(path, large.Size-1))
	refused("had 3145728")
	write2(large.Bytes())
	refused("was written to")
	do(os.Chtimes(path, time.Time{}, info.ModTime()))
	if n := len(srv.Requests()); n != asked {
		t.Errorf("the server was asked: %s", methodsOf(srv))
	}

	_, err = s.DownloadTaskWithResumeData(t.Context(), data)
	if wantCode(t, err, ErrResumeDataUnusable); !strings.Contains(err.Error(), "UploadTaskWithResumeData") {
		t.Error(err)
	}
	_, err = s.UploadTaskWithResumeData(t.Context(), []byte(`{"version":1,"url":"http://h/","part":"/p","total":3,"held":[[0,1]]}`))
	if wantCode(t, err, ErrResumeDataUnusable); !strings.Contains(err.Error(), "DownloadTaskWithResumeData") {
		t.Error(err)
	}
	for _, bad := range []string{"", "{}", "null", `{"version":9}`, string(data[:len(data)-1])} {
		_, err := s.UploadTaskWithResumeData(t.Context(), []byte(bad))
		wantCode(t, err, ErrResumeDataUnusable)
	}

	made, err := s.UploadTaskWithResumeData(t.Context(), data)
	do(err)
	_, err = made.Wait(t.Context())
	do(err)
}

// A file that changes between the creation of the task and its attempt is not sent, and what the server has of it is dropped.
func TestFileOfResumeDataChanges(t *testing.T) {
	s, _ := start(t, func(c *Configuration) { c.MaximumConnectionsPerHost = 1 })
	path := write(t, "large", string(large.Bytes()))
	srv := resumable(t, urlsessiontest.UploadStall(1<<20, urlsessiontest.Forever), urlsessiontest.UploadStall(1<<20, urlsessiontest.Forever))
	data := leaveAt(t, s, srv, srv.URL, path)
	first, err := s.UploadTask(t.Context(), Post(srv.URL+"/f", Bytes(large.Bytes()))) // has the host's one connection
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.WaitReceived(t.Context(), 2<<20); err != nil {
		t.Fatal(err)
	}
	made, err := s.UploadTaskWithResumeData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, large.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := first.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = made.Wait(t.Context())
	wantCode(t, err, ErrSourceChanged)
	_, err = made.ResumeData(t.Context())
	wantCode(t, err, ErrResourceUnavailable)
	if err := srv.WaitRequests(t.Context(), 4); err != nil || methodsOf(srv) != "POST POST DELETE DELETE" {
		t.Errorf("%v after %s", err, methodsOf(srv))
	}
}

// A server that has forgotten the upload gets it anew, once, unless it may have all of it and must not have it twice.
func TestResumeDataOfAForgottenUpload(t *testing.T) { eachKind(t, nil, resumeDataOfAForgottenUpload) }

func resumeDataOfAForgottenUpload(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	path := write(t, "large", string(large.Bytes()))
	for _, whole := range []bool{false, true} {
		srv := stalling(t, 8)
		data := leaveAt(t, s, srv, srv.URL, path, func(r *Request) {
			if !whole {
				r.Method = http.MethodPut // all may have left that the server has not read
			}
		})
		srv.Always("/f", urlsessiontest.UploadWhen(http.MethodHead, urlsessiontest.UploadForgets(http.StatusNotFound)))
		if whole {
			var d map[string]any
			if err := json.Unmarshal(data, &d); err != nil {
				t.Fatal(err)
			}
			d["upload"].(map[string]any)["state"].(map[string]any)["whole"] = true
			data, _ = json.Marshal(d)
		}
		made, err := s.UploadTaskWithResumeData(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := made.Wait(t.Context())
		if whole {
			if wantCode(t, err, ErrBadServerResponse); !strings.HasSuffix(methodsOf(srv), "POST HEAD") {
				t.Errorf("%v after %s", err, methodsOf(srv))
			}
			_, err := made.ResumeData(t.Context())
			wantCode(t, err, ErrResourceUnavailable)
			continue
		}
		last := srv.Uploads()[len(srv.Uploads())-1]
		if err != nil || resp.StatusCode/100 != 2 || !last.Complete || last.Check(large) != nil || !strings.HasSuffix(methodsOf(srv), "PUT HEAD PUT") {
			t.Errorf("%v after %s: %+v", err, methodsOf(srv), last)
		}
	}
}

// Two tasks of the same data may cut one another, and the server has the file all the same.
func TestResumeDataTwice(t *testing.T) {
	s, _ := start(t, func(c *Configuration) { c.Retries = 5 })
	path := write(t, "large", string(large.Bytes()))
	srv := stalling(t, 8)
	data := leaveAt(t, s, srv, srv.URL, path)
	var tasks []*Task
	for range 2 {
		made, err := s.UploadTaskWithResumeData(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, made)
	}
	succeeded := 0
	for _, made := range tasks {
		if _, err := made.Wait(t.Context()); err == nil {
			succeeded++
		}
	}
	if up := srv.Uploads(); succeeded == 0 || !up[0].Complete || up[0].Check(large) != nil {
		t.Errorf("%d succeeded: %+v after %s", succeeded, up, methodsOf(srv))
	}
}

// What leaves none says why.
func TestUploadsWithoutResumeData(t *testing.T) { eachKind(t, nil, uploadsWithoutResumeData) }

func uploadsWithoutResumeData(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	path := write(t, "large", string(large.Bytes()))
	for says, c := range map[string]struct {
		body  Body
		plain bool
		drop  bool
	}{
		"was no File":             {body: Bytes(large.Bytes())},
		"holds nothing":           {body: File(path), plain: true},
		"use CancelForResumeData": {body: File(path), drop: true},
	} {
		srv := stalling(t, 8)
		r := Post(srv.URL+"/f", c.body)
		if c.plain {
			r.Resumable = ResumableNo
		}
		made, err := s.UploadTask(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.WaitReceived(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
		if _, err := made.ResumeData(t.Context()); !c.drop {
			if wantCode(t, err, ErrResourceUnavailable); !strings.Contains(err.Error(), "has not ended") {
				t.Error(err)
			}
		}
		if c.drop {
			if err := made.Cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_, err = made.CancelForResumeData(t.Context())
		var e *Error
		if wantCode(t, err, ErrResourceUnavailable); !errors.As(err, &e) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "/uploads/") {
			t.Errorf("%v; want one that says %q", err, says)
		}
	}
}
