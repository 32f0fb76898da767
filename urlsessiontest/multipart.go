package urlsessiontest

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Multipart is an object of a [MultipartServer] that comes in parts.
type Multipart struct {
	Key, ID         string
	Parts           []string // presigned URLs for PUT; part 1 is at index 0
	Complete, Abort string   // presigned URLs for POST and DELETE

	server *MultipartServer

	// The server's mu guards these.
	held   map[int]multipartPart
	listed []int // the parts of the object, once it is completed
	state  MultipartState
}

// MultipartState is what has become of a [Multipart].
type MultipartState int

const (
	MultipartOpen      MultipartState = iota // parts may come
	MultipartCompleted                       // it is an object
	MultipartAborted                         // it is gone
)

type multipartPart struct {
	content uploadContent
	sum     []byte // MD5
}

// etag is the part's entity tag, quotes included.
func (p multipartPart) etag() string { return `"` + hex.EncodeToString(p.sum) + `"` }

// Script appends steps to the script of a part, from 1 on: each request for it
// consumes one. Part 0 is the completion and the abortion.
func (m *Multipart) Script(part int, steps ...UploadStep) {
	m.server.script(scriptKey(m.ID, part), steps)
}

// Always sets what answers the requests for a part, or for 0, beside its script.
func (m *Multipart) Always(part int, step UploadStep) {
	m.server.always(scriptKey(m.ID, part), step)
}

// State is what has become of m.
func (m *Multipart) State() MultipartState {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	return m.state
}

// Held is the numbers of the parts that have come, in ascending order.
func (m *Multipart) Held() []int {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	return slices.Sorted(maps.Keys(m.held))
}

// Check is [Body.Check] of the object; if m is not completed it differs.
func (m *Multipart) Check(b Body) error {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if m.state != MultipartCompleted {
		return fmt.Errorf("urlsessiontest: the object %s is not completed: it has %d parts", m.Key, len(m.held))
	}
	var parts []io.Reader
	for _, n := range m.listed {
		c := m.held[n].content
		parts = append(parts, io.NewSectionReader(c, 0, c.length()))
	}
	return b.Check(io.MultiReader(parts...))
}

// hold makes p part n of an open m, and returns the content that is of no more
// use: that of the part before it, or p's own.
func (m *Multipart) hold(n int, p multipartPart) (unused uploadContent) {
	m.server.changes(func() {
		if m.state != MultipartOpen {
			unused = p.content
			return
		}
		unused = m.held[n].content
		m.held[n] = p
	})
	return unused
}

// end makes an open m what state says; false if it is not open.
func (m *Multipart) end(state MultipartState) (ok bool) {
	m.server.changes(func() {
		if ok = m.state == MultipartOpen; ok {
			m.state = state
		}
	})
	return ok
}

// etag is that of the object; the server's mu is held.
func (m *Multipart) etag() string {
	h := md5.New()
	for _, n := range m.listed {
		h.Write(m.held[n].sum)
	}
	return fmt.Sprintf(`"%x-%d"`, h.Sum(nil), len(m.listed))
}
