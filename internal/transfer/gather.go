package transfer

import (
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	// flushBytes gathered bytes are written at once, and so are fewer of them flushAge after the first came.
	flushBytes = 128 << 10
	flushAge   = 200 * time.Millisecond
)

// A gatherer writes a body to the part file and hashes it. What arrives in small pieces, as it does over TLS, is
// gathered first. A timer writes what is old enough while a read waits for more: what a server has sent before it stalls
// does not stay in memory, where a kill would cost it and no checkpoint sees it.
//
// One goroutine reads into room and calls added. end makes it ready for another body.
type gatherer struct {
	d   *download
	buf []byte

	mu      sync.Mutex
	at      int64 // position of buf[0] in the file
	n       int   // bytes gathered in buf
	written int   // of them; the others are not older than flushAge
	timer   *time.Timer
	armed   bool
	open    bool
	err     error // of a write; none follows it
}

// begin starts a body, whose first byte is the file's at.
func (g *gatherer) begin(d *download, buf []byte, at int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.d, g.buf, g.at, g.n, g.written, g.open, g.err = d, buf, at, 0, 0, true, nil
}

// room is where the next bytes are read to; it is never empty.
func (g *gatherer) room() []byte { return g.buf[g.n:] }

// added says that n bytes are in room. last writes all that is gathered. The error is also that of an earlier write.
func (g *gatherer) added(n int, last bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n += n
	switch {
	case g.err != nil || g.written == g.n && !last:
	case last || g.n >= flushBytes || g.n == len(g.buf):
		g.d.idle.hold() // the disk may be slow
		g.write()
		g.d.idle.release()
		g.at, g.n, g.written = g.at+int64(g.written), 0, 0
	case !g.armed:
		g.arm()
	}
	return g.err
}

// write writes what is gathered. Called with mu.
func (g *gatherer) write() {
	p := g.buf[g.written:g.n]
	if len(p) == 0 {
		return
	}
	at := g.at + int64(g.written)
	n, err := g.d.part.WriteAt(p, at)
	g.d.digest.write(p[:n], at)
	g.written += n
	if err != nil {
		g.err = fileError("write part file", g.d.to.part, err, task.CannotWriteFile)
	}
}

// arm makes the timer write what is gathered when it is flushAge old. Called with mu.
func (g *gatherer) arm() {
	g.armed = true
	if g.timer != nil {
		g.timer.Reset(flushAge)
		return
	}
	g.timer = time.AfterFunc(flushAge, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		// What it finds may have come after a write, and be younger: then it is written early.
		g.armed = false
		if g.open && g.err == nil {
			g.write()
		}
	})
}

// end ends the body: nothing is written any more, and buf is the caller's again. It may be called twice.
func (g *gatherer) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = false
	if g.armed {
		g.armed = !g.timer.Stop() // where it has fired, it waits for mu and disarms itself
	}
}
