package transfer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// suspending ends an attempt once so many bytes have been told as sent or confirmed.
type suspending struct {
	*resumer
	after int64
	end   func()
}

func (s *suspending) Sent(total, expected int64) {
	s.resumer.Sent(total, expected)
	if total >= s.after {
		s.end()
	}
}

// An honest server's upload is never dropped, whatever ends the attempts: no offset of it is beyond what may have left. What is
// sent again is no more than the server had not.
func TestHonestUploadIsNeverDropped(t *testing.T) {
	body := Body{Seed: 9, Size: 3_000_000}
	for name, make := range map[string]func(t *testing.T) *uploading{
		"optimistic": func(t *testing.T) *uploading { return newUploading(t, body, UploadProgress(50_000)) },
		"careful":    func(t *testing.T) *uploading { return newCareful(t, body) },
		"in pieces": func(t *testing.T) *uploading {
			return newCareful(t, body, UploadLimits(UploadLimit{MaxAppendSize: 700_001}))
		},
		"a stream": func(t *testing.T) *uploading {
			u := newCareful(t, body)
			fromStream(u.a, body, body.Size)
			return u
		},
		"tus": func(t *testing.T) *uploading { return newTusUploading(t, body, extensions()).uploading },
		"tus, checked": func(t *testing.T) *uploading {
			return newTusUploading(t, body, extensions("checksum", "creation-with-upload")).uploading
		},
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			for round := range 6 {
				u := make(t)
				for n := 0; ; n++ {
					cut, refused := random.Int64N(body.Size), random.IntN(3) == 0
					step := UploadWhen(http.MethodPatch, func(r *UploadReply) {
						switch {
						case n >= 8:
						case refused:
							UploadEarly(min(cut, max(0, r.Request.ContentLength-1)), 503)(r)
						default:
							UploadCut(min(cut, max(0, r.Request.ContentLength-1)))(r)
						}
					})
					switch s := u.origin.(type) {
					case *UploadServer:
						s.Always("/f", step)
					case *TusServer:
						s.Always("/files/", step)
					}
					next := *u.a
					next.Number++
					if u.last != nil {
						next.Upload = u.last.state
					}
					u.last = &resumer{state: next.Upload}
					ctx, cancel := context.WithCancelCause(t.Context())
					why := errors.New("suspended")
					s := &suspending{u.last, random.Int64N(2 * body.Size), func() { cancel(why) }}
					if n >= 8 {
						s.after = 2 * body.Size
					}
					u.a, next.Observer = &next, s
					res, err := Run(ctx, &next)
					cancel(nil)
					if err == nil && res.Response.Status/100 == 2 {
						break
					}
					if n > 20 {
						t.Fatalf("round %d: %v, %s", round, err, u.methods())
					}
				}
				var again int64
				done := 0
				for _, r := range u.origin.Requests() {
					again += r.BodySize
					if r.Method == http.MethodDelete {
						t.Fatalf("round %d: an honest upload was dropped: %s", round, u.methods())
					}
				}
				for _, up := range u.origin.Uploads() {
					if up.Complete {
						done++
						if err := up.Check(body); err != nil {
							t.Error(err)
						}
					}
				}
				if done != 1 || len(u.origin.Uploads()) != 1 {
					t.Errorf("round %d: %d uploads, %d complete: %s", round, len(u.origin.Uploads()), done, u.methods())
				}
				if name != "tus, checked" && again != body.Size {
					t.Errorf("round %d: the server has read %d bytes of %d: %s", round, again, body.Size, u.methods())
				}
			}
		})
	}
}

// What may have left is known before it leaves: a sender that was about to hand bytes on when the attempt ended does not.
func TestNothingLeavesAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTask(task.Upload, nil, "http://origin.test/f")
		a.Limits = Limits{newLimit(100_000)}
		ctx, stop := context.WithCancelCause(t.Context())
		defer stop(nil)
		r := &run{Attempt: a}
		ctx = r.begin(ctx, stop)
		defer r.idle.stop()
		b := &requestBody{run: r, ctx: ctx, size: 10_000_000, to: 10_000_000}
		s := &sending{requestBody: b, to: b.to}
		b.newest.Store(s)
		time.AfterFunc(55*time.Millisecond, func() { b.newest.Store(nil) })
		for {
			n, err := s.Take(64 << 10)
			if err == nil && s.newest.Load() == s {
				continue
			}
			if n != 0 || err != os.ErrClosed {
				t.Errorf("%d bytes may leave, %v", n, err)
			}
			return
		}
	})
}
