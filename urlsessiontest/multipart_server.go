package urlsessiontest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// MultipartServer is a store of objects that come in parts, to presigned URLs, as
// S3 and its like take them. Make one with [NewMultipartServer] and Close it.
//
//	srv := urlsessiontest.NewMultipartServer(urlsessiontest.MinimumPart(1000))
//	defer srv.Close()
//	m := srv.Create("film.mp4", 3)
//	m.Script(2, urlsessiontest.UploadCut(500), urlsessiontest.UploadStatus(503))
//
// The steps are those of [UploadServer]; what they say of 104s and offsets has no
// meaning here. A part that does not come whole leaves nothing.
type MultipartServer struct {
	*uploadHost
	secret []byte // of the signatures

	multiparts map[string]*Multipart // by their ID; guarded by mu
}

// MinimumPart is the least size of each part but the last, 5 MiB by default as at
// S3.
func MinimumPart(n int64) UploadOption { return func(h *uploadHost) { h.minimum = n } }

// NewMultipartServer starts a store on a free port of 127.0.0.1. It panics if the
// machine has none.
func NewMultipartServer(opts ...UploadOption) *MultipartServer {
	s := &MultipartServer{uploadHost: newUploadHost(opts), secret: make([]byte, 32), multiparts: make(map[string]*Multipart)}
	rand.Read(s.secret)
	s.start(s.serve)
	return s
}

// Close is [Server.Close]; the content of parts is gone with it if it was kept in
// files.
func (s *MultipartServer) Close() {
	s.uploadHost.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.multiparts {
		for _, p := range m.held {
			p.content.close()
		}
	}
}

// Create begins an object of a number of parts. Fewer may come.
func (s *MultipartServer) Create(key string, parts int) *Multipart {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &Multipart{Key: key, ID: fmt.Sprintf("upload-%d", len(s.multiparts)+1), server: s, held: make(map[int]multipartPart)}
	for n := 1; n <= parts; n++ {
		m.Parts = append(m.Parts, s.presign(http.MethodPut, m, n))
	}
	m.Complete, m.Abort = s.presign(http.MethodPost, m, 0), s.presign(http.MethodDelete, m, 0)
	s.multiparts[m.ID] = m
	return m
}

// presign is a URL that allows method on a part, or, for part 0, on the whole.
func (s *MultipartServer) presign(method string, m *Multipart, part int) string {
	q := url.Values{"uploadId": {m.ID}}
	if part != 0 {
		q.Set("partNumber", strconv.Itoa(part))
	}
	path := (&url.URL{Path: "/bucket/" + m.Key}).EscapedPath()
	q.Set("X-Amz-Signature", s.sign(method, path, q))
	return s.URL + path + "?" + q.Encode()
}

func (s *MultipartServer) sign(method, path string, q url.Values) string {
	h := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(h, "%s\n%s\n%s\n%s", method, path, q.Get("uploadId"), q.Get("partNumber"))
	return hex.EncodeToString(h.Sum(nil))
}

func (s *MultipartServer) serve(x *uploadExchange) {
	q := x.req.URL.Query()
	part, _ := strconv.Atoi(q.Get("partNumber"))
	x.plan(s.next(scriptKey(q.Get("uploadId"), part)), 0)
	s.mu.Lock()
	m := s.multiparts[q.Get("uploadId")]
	s.mu.Unlock()
	switch fault := x.reply.multipart; {
	case fault.refusal != nil:
		x.fail(fault.refusal.status, fault.refusal.code, fault.refusal.message)
	case x.reply.refusal != nil:
		x.answer(*x.reply.refusal)
	case !hmac.Equal([]byte(q.Get("X-Amz-Signature")), []byte(s.sign(x.req.Method, x.req.URL.EscapedPath(), q))):
		x.fail(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	case m == nil:
		x.noSuchUpload()
	case x.req.Method == http.MethodPut:
		s.part(x, m, part)
	case x.req.Method == http.MethodPost:
		s.complete(x, m)
	default: // DELETE: no other method is signed
		s.abort(x, m)
	}
}

func scriptKey(id string, part int) string { return fmt.Sprintf("%s/%d", id, part) }

// part takes one part, whole or not at all; one of the same number is replaced.
func (s *MultipartServer) part(x *uploadExchange, m *Multipart, n int) {
	switch {
	case m.State() != MultipartOpen:
		x.noSuchUpload()
		return
	case x.req.ContentLength < 0:
		x.fail(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		return
	}
	p := multipartPart{content: s.newContent()}
	sum := newDigester(map[string][]byte{"md5": nil})
	err := x.receive(func(b []byte) error {
		p.content.append(b)
		sum.Write(b)
		return nil
	})
	if err != nil {
		p.content.close()
		if x.early != 0 {
			x.answer(UploadAnswer{Status: x.early})
			return
		}
		x.cut(err)
	}
	p.sum = sum.sums["md5"].Sum(nil)
	if unused := m.hold(n, p); unused != nil {
		unused.close()
	}
	if m.State() != MultipartOpen {
		x.noSuchUpload()
		return
	}
	x.answer(UploadAnswer{Status: http.StatusOK, Header: http.Header{"Etag": {p.etag()}}, Body: "\n"})
}

func (s *MultipartServer) abort(x *uploadExchange, m *Multipart) {
	if !m.end(MultipartAborted) {
		x.noSuchUpload()
		return
	}
	x.answer(UploadAnswer{Status: http.StatusNoContent})
}

func (x *uploadExchange) noSuchUpload() {
	x.fail(http.StatusNotFound, "NoSuchUpload", "The specified multipart upload does not exist.")
}

// fail answers with an error of S3's form.
func (x *uploadExchange) fail(status int, code, message string) {
	x.answer(UploadAnswer{Status: status, Header: http.Header{"Content-Type": {"application/xml"}}, Body: xml.Header + errorXML(code, message)})
}

func errorXML(code, message string) string {
	text, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: message})
	if err != nil {
		panic("urlsessiontest: make an error's XML: " + err.Error()) // strings do not fail
	}
	return string(text)
}

// stream answers 200 and sends body in two parts, so that the first one arrives
// while the second is not there.
func (x *uploadExchange) stream(first, second string) {
	h := http.Header{"Content-Type": {"application/xml"}}
	for _, edit := range x.reply.edits {
		edit(http.StatusOK, h)
	}
	x.host.changes(func() { x.record.Status = http.StatusOK })
	if x.reply.loseAnswer {
		x.cut(errCut)
	}
	for name, values := range h {
		x.w.Header()[name] = values
	}
	fault := x.reply.multipart
	if fault.cut {
		body := first + second
		first = body[:min(fault.keep, len(body))]
	}
	io.WriteString(x.w, first)
	http.NewResponseController(x.w).Flush()
	if fault.cut {
		x.cut(errCut)
	}
	for left := fault.lasting; left > 0; left -= time.Second {
		if err := x.pause(time.Second, nil); err != nil {
			x.cut(err)
		}
		io.WriteString(x.w, " ")
		http.NewResponseController(x.w).Flush()
	}
	io.WriteString(x.w, second)
}
