package background

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	for round := range 6 {
		from := urlsession.File(path)
		if round%2 == 1 {
			from = urlsession.Bytes(body.Bytes())
		}
		origin := urlsessiontest.NewUploadServer(urlsessiontest.UploadProgress(64 << 10))
		t.Cleanup(origin.Close)
		first := 128<<10 + rand.Int64N(body.Size/2)
		second := 128<<10 + rand.Int64N(body.Size/4)
		origin.Script("/f", urlsessiontest.UploadStall(first, urlsessiontest.Forever), urlsessiontest.UploadHonest(),
			urlsessiontest.UploadStall(second, urlsessiontest.Forever))
		ctx := bounded(t)
		up, err := s.UploadTask(ctx, urlsession.Post(origin.URL+"/f", from))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int64{first, first + second} {
			confirmed(ctx, t, up)
			if err := origin.WaitReceived(ctx, n); err != nil {
				t.Fatal(err)
			}
			k.kill()
			k.restart()
		}
		resp, err := up.Wait(ctx)
		if err != nil || resp.StatusCode != 201 {
			t.Fatalf("round %d, killed at %d and %d: %+v, %v", round, first, first+second, resp, err)
		}
		all := origin.Uploads()
		if len(all) != 1 || !all[0].Complete {
			t.Fatalf("round %d: %+v", round, all)
		}
		if err := all[0].Check(body); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if again := origin.Received() - body.Size; again != 0 {
			t.Errorf("round %d, killed at %d and %d: %d bytes came again", round, first, first+second, again)
		}
	}
}

// confirmed returns once the server has said that it has some of the upload, which it says of no upload that it has not named.
func confirmed(ctx context.Context, t *testing.T, up *urlsession.Task) {
	t.Helper()
	for ev, err := range up.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := ev.(urlsession.UploadProgress); ok && p.Confirmed {
			return
		}
	}
	t.Fatal("the upload has ended before")
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
