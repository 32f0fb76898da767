package urlsessiontest

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// Upload is what a server holds of one upload, as far as it had come when it was
// asked for.
type Upload struct {
	Target   string      // path of the resource that it is for
	Location string      // path of the upload resource; empty at a plain server
	Method   string      // of the request that created it
	Header   http.Header // of that request
	Version  int         // the interop version; 0 at a plain server, 1 at a TusServer

	Offset   int64 // bytes held
	Length   int64 // of the whole, −1 if the client has not told
	Complete bool  // all is there, and the target has it
	Gone     int   // what the upload resource answers to everything, as 404; 0 while it is active

	content uploadContent
}

// Reader reads what is held, from the start.
func (u Upload) Reader() io.Reader { return io.NewSectionReader(u.content, 0, u.Offset) }

// Check is [Body.Check] of what is held of a complete upload; one that is not
// complete differs.
func (u Upload) Check(b Body) error {
	if !u.Complete {
		return fmt.Errorf("urlsessiontest: the upload to %s is not complete: it has %d of %d bytes", u.Target, u.Offset, b.Size)
	}
	return b.Check(u.Reader())
}

// uploadResource is an upload with what the server alone knows of it. The host's
// mu guards it; who holds it (acquire) may change it.
type uploadResource struct {
	host    *uploadHost
	upload  Upload
	content uploadContent
	expires time.Time // zero: never
	want    string    // Want-Repr-Digest of the creation
	digests map[string][]byte

	holder *uploadExchange
	freed  chan struct{} // closed when holder is done
}

func (up *uploadResource) offset() int64 { return up.content.length() }

func (up *uploadResource) append(p []byte) {
	up.content.append(p)
	up.update(func(u *Upload) {})
}

func (up *uploadResource) truncate(n int64) {
	up.content.truncate(n)
	up.update(func(u *Upload) {})
}

func (up *uploadResource) goAway(status int) { up.update(func(u *Upload) { u.Gone = status }) }

func (up *uploadResource) update(change func(*Upload)) {
	up.host.changes(func() {
		change(&up.upload)
		up.upload.Offset = up.content.length()
	})
}

// state is the upload now.
func (up *uploadResource) state() Upload {
	up.host.mu.Lock()
	defer up.host.mu.Unlock()
	if up.upload.Gone == 0 && !up.expires.IsZero() && !time.Now().Before(up.expires) {
		up.upload.Gone = http.StatusGone
	}
	return up.upload
}

// renew has the upload live until t.
func (up *uploadResource) renew(t time.Time) {
	up.host.mu.Lock()
	defer up.host.mu.Unlock()
	up.expires = t
}

// acquire makes x the only request that has to do with the upload: one under way
// is ended first, as the drafts recommend.
func (up *uploadResource) acquire(x *uploadExchange) {
	for {
		up.host.mu.Lock()
		if up.holder == nil {
			up.holder, up.freed = x, make(chan struct{})
			up.host.mu.Unlock()
			return
		}
		up.holder.interrupt()
		freed := up.freed
		up.host.mu.Unlock()
		<-freed
	}
}

// tryAcquire is acquire, unless another request has to do with the upload.
func (up *uploadResource) tryAcquire(x *uploadExchange) bool {
	up.host.mu.Lock()
	defer up.host.mu.Unlock()
	if up.holder != nil {
		return false
	}
	up.holder, up.freed = x, make(chan struct{})
	return true
}

// release ends acquire; x may then no longer be interrupted. Releasing twice does
// nothing.
func (up *uploadResource) release(x *uploadExchange) {
	up.host.mu.Lock()
	defer up.host.mu.Unlock()
	if up.holder == x {
		up.holder = nil
		close(up.freed)
	}
}
