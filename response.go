package urlsession

import (
	"net/http"

	"github.com/urlsession/urlsession/internal/task"
)

// Response is the head of a task's final response: the one that was not followed as a redirect. A status of 400 and
// above is a response like any other, unless Request.FailOnHTTPError asks otherwise. It is the caller's own copy.
type Response struct {
	// URL is where the response came from, after redirects, as it is: it may hold a secret in its query.
	URL string
	// StatusCode is the HTTP status, such as 200.
	StatusCode int
	// Proto is the protocol, such as "HTTP/1.1" or "HTTP/2.0".
	Proto string
	// Header as received, with canonical names. Set-Cookie is among them.
	Header http.Header
	// ContentLength is the length in bytes of this message's body as it was sent, before decoding; -1: unknown. For a
	// download that was resumed it is the length of what was left.
	ContentLength int64
	// ContentEncoding names the content coding that the file or body still has; empty: none. A download saves what was
	// sent. Of data gzip, br and zstd are undone, unless the request had an Accept-Encoding of its own or a Range, but not
	// what a server sends unasked.
	ContentEncoding string

	// Path is the absolute path of a download's file; empty for other tasks, and for a download that failed.
	Path string
	// Digest is the digest that the file was verified by, "sha-256=HEX"; empty where none was asked for or sent.
	Digest string
}

// responseHead makes a Response of a stored one; nil for nil.
func responseHead(r *task.Response) *Response {
	if r == nil {
		return nil
	}
	return &Response{
		URL: r.URL, StatusCode: r.Status, Proto: r.Proto, Header: r.Header.Clone(),
		ContentLength: r.ContentLength, ContentEncoding: r.Coding,
	}
}

// responseOf is the response of a task, with what became of a download; nil where none has come.
func responseOf(rec *task.Record) *Response {
	r := responseHead(rec.Response)
	if r != nil {
		r.Path, r.Digest = rec.Path, rec.Digest
	}
	return r
}
