package transfer

import (
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

func hexa(sum [32]byte) string { return hex.EncodeToString(sum[:]) }

// member is one of Repr-Digest.
func member(algorithm string, sum []byte) string {
	return algorithm + "=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// digestsOf are those of a body as a task has them, by algorithm.
func digestsOf(body Body) map[string]string {
	b := body.Bytes()
	wide, old := sha512.Sum512(b), md5.Sum(b)
	return map[string]string{"sha-256": "sha-256=" + hexa(body.SHA256()), "sha-512": "sha-512=" + hex.EncodeToString(wide[:]), "md5": "md5=" + hex.EncodeToString(old[:])}
}

// A body that is not what it was to be does not leave, however it is sent and wherever it comes from.
func TestUploadDigestMismatch(t *testing.T) {
	other := Body{Seed: 9, Size: bulk.Size}
	for _, how := range []task.Resumable{task.ResumableAuto, task.ResumableIETF, task.ResumableNo, task.ResumableTus} {
		for algorithm, digest := range digestsOf(other) {
			for name, from := range map[string]func(*Attempt){
				"file": func(*Attempt) {}, "stream": func(a *Attempt) { fromStream(a, bulk, bulk.Size) },
				"stream of unknown length": func(a *Attempt) { fromStream(a, bulk, -1) },
				"nothing":                  func(a *Attempt) { a.Spec.Request.Body = nil },
			} {
				u := newCareful(t, bulk)
				from(u.a)
				u.a.Spec.Upload = &task.UploadSpec{Resumable: how, Digests: []string{digest}}
				res, err := u.attempt()
				wantCode(t, err, task.DigestMismatch)
				_, theirs, _ := strings.Cut(digest, "=")
				ours := digestsOf(bulk)[algorithm]
				if name == "nothing" {
					ours = digestsOf(Body{})[algorithm]
				}
				_, ours, _ = strings.Cut(ours, "=")
				if !strings.Contains(err.Error(), ours) || !strings.Contains(err.Error(), theirs) || !res.Unsent {
					t.Errorf("%q %s: %v", how, name, err)
				}
				if n := len(u.srv.Requests()); n != 0 {
					t.Errorf("%q %s: %d requests", how, name, n)
				}
			}
		}
	}
}

// The server is told what the body must have, by the request that has the whole or begins it alone, and asked what it has.
func TestUploadDigestIsTold(t *testing.T) {
	digests := digestsOf(bulk)
	wide := sha512.Sum512(bulk.Bytes())
	narrow := bulk.SHA256()
	for name, c := range map[string]struct {
		how             task.Resumable
		digests         []string
		header          http.Header
		told, toldWants string
	}{
		"plain":     {task.ResumableNo, []string{digests["sha-256"]}, nil, member("sha-256", narrow[:]), ""},
		"ietf":      {task.ResumableIETF, []string{digests["sha-256"]}, nil, member("sha-256", narrow[:]), "sha-256=10"},
		"two":       {task.ResumableIETF, []string{digests["sha-512"], digests["sha-256"]}, nil, member("sha-512", wide[:]) + ", " + member("sha-256", narrow[:]), "sha-512=10, sha-256=10"},
		"md5":       {task.ResumableIETF, []string{digests["md5"]}, nil, "", ""},
		"own":       {task.ResumableIETF, []string{digests["sha-256"]}, http.Header{"repr-digest": {"x=1"}, "Want-Repr-Digest": {"md5=1"}}, "x=1", "md5=1"},
		"no digest": {task.ResumableIETF, nil, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, careful := range []bool{true, false} {
				u := newUploading(t, bulk)
				if careful {
					u = newCareful(t, bulk)
				}
				u.a.Spec.Upload, u.a.Spec.Request.Header = &task.UploadSpec{Resumable: c.how, Digests: c.digests}, c.header
				if c.how != task.ResumableNo {
					u.srv.Always("/f", UploadAll(nth("PATCH", 1, UploadCut(100_000)), nth("POST", 1, UploadCut(100_000))))
				}
				u.uploaded(u.retried(3))
				for _, r := range u.srv.Requests() {
					told, wants := r.Header.Get("Repr-Digest"), r.Header.Get("Want-Repr-Digest")
					if r.Method == "POST" && (told != c.told || wants != c.toldWants) || r.Method != "POST" && (told != "" || wants != "") {
						t.Errorf("%s has %q and %q", r.Method, told, wants)
					}
				}
			}
		})
	}
}

// What the server says that it has is compared where that can mean the upload alone.
func TestUploadDigestOfServer(t *testing.T) {
	narrow := bulk.SHA256()
	wrong := Body{Seed: 3, Size: 1}.SHA256()
	for name, c := range map[string]struct {
		field  string
		status int // of the answer without content; 0: one with content
		fails  bool
	}{
		"same":               {member("sha-256", narrow[:]), 204, false},
		"other":              {member("sha-256", wrong[:]), 204, true},
		"of the content":     {member("sha-256", wrong[:]), 0, false}, // RFC 9530, Appendix B.8
		"unknown algorithm":  {member("sha", wrong[:20]), 204, false},
		"another algorithm":  {member("md5", wrong[:16]), 204, false},
		"no digest":          {"sha-256=1", 204, false},
		"one is not the one": {member("sha-256", wrong[:]) + ", " + member("md5", wrong[:16]), 204, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, lost := range []bool{false, true} {
				u := newCareful(t, bulk)
				u.a.Spec.Upload.Digests = []string{"sha-256=" + hexa(narrow)}
				steps := []UploadStep{UploadHeader("Repr-Digest", c.field)}
				if c.status != 0 {
					steps = append(steps, UploadFinal(c.status, "", ""))
				}
				if lost {
					steps = append(steps, nth("PATCH", 1, UploadLosesAnswer()))
				}
				u.srv.Always("/f", UploadAll(steps...))
				if lost {
					u.attempt()
				}
				_, err := u.attempt()
				fails := c.fails || lost && c.status == 0 // HEAD's has no content
				if !fails && err != nil || fails && task.CodeOf(err) != task.DigestMismatch {
					t.Fatalf("lost %v: %v", lost, err)
				}
				if fails && (!strings.Contains(err.Error(), hexa(narrow)) || !strings.Contains(err.Error(), hexa(wrong)) || u.last.state != nil ||
					!strings.HasSuffix(u.methods(), "DELETE")) {
					t.Errorf("lost %v: %v; state %+v, asked %s", lost, err, u.last.state, u.methods())
				}
			}
		})
	}
}

// What a server holds already was hashed when it was begun.
func TestUploadIsHashedOnce(t *testing.T) {
	u := newCareful(t, bulk)
	u.a.Spec.Upload.Digests = []string{digestsOf(bulk)["sha-512"], digestsOf(bulk)["md5"]}
	opened, read, closed := fromCounted(u.a, bulk)
	u.srv.Always("/f", nth("PATCH", 1, UploadStatus(503)))
	u.attempt()
	for range opened.Load() {
		<-closed
	}
	before := read.Load()
	u.uploaded(u.retried(1))
	if n := read.Load() - before; n != bulk.Size {
		t.Errorf("the second attempt has read %d bytes; opened %d times", n, opened.Load())
	}
}

// A stream that can be read only once cannot be hashed first.
func TestUploadDigestOfStreamOnce(t *testing.T) {
	u := newUploading(t, bulk)
	u.a.Spec.Upload.Digests = []string{digestsOf(bulk)["sha-256"]}
	fromStream(u.a, bulk, bulk.Size)
	open, opened := u.a.Body, 0
	u.a.Body = func() (io.ReadCloser, error) {
		if opened++; opened > 1 {
			return nil, &task.Error{Op: "rewind request body", Code: task.BodyStreamExhausted}
		}
		return open()
	}
	_, err := u.attempt()
	wantCode(t, err, task.BodyStreamExhausted)
	if len(u.srv.Requests()) != 0 {
		t.Errorf("asked %s", u.methods())
	}
}

// A digest that cannot be read is one that cannot be met.
func TestUploadDigestIsNone(t *testing.T) {
	u := newUploading(t, bulk)
	u.a.Spec.Upload.Digests = []string{"crc32=00"}
	_, err := u.attempt()
	wantCode(t, err, task.DigestMismatch)
	u.asked("")
}

// slow is a stream that has something to give each while.
type slow struct {
	io.Reader
	every time.Duration
}

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(s.every)
	return s.Reader.Read(p)
}

// To hash a body is no idleness, whatever it takes, and ends when the attempt is to end.
func TestHashingIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTask(task.Upload, roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Request: req, Header: http.Header{}, Body: http.NoBody}, nil
		}), "http://origin.test/f")
		a.Spec.Request.Method, a.Spec.Upload = "PUT", &task.UploadSpec{Digests: []string{digestsOf(bulk)["sha-256"]}}
		a.Spec.Request.Body = &task.Body{Size: bulk.Size}
		a.Body = func() (io.ReadCloser, error) { return io.NopCloser(slow{bulk.Reader(), 59 * time.Minute}), nil }
		if _, err := Run(t.Context(), a); err != nil {
			t.Error(err)
		}

		why := errors.New("suspended")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(90*time.Minute, func() { cancel(why) })
		begun := time.Now()
		_, err := Run(ctx, a)
		if took := time.Since(begun); err != why || took != 90*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		time.Sleep(time.Hour) // until the Read that is under way has returned
	})
	u := newUploading(t, bulk)
	u.a.Spec.Upload.Digests = []string{digestsOf(bulk)["sha-256"]}
	why := errors.New("cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	u.a.Observer = new(resumer)
	if _, err := Run(ctx, u.a); err != why {
		t.Errorf("a file: %v", err)
	}
}
