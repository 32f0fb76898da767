package background

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// lie is one way of a server for uploads to misbehave. What it does for ever it does once, too.
type lie struct {
	name string
	on   string // the requests that it is told to, by their method, or creations; empty: all
	step UploadStep
	// once is how an upload ends that was lied to once: 0 is well, and the server has exactly the file.
	once urlsession.Code
	// ever is the same where it never ends; 0: whatever the code, and well only where the server has the file.
	ever urlsession.Code
	// resumed: it is told to the requests that follow a cut alone; else the creation is lied to as well.
	resumed bool
	// drops: the upload that is given up is deleted at the server.
	drops bool
}

// creations are requests for the target, by whatever method. (What a server says to the last bytes of all, once they have left, is its
// word for the whole.)
const creations = "creations"

const hostileUploadSize = mib + 128*kib

// lies are told by a server that honestly speaks version 8.
func lies() []lie {
	field := func(name, value string) UploadStep {
		return UploadEdit(func(status int, h http.Header) int {
			h.Set(name, value)
			return status
		})
	}
	const bad = urlsession.ErrBadServerResponse
	return []lie{
		// What it has.
		{name: "goes back", resumed: true, on: "HEAD", step: UploadRollsBack(100_000)},
		{name: "goes back to the start", resumed: true, on: "HEAD", step: UploadRollsBack(hostileUploadSize)},
		{name: "goes back when it is sent more", resumed: true, on: "PATCH", step: UploadRollsBack(1), ever: bad, drops: true},
		{name: "has forgotten it", resumed: true, on: "HEAD", step: UploadForgets(404)},
		{name: "has given it up", resumed: true, on: "HEAD", step: UploadForgets(410)},
		{name: "forgets it when it is sent more", resumed: true, on: "PATCH", step: UploadForgets(404)},
		{name: "refuses to tell", resumed: true, on: "HEAD", step: UploadStatus(403)},
		{name: "has more than the file", resumed: true, on: "HEAD", step: UploadOffset("9999999999"), once: bad, ever: bad, drops: true},
		{name: "has a little more than the file", resumed: true, on: "HEAD", step: UploadOffset(fmt.Sprint(hostileUploadSize + 1)), once: bad, ever: bad, drops: true},
		{name: "has no number", resumed: true, on: "HEAD", step: UploadOffset(`"7"`)},
		{name: "has less than nothing", resumed: true, on: "HEAD", step: UploadOffset("-1")},
		{name: "does not say what it has", resumed: true, on: "HEAD", step: UploadOffset("")},
		{name: "has one of another length", resumed: true, on: "HEAD", step: field("Upload-Length", "7")},
		{name: "is complete with less", resumed: true, on: "HEAD", step: field("Upload-Complete", "?1"), once: bad, ever: bad, drops: true},
		{name: "wants another offset", resumed: true, on: "PATCH", step: UploadConflicts(), ever: bad, drops: true},
		{name: "says it is locked", resumed: true, on: "PATCH", step: UploadStatus(423)},

		// Answers that come early, or not.
		{name: "201 early", on: creations, step: UploadEarly(300_000, 201)},
		{name: "204 early", on: creations, step: UploadEarly(300_000, 204)},
		{name: "200 at once", on: creations, step: UploadEarly(0, 200)},
		{name: "loses its answer", step: UploadLosesAnswer()},
		{name: "stalls", step: UploadStall(300_000, Forever)},
		{name: "500", resumed: true, step: UploadStatus(500)},
		{name: "cuts at once", resumed: true, on: "PATCH", step: UploadCut(0)},
		{name: "cuts the last byte", resumed: true, on: "PATCH", step: UploadAll(UploadCut(hostileUploadSize-500_000), UploadLoses(1))},

		// Names.
		{name: "names a script", step: UploadLocation("javascript:alert(1)")},
		{name: "names nothing", step: UploadLocation("")},
		{name: "names itself", step: UploadLocation("/f")},
		{name: "names nobody", step: UploadLocation("http://127.0.0.1:1/uploads/1")},
		{name: "names what is not there", step: UploadLocation("/uploads/9999")},
		{name: "another version", step: UploadInterop("3")},
		{name: "no version", step: UploadInterop("")},
		{name: "a thousand 104s", step: UploadAnnounced(1000)},
		{name: "no 104", step: UploadAnnounced(0)},
		{name: "redirects to itself", resumed: true, on: "HEAD", step: UploadRedirect(308, "/uploads/1")},
		{name: "redirects elsewhere", resumed: true, on: "HEAD", step: UploadRedirect(302, "/elsewhere")},

		// Limits.
		{name: "takes a little", resumed: true, on: "HEAD", step: field("Upload-Limit", "max-append-size=1024")},
		{name: "takes nothing", resumed: true, on: "HEAD", step: field("Upload-Limit", "max-append-size=0")},
		{name: "is over", resumed: true, on: "HEAD", step: field("Upload-Limit", "max-age=0")},
		{name: "limits in no number", resumed: true, on: "HEAD", step: field("Upload-Limit", "max-append-size=x, max-age=-1")},
	}
}

// Whatever a server says of an upload, it ends, in time, with a code, or well; and it ends well only where the server has exactly
// the file. The daemon stays, and is small.
func TestHostileUploads(t *testing.T) {
	t.Parallel()
	body := Body{Seed: 1, Size: hostileUploadSize}
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	k := running(t)
	configure := func(name string, request, resource time.Duration) *urlsession.Session {
		c := k.configuration("com.example.lies." + name)
		c.TimeoutForRequest, c.TimeoutForResource = request, resource
		return k.session(c)
	}
	ever, once := configure("ever", 2*time.Second, 10*time.Second), configure("once", 2*time.Second, 40*time.Second)
	ctx := bounded(t)
	slots := make(chan struct{}, 32) // more at once, and the servers, with their digests, are slower than RateLimit
	var all sync.WaitGroup
	for _, l := range lies() {
		for _, method := range []string{http.MethodPut, http.MethodPost} {
			for _, often := range []string{"once", "ever"} {
				if often == "ever" && method == http.MethodPut {
					continue // it is a POST with more ways out
				}
				all.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					srv := NewUploadServer(UploadProgress(64 * kib))
					defer srv.Close()
					var cut, told sync.Once
					srv.Always("/f", func(r *UploadReply) {
						if l.resumed && first(&cut, r.Request.ContentLength > 500_000) {
							UploadCut(500_000)(r)
							return
						}
						if on := l.on == "" || l.on == r.Request.Method || l.on == creations && r.Request.URL.Path == "/f"; often == "ever" && on || often == "once" && first(&told, on) {
							l.step(r)
						}
					})
					s, want := once, l.once
					if often == "ever" {
						s, want = ever, l.ever
					}
					r := urlsession.Request{URL: srv.URL + "/f", Method: method, Body: urlsession.File(path), FailOnHTTPError: true,
						RateLimit: 512 * kib} // so that not all has left when it is cut
					if err := lied(ctx, s, srv, r, body, l, often == "once", want); err != nil {
						t.Errorf("%s, %s, %s: %v", l.name, method, often, err)
						seen := srv.Requests()
						for _, r := range seen[max(0, len(seen)-12):] {
							t.Logf("%s, %s, %s: %s %s: %d, %d bytes came", l.name, method, often, r.Method, r.Target, r.Status, r.BodySize)
						}
					}
				})
			}
		}
	}
	all.Wait()
	k.ready()
	if _, peak := k.resident(); peak > 256*mib && !*withRace {
		t.Errorf("the daemon had %d MiB resident", peak>>20)
	}
}

// first says whether it is, for once, where that is so.
func first(once *sync.Once, so bool) (is bool) {
	if so {
		once.Do(func() { is = true })
	}
	return is
}

// lied runs one upload to its end, and says what is wrong with it.
func lied(ctx context.Context, s *urlsession.Session, srv *UploadServer, r urlsession.Request, body Body, l lie, once bool, want urlsession.Code) error {
	task, err := s.UploadTask(ctx, r)
	if err != nil {
		return err
	}
	_, err = task.Wait(ctx)
	if ctx.Err() != nil {
		st, _ := task.Status(context.WithoutCancel(ctx))
		return fmt.Errorf("it does not end: %+v", st)
	}
	whole := slices.ContainsFunc(srv.Uploads(), func(up Upload) bool { return up.Check(body) == nil })
	if err == nil {
		if want != 0 {
			return errors.New("it has ended well")
		}
		if !whole {
			return fmt.Errorf("it has ended well, and the server has %+v", srv.Uploads())
		}
		return nil
	}
	failure, ok := errors.AsType[*urlsession.Error](err)
	switch {
	case !ok || failure.Code == urlsession.ErrUnknown || failure.Code == 0:
		return fmt.Errorf("its error has no code: %w", err)
	case strings.Contains(err.Error(), "/uploads/"):
		return fmt.Errorf("its error has the upload's URL: %w", err)
	case want == 0 && once, want != 0 && failure.Code != want:
		return fmt.Errorf("it has failed: %w", err)
	case l.drops && len(srv.RequestsBy(http.MethodDelete)) == 0:
		return fmt.Errorf("it was not dropped: %w", err)
	}
	return nil
}
