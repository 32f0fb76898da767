package urlsessiontest

import (
	"net/http"
	"slices"
)

// An UploadStep is how an [UploadServer], a [TusServer] or a [MultipartServer]
// answers one request: it changes what the server would honestly do. A step runs before the
// request's body is read; one given to Always may run in several goroutines at
// once.
type UploadStep func(*UploadReply)

// UploadReply is what a server is about to do with one request.
type UploadReply struct {
	Request *http.Request // read-only, without its body

	// Version is the interop version that the request is answered by; 0 is that
	// of a server that knows nothing of uploads that resume, 1 that of a TusServer.
	Version int
	// Announcements is how many 104s with Location a creation gets; honestly 1.
	Announcements int
	// Progress is the number of bytes after which each further 104 with
	// Upload-Offset comes (interop version 5 and later); 0 is none.
	Progress int64
	// Lost is how many of the bytes of a request that did not end well are not
	// kept, from its last one back.
	Lost int64
	// Final is the target's answer if this request completes the upload.
	Final UploadAnswer

	refusal    *UploadAnswer // in place of all else
	before     []func(*uploadResource)
	edits      []func(status int, h http.Header) int
	points     []uploadPoint
	conflict   bool
	loseAnswer bool
	multipart  multipartFault
}

// UploadAnswer is a status, further fields, and a body: an empty one is a line
// of text that names the status.
type UploadAnswer struct {
	Status int
	Header http.Header
	Body   string
}

// uploadPoint is after n bytes of a request's body. The error of do ends the
// transfer: errCut, errAbort or errEarly.
type uploadPoint struct {
	n  int64
	do func(*uploadExchange) error
}

// UploadAll applies every step to the same reply, in order.
func UploadAll(steps ...UploadStep) UploadStep {
	return func(r *UploadReply) {
		for _, step := range steps {
			step(r)
		}
	}
}

// UploadWhen applies the steps only to requests of method.
func UploadWhen(method string, steps ...UploadStep) UploadStep {
	return func(r *UploadReply) {
		if r.Request.Method == method {
			UploadAll(steps...)(r)
		}
	}
}

// UploadHonest changes nothing.
func UploadHonest() UploadStep { return func(*UploadReply) {} }

// UploadEdit changes status and header of each answer, 104s too, before it is
// sent; what it returns is the status. That of a 104 is better left alone.
func UploadEdit(edit func(status int, h http.Header) int) UploadStep {
	return func(r *UploadReply) { r.edits = append(r.edits, edit) }
}

// UploadHeader replaces a field of each answer but 104s; without values it
// removes it, as in UploadHeader("ETag").
func UploadHeader(name string, values ...string) UploadStep {
	return UploadEdit(func(status int, h http.Header) int {
		if status >= 200 {
			h.Del(name)
			for _, v := range values {
				h.Add(name, v)
			}
		}
		return status
	})
}

// UploadFinal is what the target answers if this request completes the upload;
// without it that is 201 and "received N bytes\n". See [UploadServer.Always] for
// all requests.
func UploadFinal(status int, contentType, body string) UploadStep {
	return func(r *UploadReply) {
		r.Final = UploadAnswer{Status: status, Header: http.Header{"Content-Type": {contentType}}, Body: body}
	}
}

// uploadScript is the answers for one path; its host's mu guards it.
type uploadScript struct {
	steps  []UploadStep // consumed one a request
	always UploadStep   // once steps is empty; nil is honest
}

func (h *uploadHost) script(key string, steps []UploadStep) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.scriptOf(key)
	s.steps = append(s.steps, steps...)
}

func (h *uploadHost) always(key string, step UploadStep) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scriptOf(key).always = step
}

// scriptOf is the entry of key, made if need be; h.mu is held.
func (h *uploadHost) scriptOf(key string) *uploadScript {
	s := h.scripts[key]
	if s == nil {
		s = new(uploadScript)
		h.scripts[key] = s
	}
	return s
}

// scripted reports whether key has a script of its own.
func (h *uploadHost) scripted(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scripts[key] != nil
}

// next takes the step of a request for key off its script.
func (h *uploadHost) next(key string) UploadStep {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.scriptOf(key)
	if len(s.steps) == 0 && s.always == nil {
		s = h.scriptOf(Every)
	}
	switch {
	case len(s.steps) > 0:
		step := s.steps[0]
		s.steps = slices.Delete(s.steps, 0, 1)
		return step
	case s.always != nil:
		return s.always
	}
	return UploadHonest()
}
