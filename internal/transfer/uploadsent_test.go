package transfer

import (
	"net/http"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// heldUpload has the first n bytes of a body leave, in one piece, and no more: what the server has of it is n.
func heldUpload(t *testing.T, body Body, n int64, opts ...UploadOption) *uploading {
	t.Helper()
	u := newCareful(t, body, append(opts, UploadLimits(UploadLimit{MaxAppendSize: n}))...)
	u.srv.Always("/f", nth("PATCH", 2, UploadStatus(503)))
	if res, err := u.attempt(); err != nil || res.Response.Status != 503 {
		t.Fatalf("%v, %+v", err, res.Response)
	}
	return u
}

// What may have left is kept, over attempts.
func TestSent(t *testing.T) {
	u := newUploading(t, vast)
	u.srv.Script("/f", UploadCut(100_000), UploadHonest(), UploadCut(100_000))
	u.attempt()
	first := u.last.state.Sent
	if first < 100_000 || first >= vast.Size || u.last.state.Whole {
		t.Errorf("%d bytes may have left of which 100000 came", first)
	}
	u.attempt()
	if s := u.last.state; s.Sent < 200_000 || s.Sent < first || s.Sent >= vast.Size {
		t.Errorf("%d bytes may have left after %d; 200000 came", s.Sent, first)
	}
	u.uploaded(u.retried(1))

	u = newUploading(t, bulk)
	u.srv.Script("/f", UploadLosesAnswer(), UploadStatus(500))
	u.attempt()
	u.attempt()
	if s := u.last.state; s.Sent != bulk.Size || !s.Whole {
		t.Errorf("%+v", s)
	}
}

// A server that has more than can have come has it from elsewhere. Its upload is dropped, and made anew, once.
func TestServerHasMoreThanWasSent(t *testing.T) {
	more := func(u *uploading, step UploadStep) {
		u.srv.Always("/f", UploadWhen("HEAD", step))
	}
	for name, step := range map[string]UploadStep{
		"it says so":     UploadOffsetBy(1),
		"it is so":       UploadAdvances(1, bulk),
		"it has all":     UploadAdvances(bulk.Size-200_000, bulk),
		"it is others'":  UploadAdvances(1, Body{Seed: 1, Size: bulk.Size}),
		"it says it all": UploadOffset("600000"),
	} {
		t.Run(name, func(t *testing.T) {
			u := heldUpload(t, bulk, 200_000)
			if s := u.last.state; s.Sent < 200_000 || s.Sent > 400_000 {
				t.Fatalf("%+v", s)
			}
			u.last.state.Sent = 200_000 // some of the piece that was refused may have left
			more(u, nth("HEAD", 1, step))
			before := len(u.srv.Requests())
			res := u.retried(1)
			if up := u.srv.Uploads(); len(up) != 2 || up[0].Gone == 0 || up[1].Check(bulk) != nil || res.Response.Status != 201 {
				t.Errorf("%+v, %+v", up, res.Response)
			}
			if all := u.srv.Requests()[before:]; all[0].Method != "HEAD" || all[1].Method != "DELETE" {
				t.Errorf("asked %s", u.methods())
			}
		})
	}

	u := heldUpload(t, bulk, 200_000) // one that does so again
	u.last.state.Sent = 200_000
	u.srv.Always("/f", UploadAll(UploadWhen("HEAD", UploadAdvances(300_000, bulk)), nth("PATCH", 3, UploadConflicts()), nth("PATCH", 1, UploadConflicts())))
	_, err := u.attempt()
	wantCode(t, err, task.BadServerResponse)
	if !strings.Contains(err.Error(), "somebody else") || u.last.state != nil || u.srv.Uploads()[0].Gone == 0 || u.srv.Uploads()[1].Gone == 0 {
		t.Errorf("%v; state %+v, asked %s", err, u.last.state, u.methods())
	}

	u = heldUpload(t, bulk, 200_000) // an earlier process has ended without a word
	u.last.state.Sent, u.last.state.Whole = 200_000, true
	more(u, nth("HEAD", 1, UploadAdvances(10_000, bulk)))
	u.retried(1)
	if up := u.srv.Uploads(); len(up) != 1 || up[0].Check(bulk) != nil {
		t.Errorf("%+v", up)
	}
}

// What an upload that was lost had sent is not what its successor may have.
func TestSentBeginsAnew(t *testing.T) {
	u := newCareful(t, Body{Seed: 8, Size: 1_000_000}, UploadLimits(UploadLimit{MaxAppendSize: 200_000}))
	u.srv.Always("/f", UploadAll(nth("PATCH", 3, UploadForgets(404)), nth("PATCH", 5, UploadConflicts()), nth("HEAD", 1, UploadAdvances(250_000, u.body))))
	_, err := u.attempt()
	wantCode(t, err, task.BadServerResponse)
	if !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("%v; asked %s", err, u.methods())
	}
}

// A server that checks the whole may have what comes from elsewhere.
func TestServerHasMoreAndChecks(t *testing.T) {
	for _, theirs := range []Body{bulk, {Seed: 1, Size: bulk.Size}} {
		u := newCareful(t, bulk, UploadLimits(UploadLimit{MaxAppendSize: 200_000}))
		u.a.Spec.Upload.Digests = []string{"sha-256=" + hexa(bulk.SHA256())}
		u.srv.Always("/f", nth("PATCH", 2, UploadStatus(503)))
		u.attempt()
		u.last.state.Sent = 200_000
		u.srv.Always("/f", nth("HEAD", 1, UploadAdvances(300_000, theirs)))
		res, err := u.attempt()
		up := u.srv.Uploads()
		if theirs == bulk && (err != nil || len(up) != 1 || up[0].Check(bulk) != nil) || theirs != bulk && (err != nil || res.Response.Status != 400 || up[0].Complete) {
			t.Errorf("%v, %+v; %+v", err, res.Response, up)
		}
	}
}

// A 104 that tells of more than can have come is not believed.
func TestProgressBeyondSent(t *testing.T) {
	u := newUploading(t, vast, UploadProgress(100_000))
	u.srv.Always("/f", UploadAll(UploadEdit(func(status int, h http.Header) int {
		if status == interimStatus && len(h["Upload-Offset"]) > 0 {
			h["Upload-Offset"][0] = "48000000"
		}
		return status
	}), nth("POST", 1, UploadCut(300_000))))
	u.attempt()
	if u.last.state.Offset != 0 || len(u.last.confirmed) != 0 {
		t.Errorf("%+v, confirmed %v", u.last.state, u.last.confirmed)
	}
}
