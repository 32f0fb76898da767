package background

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// An upload goes on from what the server has when the daemon that sent it was killed, a POST too: the server ends with exactly
// the file, and nothing that it had is sent again.
func TestKilledInAnUpload(t *testing.T) {
	t.Parallel()
	body := urlsessiontest.Body{Seed: 5, Size: 8 * mib}
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	k := running(t)
	s := k.session(k.configuration("com.example.resumable"))
	for round, p := range []protocol{
		{Name: "auto", How: urlsession.ResumableAuto, Method: http.MethodPost},
		{Name: "ietf", How: urlsession.ResumableIETF, Method: http.MethodPost},
		{Name: "ietf 6", How: urlsession.ResumableIETF, Method: http.MethodPost, Version: 6},
		{Name: "ietf 3", How: urlsession.ResumableIETF, Method: http.MethodPost, Version: 3},
		{Name: "ietf, to tusd", How: urlsession.ResumableIETF, Method: http.MethodPost, Tusd: true},
		{Name: "tus", How: urlsession.ResumableTus, Method: http.MethodPost, Tusd: true},
		{Name: "auto, to tusd", How: urlsession.ResumableAuto, Method: http.MethodPost, Tusd: true},
	} {
		from := urlsession.File(path)
		if round%2 == 1 {
			from = urlsession.Bytes(body.Bytes())
		}
		stalls := &stalls{after: []int64{1 + rand.Int64N(body.Size/2), 1 + rand.Int64N(body.Size/4)}}
		srv := newReceiver(t, p, stalls.next)
		ctx := bounded(t)
		up, err := s.UploadTask(ctx, p.request(srv.url, "film", from))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int64{stalls.after[0], stalls.after[0] + stalls.after[1]} {
			if err := srv.wait(ctx, n); err != nil {
				t.Fatal(err)
			}
			k.kill()
			k.restart()
		}
		resp, err := up.Wait(ctx)
		if err == nil {
			err = srv.ended("film", body)
		}
		if again := srv.received("film") - body.Size; err != nil || again != 0 || resp.StatusCode/100 != 2 {
			t.Errorf("%s, killed at %v: %v; %+v; %d bytes came again; %+v; read of its requests: %d", p.Name, stalls, err, resp, again, srv.held("film"), srv.contents("film"))
		}
	}
}

// stalls have the first requests with content stall, each after so many of its bytes.
type stalls struct {
	after []int64

	mu   sync.Mutex
	done int
}

// Partial uploads of tus go on each from what the server has of it, when the daemon that sent them was killed, and are joined.
func TestKilledInPartialUploads(t *testing.T) {
	t.Parallel()
	body := urlsessiontest.Body{Seed: 5, Size: 24 * mib} // three
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	k := running(t)
	conf := k.configuration("com.example.partial")
	conf.MaximumConnectionsPerDownload = 3
	s := k.session(conf)
	origin := urlsessiontest.NewTusServer(urlsessiontest.TusExtensions("creation", "termination", "concatenation"))
	t.Cleanup(origin.Close)
	var first, second int64
	for _, part := range []string{"/uploads/1", "/uploads/2", "/uploads/3"} {
		a, b := rand.Int64N(4*mib), rand.Int64N(4*mib)
		first, second = first+a, second+b
		origin.Script(part, urlsessiontest.UploadStall(a, urlsessiontest.Forever), urlsessiontest.UploadHonest(),
			urlsessiontest.UploadStall(b, urlsessiontest.Forever))
	}
	ctx := bounded(t)
	request := urlsession.Post(origin.URL+"/f", urlsession.File(path))
	request.Resumable = urlsession.ResumableTus
	up, err := s.UploadTask(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{first, first + second} {
		if err := origin.WaitReceived(ctx, n); err != nil {
			t.Fatal(err)
		}
		k.kill()
		k.restart()
	}
	if resp, err := up.Wait(ctx); err != nil || resp.StatusCode != 201 {
		t.Fatalf("%+v, %v", resp, err)
	}
	var left []urlsessiontest.Upload
	for _, u := range origin.Uploads() {
		if u.Gone == 0 {
			left = append(left, u)
		}
	}
	if len(left) != 1 {
		t.Fatalf("%d uploads are left: %+v", len(left), left)
	}
	if err := left[0].Check(body); err != nil {
		t.Error(err)
	}
	if again := origin.Received() - body.Size; again != 0 {
		t.Errorf("%d bytes came again", again)
	}
}
func (s *stalls) next(_, _ string, length int64) (b breakage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if length > 0 && s.done < len(s.after) {
		b.stall, b.after = true, s.after[s.done]
		s.done++
	}
	return b
}

func (s *stalls) String() string { return fmt.Sprint(s.after) }
