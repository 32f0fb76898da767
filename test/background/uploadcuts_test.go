package background

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

var (
	uploadRounds = flag.Int("uploads.rounds", 2, "how many uploads TestCutUploads makes by each protocol, in this process and by the daemon")
	uploadSeed   = flag.Uint64("uploads.seed", 0, "of TestCutUploads' generators; 0: a random one")
)

// Uploads by each protocol are broken off at random, several times each: within the content, with the answer lost, refused for
// now, and with bytes forgotten that the server had read. Each ends, and the server has exactly the file.
//
// Nothing that the server has is sent again: of all requests together it has read the file once, and again what it has itself
// forgotten. What a cut costs beside that is what had left and was not read: it lay in the buffers of the sockets and of the
// server's reader.
func TestCutUploads(t *testing.T) {
	t.Parallel()
	seed := *uploadSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat it by -uploads.seed %d -uploads.rounds %d", seed, *uploadRounds)
		}
	})
	k := running(t)
	process := urlsession.Ephemeral()
	process.Retries = 10
	var finish []func()
	for i, p := range protocols { // all at once: most of their time is back-off
		for round := range *uploadRounds {
			for n, c := range []urlsession.Configuration{process, k.configuration(fmt.Sprintf("com.example.cuts.%d.%d", i, round))} {
				name := fmt.Sprintf("%s, %s, %d", p.Name, []string{"in process", "by the daemon"}[n], round)
				r := rand.New(rand.NewPCG(seed, uint64(i)<<32|uint64(round)<<1|uint64(n)))
				finish = append(finish, cutUpload(t, name, r, p, k, c))
			}
		}
	}
	for _, f := range finish {
		f()
	}
}

// cutUpload begins one upload that is broken off. What it returns waits for its end, and looks at what the server has.
func cutUpload(t *testing.T, name string, r *rand.Rand, p protocol, k *keeper, c urlsession.Configuration) (finish func()) {
	t.Helper()
	const key = "film"
	body := urlsessiontest.Body{Seed: r.Uint64(), Size: mib + 1 + r.Int64N(2*mib)}
	from := urlsession.Bytes(body.Bytes())
	if r.IntN(2) == 0 {
		path := filepath.Join(t.TempDir(), "source")
		if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		from = urlsession.File(path)
	}
	b := &breakages{loses: !p.Tusd, r: r, left: 2 + r.IntN(2)}
	srv := newReceiver(t, p, func(_, method string, length int64) breakage { return b.next(method, length) })
	if c.Proxy = urlsession.NoProxy(); p.TLS {
		c.RootCAs = urlsessiontest.CAPEM()
	}
	ctx := bounded(t)
	task, err := k.session(c).UploadTask(ctx, p.request(srv.url, key, from))
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err = task.Wait(ctx); err == nil {
			err = srv.ended(key, body)
		}
		again := srv.received(key) - body.Size
		if lost := b.forgotten(); err != nil || again != lost {
			t.Errorf("%s: %v; of %d bytes %d came again, and %d were forgotten; %+v; read of its requests: %d",
				name, err, body.Size, again, lost, srv.held(key), srv.contents(key))
			for _, said := range b.said {
				t.Log(said)
			}
		}
	}
}
