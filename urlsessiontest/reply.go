package urlsessiontest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Step is how one request is answered: it changes the reply that the server
// would honestly give. The functions of this package return Steps; your own is
// a function literal. A Step runs before the request's body is read, in the
// goroutine of its connection; a Step given to [Server.Always] may run in
// several at once.
type Step func(*Reply)

// Reply is an answer before it is sent. It starts as the honest one; what a Step
// leaves here is sent as it stands: status line, Header in alphabetical order,
// Body. In particular Content-Length and Transfer-Encoding are fields of Header
// like all others, whatever Body and Chunked are.
type Reply struct {
	Request *http.Request // read-only, without its body

	Proto  string // "HTTP/1.1"
	Status int
	Reason string // default http.StatusText(Status)
	Header http.Header

	// StatusLine, if not empty, is sent as it stands in place of Proto, Status
	// and Reason.
	StatusLine string
	// Lines are sent as they stand after Header, be they fields or not.
	Lines []string

	// Body is sent up to its EOF, or to its first error, which cuts the
	// connection. nil is no body. It is not sent in answer to HEAD.
	Body io.Reader
	// Chunked sends Body in chunks and a last one. (It does not say so: see
	// [Chunked] for a step that also sets Transfer-Encoding.)
	Chunked bool
	// Close adds "Connection: close", and closes after the reply.
	Close bool
	// Raw, if not nil, is sent in place of status line, header and body.
	Raw io.Reader
	// Trailing is sent after all else, before the connection is used again.
	Trailing []byte

	server       *Server
	connection   int // its number: see Request.Connection
	resource     *Resource
	contentRange *contentRange // what an honest 206 says
	bodyToHEAD   bool
	headless     bool // neither status line nor header

	interim  []interim
	triggers []trigger
	rate     int64         // bytes a second, 0 unlimited
	perByte  time.Duration // a pause after each byte of the header
	upload   uploadPolicy
}

// Honest changes nothing.
func Honest() Step { return func(*Reply) {} }

// All applies every step to the same reply, in order.
func All(steps ...Step) Step {
	return func(r *Reply) {
		for _, step := range steps {
			step(r)
		}
	}
}

// When applies the steps only to requests for which cond is true.
func When(cond func(*http.Request) bool, steps ...Step) Step {
	return func(r *Reply) {
		if cond(r.Request) {
			All(steps...)(r)
		}
	}
}

// OnConnection applies the steps only to requests that come by the nth connection
// that the server has accepted, from 1: one of several that stalls, crawls or
// lies.
func OnConnection(n int, steps ...Step) Step {
	return func(r *Reply) {
		if r.connection == n {
			All(steps...)(r)
		}
	}
}

// Beyond applies the steps only to requests that come while the server answers n
// others or more, as in Beyond(2, Status(503)): a server that limits its clients.
func Beyond(n int, steps ...Step) Step {
	return func(r *Reply) {
		if r.server.Load().Requests > n {
			All(steps...)(r)
		}
	}
}

// Serving answers this request from another resource: the content has changed,
// or another mirror answers. Other steps of the same [All] must come after it.
func Serving(res Resource) Step {
	p := res.prepared()
	return func(r *Reply) { r.Become(p) }
}

// Changed publishes res at the request's path, from this request on. Give it
// the same size and a new ETag for a changed file, the same ETag for an origin
// that lies about it.
func Changed(res Resource) Step {
	p := res.prepared()
	return func(r *Reply) {
		r.server.publish(r.Request.URL.Path, p)
		r.Become(p)
	}
}

// Respond answers with code and body in place of the resource.
func Respond(code int, contentType, body string, also ...Step) Step {
	return func(r *Reply) {
		r.respond(code, contentType, body)
		All(also...)(r)
	}
}

// Status answers with code and a line of text in place of the resource (204 and
// 304 without body), as in Status(503, RetryAfter(time.Second)).
func Status(code int, also ...Step) Step {
	return func(r *Reply) {
		r.respond(code, "", "")
		All(also...)(r)
	}
}

// SetHeader replaces a field of the reply; without values it removes it. The
// values go out as they are, malformed ones too.
func SetHeader(name string, values ...string) Step {
	return func(r *Reply) {
		r.Header.Del(name)
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
}

// SetCookie adds a Set-Cookie field for each value, sent as it stands.
func SetCookie(values ...string) Step {
	return func(r *Reply) {
		for _, v := range values {
			r.Header.Add("Set-Cookie", v)
		}
	}
}

// RetryAfter sets Retry-After, in whole seconds.
func RetryAfter(d time.Duration) Step {
	return SetHeader("Retry-After", strconv.FormatInt(int64(d/time.Second), 10))
}

// Announcing closes the connection after the reply and says so by
// "Connection: close". For a close without a word see [CloseAt] and [AtEnd].
func Announcing() Step { return func(r *Reply) { r.Close = true } }

// respond makes r a reply of code that is not the resource's: only the date
// stays of its header. An empty contentType is the default: a line of text that
// names the status.
func (r *Reply) respond(code int, contentType, body string) {
	if contentType == "" && body == "" {
		contentType = "text/plain; charset=utf-8"
		body = fmt.Sprintf("%d %s\n", code, http.StatusText(code))
	}
	r.Status, r.Reason = code, ""
	r.Chunked, r.Raw, r.Trailing = false, nil, nil
	r.contentRange = nil
	r.Header = http.Header{"Date": r.Header.Values("Date")}
	if code == http.StatusNoContent || code == http.StatusNotModified {
		r.Body = nil
		return
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.setBody(Bytes(body), 0, int64(len(body)))
}

// setStream makes body, whose length is not known beforehand, the chunked body.
func (r *Reply) setStream(body io.Reader) {
	r.Body = body
	r.Chunked = true
	r.Header.Del("Content-Length")
	r.Header.Set("Transfer-Encoding", "chunked")
}

// length is the reply's Content-Length, or −1.
func (r *Reply) length() int64 {
	n, err := strconv.ParseInt(r.Header.Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// head is the status line and the header, to the empty line.
func (r *Reply) head() []byte {
	reason := cmp.Or(r.Reason, http.StatusText(r.Status))
	h := r.Header
	if r.Close && h.Get("Connection") == "" {
		h = h.Clone()
		h.Set("Connection", "close")
	}
	line := r.StatusLine
	if line == "" {
		line = fmt.Sprintf("%s %03d %s", r.Proto, r.Status, reason)
	}
	return formatHead(line, h, r.Lines)
}

// spelling is how the RFCs write what net/http's canonical form does not.
var spelling = map[string]string{
	"Etag":             "ETag",
	"Content-Md5":      "Content-MD5",
	"Www-Authenticate": "WWW-Authenticate",
}

func formatHead(statusLine string, h http.Header, lines []string) []byte {
	var b bytes.Buffer
	b.WriteString(statusLine + "\r\n")
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	for _, name := range names {
		for _, v := range h[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", cmp.Or(spelling[name], name), v)
		}
	}
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
