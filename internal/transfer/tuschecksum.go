package transfer

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// A piece is what one PATCH has where each is checked. It is taken whole or not at all: what is sent again after a cut is up to
// a piece, and between two the wire is silent for a round trip. So a piece is what is sent in half a second to one, whatever the
// rate: a cut costs at most so much, and a round trip of 50 ms a tenth of the rate at most. It begins small, which a slow
// link gets through between two cuts, and doubles while that goes faster.
const (
	firstPiece = 256 << 10
	mostPiece  = 64 << 20 // also what a server may hold in memory until its checksum is right
	pieceTime  = time.Second / 2
)

// mostMismatches is how many times in a row the server may find another checksum than that of the piece.
const mostMismatches = 3

// statusMismatch is 460, Checksum Mismatch.
const statusMismatch = 460

// hashedAtOnce is how many bytes are hashed between two looks at whether they are still wanted.
const hashedAtOnce = 1 << 20

const checksumField = "Upload-Checksum"

// A tusChecksum is an algorithm by tus's name.
type tusChecksum struct {
	name string
	new  func() hash.Hash
}

// tusChecksums, the best first: what may be forged only comes before what is known to be, and the one that is computed faster,
// by instructions of its own, before the longer.
var tusChecksums = []*tusChecksum{
	{"sha256", sha256.New},
	{"sha512", sha512.New},
	{"sha1", sha1.New},
	{"md5", md5.New},
	{"crc32", func() hash.Hash { return crc32.NewIEEE() }},
}

// bestChecksum is the best that the server knows too; nil: there is none.
func bestChecksum(known []string) *tusChecksum {
	for _, c := range tusChecksums {
		if slices.Contains(known, c.name) {
			return c
		}
	}
	return nil
}

// tusPieces are those of an upload, within an attempt. Each is hashed while the one before is sent: at 900 MB/s, which SHA-256 has
// of one core, the wire would else be silent for a tenth of the time at 100 MB/s. On two busy cores, of a wire of 105 MB/s, 61 and 66
// were measured without that, 79 and 92 with it.
type tusPieces struct {
	size       int64 // of the next that is hashed; 0: none was
	to         int64 // where the one ends that was sent last: it was taken if the next begins there
	sent       time.Time
	mismatches int // in a row
	ahead      *summing
}

// summing is a piece whose checksum is computed, by a goroutine that ends with its context.
type summing struct {
	from, to int64
	end      context.CancelFunc
	done     chan struct{} // closed when sum or err is there
	sum      []byte
	err      error
}

// checked says whether what is sent to the server's upload is checked by it: it knows a checksum, and the body can be read twice.
func (u *upload) checked() bool { return u.tus != nil && u.tus.checksum != nil && u.body.file != nil }

// piece is how much of the body from to upto goes into the next PATCH, and its Upload-Checksum.
func (u *upload) piece(from, upto int64) (to int64, checksum string, err error) {
	p := &u.pieces
	if p.to == from {
		p.mismatches = 0
	}
	switch {
	case p.size == 0:
		p.size = firstPiece
	case p.to == from && time.Since(p.sent) < pieceTime:
		p.size = min(2*p.size, mostPiece)
	}
	s := p.ahead
	if s == nil || s.from != from {
		p.stop()
		s = u.summing(from, min(from+p.size, upto))
	}
	u.idle.hold()
	<-s.done
	u.idle.release()
	s.end()
	p.ahead = nil
	if s.err != nil {
		return 0, "", u.body.readError(s.err)
	}
	if s.to < upto {
		p.ahead = u.summing(s.to, min(s.to+p.size, upto))
	}
	p.sent, p.to = time.Now(), s.to
	return s.to, u.tus.checksum.name + " " + base64.StdEncoding.EncodeToString(s.sum), nil
}

func (u *upload) summing(from, to int64) *summing {
	s := &summing{from: from, to: to, done: make(chan struct{})}
	var ctx context.Context
	ctx, s.end = context.WithCancel(u.req.Context())
	go func() {
		defer close(s.done)
		h := u.tus.checksum.new()
		for at := from; at < to && s.err == nil; at += hashedAtOnce {
			n := min(hashedAtOnce, to-at)
			if s.err = context.Cause(ctx); s.err != nil {
				return
			}
			if _, err := io.Copy(h, u.body.section(at, n)); err != nil {
				s.err = err
			}
		}
		s.sum = h.Sum(nil)
	}()
	return s
}

// stop ends what is hashed ahead.
func (p *tusPieces) stop() {
	if p.ahead != nil {
		p.ahead.end()
		<-p.ahead.done
		p.ahead = nil
	}
}

// mismatch is the answer 460 to a piece, of which the server keeps nothing: it is sent again.
func (u *upload) mismatch(resp *http.Response) error {
	resp.Body.Close()
	if u.pieces.mismatches++; u.pieces.mismatches < mostMismatches {
		u.at = -1
		return nil
	}
	return u.fail(task.BadServerResponse, resp.StatusCode, fmt.Errorf(
		"the server has found %d times in a row that bytes %d to %d of the upload have not the %s that was sent with them: something on the way, or its disk, changes them; try again, or upload without resuming",
		u.pieces.mismatches, u.request.from, u.request.to, u.tus.checksum.name))
}
