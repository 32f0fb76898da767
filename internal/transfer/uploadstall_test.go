package transfer

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// A server that stalls costs the request timeout, and the upload goes on from what it has.
func TestUploadStalls(t *testing.T) {
	large := Body{Seed: 5, Size: 500_000} // more than a connection in memory holds
	for name, c := range map[string]struct {
		step  UploadStep
		says  string
		asked string
	}{
		"in the creation":        {nth("POST", 1, UploadStall(100_000, Forever)), "to send", "POST, HEAD, PATCH 100000"},
		"in an append":           {UploadAll(nth("POST", 1, UploadCut(100_000)), nth("PATCH", 1, UploadStall(100_000, Forever))), "to send", "POST, HEAD, PATCH 100000, HEAD, PATCH 200000"},
		"before the answer":      {nth("POST", 1, UploadStall(large.Size, Forever)), "for the response", "POST, HEAD, PATCH 500000"},
		"for less than it takes": {nth("POST", 1, UploadAll(UploadStall(100_000, 59*time.Second), UploadStall(300_000, 59*time.Second))), "", "POST"},
	} {
		t.Run(name, func(t *testing.T) {
			path := fromFile(t, &Attempt{Spec: &task.Spec{}}, large)
			synctest.Test(t, func(t *testing.T) {
				srv := NewUploadServer(UploadsInMemory())
				rt, err := transport.New(transport.Options{Dial: srv.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				u := &uploading{t: t, srv: srv, body: large, a: newTask(task.Upload, silent(rt), srv.URL+"/f")}
				u.a.Spec.Request.Method, u.a.Spec.Request.Body = "POST", &task.Body{Path: path, Size: large.Size}
				u.a.Spec.Upload = &task.UploadSpec{Resumable: task.ResumableIETF}
				srv.Always("/f", c.step)
				timeouts := 0
				for {
					begun := time.Now()
					res, err := u.attempt()
					if err == nil {
						u.uploaded(res)
						break
					}
					if task.CodeOf(err) == task.TimedOut {
						timeouts++
						if took := time.Since(begun); took != time.Minute || !strings.Contains(err.Error(), c.says) {
							t.Errorf("after %v: %v", took, err)
						}
					}
				}
				u.asked(c.asked)
				if want := min(1, len(c.says)); timeouts != want {
					t.Errorf("timed out %d times, want %d", timeouts, want)
				}
				if again := srv.Received() - large.Size; again != 0 {
					t.Errorf("%d bytes came again", again)
				}
				rt.CloseIdleConnections()
				srv.Close()
			})
		})
	}
}
