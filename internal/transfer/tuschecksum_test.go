package transfer

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

const second = firstPiece // where the second piece begins

// chunked is a body of three.
var chunked = Body{Seed: 3, Size: 600_000}

// Each piece has the best checksum that both know.
func TestTusChecksum(t *testing.T) {
	for _, c := range []struct {
		known []string
		want  string
	}{
		{[]string{"sha1", "crc32", "sha256", "md5", "sha512"}, "sha256"},
		{[]string{"sha1", "sha512"}, "sha512"},
		{[]string{"md5", "sha1"}, "sha1"},
		{[]string{"crc32", "md5"}, "md5"},
		{[]string{"crc32"}, "crc32"},
		{nil, ""},
	} {
		u := newTusUploading(t, chunked, extensions("checksum"), TusChecksums(c.known...))
		u.uploaded(u.retried(1))
		list := u.srv.RequestsBy("PATCH")
		if c.want == "" && len(list) != 1 || c.want != "" && len(list) < 2 {
			t.Errorf("%v: %s", c.known, u.methods())
		}
		for _, r := range list {
			if name, _, _ := strings.Cut(r.Header.Get("Upload-Checksum"), " "); name != c.want {
				t.Errorf("%v: sent %q", c.known, r.Header.Get("Upload-Checksum"))
			}
		}
		if u.srv.Received() != chunked.Size {
			t.Errorf("%d bytes were sent", u.srv.Received())
		}
	}
	// A body that is read once is not cut in pieces, nor is one where the server does not offer it.
	u := newTusUploading(t, chunked, extensions("checksum"))
	fromStream(u.a, chunked, chunked.Size)
	u.uploaded(u.retried(1))
	u.asked("OPTIONS, POST, PATCH 0")
	u = newTusUploading(t, chunked, extensions())
	u.uploaded(u.retried(1))
	u.asked("OPTIONS, POST, PATCH 0")
}

// A piece that is cut is lost as a whole, and no more than it is sent again.
func TestTusPieceIsCut(t *testing.T) {
	u := newTusUploading(t, chunked, extensions("checksum"))
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadHonest(), UploadCut(1000))
	_, err := u.attempt()
	wantCode(t, err, task.ConnectionLost)
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadHonest(), UploadLosesAnswer())
	u.attempt()
	u.uploaded(u.retried(1))
	u.asked(fmt.Sprintf("OPTIONS, POST, PATCH 0, PATCH %d, OPTIONS, HEAD, PATCH %[1]d, PATCH %d, OPTIONS, HEAD", second, 2*second))
	if n := u.srv.Received(); n != chunked.Size+1000 {
		t.Errorf("%d bytes were sent", n)
	}
}

// 460 is a piece that is sent again, a few times.
func TestTusMismatch(t *testing.T) {
	u := newTusUploading(t, chunked, extensions("checksum"))
	again := strings.Repeat(fmt.Sprintf(", HEAD, PATCH %d", second), 2)
	wrong := UploadStatus(460)
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadHonest(), wrong, UploadHonest(), wrong)
	u.uploaded(u.retried(1))
	u.asked(fmt.Sprintf("OPTIONS, POST, PATCH 0, PATCH %d%s", second, again))

	u = newTusUploading(t, chunked, extensions("checksum"))
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadHonest(), wrong, UploadHonest(), wrong, UploadHonest(), wrong)
	_, err := u.attempt()
	wantCode(t, err, task.BadServerResponse)
	if e := err.(*task.Error); e.Status != 460 || !strings.Contains(err.Error(), fmt.Sprintf("3 times in a row that bytes %d to 600000 of the upload have not the sha256", second)) {
		t.Errorf("%v, status %d", err, e.Status)
	}
	if u.last.state == nil {
		t.Error("what came before is given up")
	}
	u.asked(fmt.Sprintf("OPTIONS, POST, PATCH 0, PATCH %d%s", second, again))

	// To each its own: pieces that are mismatched once do not add up.
	u = newTusUploading(t, chunked, extensions("checksum"))
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), wrong, UploadHonest(), wrong, UploadHonest(), UploadHonest(), wrong, UploadHonest(), wrong)
	u.uploaded(u.retried(1))

	// Where no checksum was sent, it is an answer like others.
	u = newTusUploading(t, chunked, extensions())
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), wrong)
	if res, err := u.attempt(); err != nil || res.Response.Status != 460 {
		t.Errorf("%v, %+v", err, res.Response)
	}
}

// A piece that is hashed ahead is not sent where the server goes on elsewhere.
func TestTusPieceElsewhere(t *testing.T) {
	u := newTusUploading(t, chunked, extensions("checksum"))
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadHonest(), UploadAll(UploadRollsBack(1000)))
	u.uploaded(u.retried(1))
	list := u.srv.RequestsBy("PATCH")
	if at := list[2].Header.Get("Upload-Offset"); at != fmt.Sprint(second-1000) {
		t.Errorf("went on at %s: %s", at, u.methods())
	}
	all := chunked.Bytes()
	sum := sha256.Sum256(all[second-1000 : second-1000+list[2].BodySize])
	if got := list[2].Header.Get("Upload-Checksum"); got != "sha256 "+base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("sent %s", got)
	}
}

// Pieces grow as long as they are fast, whose file may end at any byte.
func TestTusPiecesGrow(t *testing.T) {
	u := newTusUploading(t, vast, extensions("checksum"), UploadsIn(t.TempDir()))
	u.uploaded(u.retried(1))
	list := u.srv.RequestsBy("PATCH")
	if most := list[len(list)-2].BodySize; most < 4<<20 || len(list) > 15 {
		t.Errorf("%d pieces, the last but one has %d bytes", len(list), most)
	}
}

// A file that cannot be read is told of as at any upload.
func TestTusSourceIsCut(t *testing.T) {
	u := newTusUploading(t, chunked, extensions("checksum"))
	path := u.a.Spec.Request.Body.Path
	u.srv.Script("/files/", UploadHonest(), func(*UploadReply) { os.Truncate(path, 1000) })
	_, err := u.attempt()
	wantCode(t, err, task.SourceChanged)
	if !strings.HasSuffix(u.methods(), "DELETE") {
		t.Errorf("asked %s", u.methods())
	}
}
