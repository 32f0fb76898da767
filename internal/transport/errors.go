package transport

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/urlsession/urlsession/internal/task"
)

// Classify makes err the *task.Error that it is by the table in the package's doc: op is what was being done, rawURL to
// what, which is redacted. The cause is kept, but for a *url.Error around it, whose text holds the URL. An err that is,
// or wraps, a *task.Error is that one. Nil stays nil.
func Classify(op, rawURL string, err error) *task.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*task.Error](err); ok {
		return e
	}
	code := task.BadURL
	if e, ok := errors.AsType[*url.Error](err); !ok || e.Op != "parse" {
		code = codeOf(cause(err))
	}
	err = cause(err)
	return &task.Error{Op: op, URL: task.Redact(rawURL), Code: code, Err: err, Unsent: dialed(err) || refused(err)}
}

// peekFailed begins net/http's error of a kept connection that it has closed; the cause follows, or nothing where it
// was closed because of what was read from it.
const peekFailed = "readLoopPeekFailLocked: "

var errUnasked = errors.New("the kept connection was closed: the server had sent more on it than its answer")

// cause is err without the *url.Errors around it, and without net/http's name of where it met it. Of why a URL does not
// parse, what is quoted from it is left out: where a password holds a slash, it is taken for a port and quoted as such. So is
// the line of a header that does not: it may be a cookie.
func cause(err error) error {
	for {
		if strings.HasPrefix(err.Error(), peekFailed) {
			if err = errors.Unwrap(err); err == nil {
				return errUnasked
			}
			continue
		}
		e, ok := errors.AsType[*url.Error](err)
		if !ok || e.Err == nil {
			if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
				text, _, _ := strings.Cut(err.Error(), `"`)
				return textproto.ProtocolError(strings.TrimRight(text, ": "))
			}
			return err
		}
		if err = e.Err; e.Op == "parse" {
			text, _, _ := strings.Cut(err.Error(), `"`)
			return errors.New(strings.TrimSpace(text))
		}
	}
}

// ended reports that err is the end of a context, not the network's doing.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || err == context.DeadlineExceeded
}

// dialed reports that err happened while a connection was made: no byte of a request had left.
func dialed(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && (e.Op == "dial" || e.Op == "proxyconnect" || e.Op == "socks connect")
}

// refused reports that an HTTP/2 server says that it has not looked at the request (RFC 9113 §8.7).
func refused(err error) bool { return says(err, "REFUSED_STREAM") }

// says reports that net/http's error names a code of HTTP/2, whose type it does not export. The URL, and whatever else an
// Error has been given, may have any words.
func says(err error, code string) bool {
	if e, ok := errors.AsType[*task.Error](err); ok {
		err = e.Err
	}
	return err != nil && strings.Contains(err.Error(), code)
}

func codeOf(err error) task.Code {
	if code, ok := errors.AsType[task.Code](err); ok {
		return code
	}
	if errors.Is(err, context.Canceled) {
		return task.Cancelled
	}
	if code, ok := tlsCode(err); ok {
		return code
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && (e.Op == "proxyconnect" || e.Op == "socks connect") {
		if text := e.Error(); strings.Contains(text, "authentication") || strings.Contains(text, "username/password") {
			return task.AuthenticationRequired
		}
		return task.CannotConnect
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case e.IsNotFound:
			return task.CannotFindHost
		case strings.Contains(e.Err, syscall.ENETUNREACH.Error()), strings.Contains(e.Err, syscall.ENETDOWN.Error()):
			return task.NotConnected
		}
		return task.DNSLookupFailed
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return task.TimedOut
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		if code, ok := errnoCode(e, dialed(err)); ok {
			return code
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return task.ConnectionLost
	}
	if code, ok := textCode(err); ok {
		return code
	}
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return task.CannotFindHost
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return task.Unknown // of a body that is read from a file
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		if dialed(err) {
			return task.CannotConnect
		}
		return task.ConnectionLost
	}
	for _, lost := range []error{io.EOF, errNoCloseNotify, errUnasked, io.ErrClosedPipe, net.ErrClosed, os.ErrDeadlineExceeded} {
		if errors.Is(err, lost) {
			return task.ConnectionLost
		}
	}
	return task.Unknown
}

func errnoCode(e syscall.Errno, dialed bool) (task.Code, bool) {
	switch e {
	case syscall.ENETUNREACH, syscall.ENETDOWN:
		return task.NotConnected, true
	case syscall.ETIMEDOUT:
		return task.TimedOut, true
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL:
		return task.CannotConnect, true
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENOTCONN:
		if dialed {
			return task.CannotConnect, true
		}
		return task.ConnectionLost, true
	}
	return 0, false
}

// texts are the errors of net/http that have no type or exported value. The tests get each from a real connection, so
// that a release that words it anew is noticed. The first that occurs counts.
var texts = []struct {
	part string
	code task.Code
}{
	{"unsupported protocol scheme", task.UnsupportedURL},
	{"no Host in request URL", task.BadURL},
	{"nil Request.URL", task.BadURL},
	{"net/http: invalid method", task.BadURL},
	{"net/http: invalid header field", task.BadURL},
	{"invalid port", task.BadURL},
	{"server gave HTTP response to HTTPS client", task.SecureConnectionFailed},
	{"tls: ", task.SecureConnectionFailed},
	{"x509: ", task.CertificateUntrusted},

	{"server response headers exceeded", task.CannotParseResponse},
	{"response header list larger than advertised limit", task.CannotParseResponse},
	{"malformed HTTP", task.CannotParseResponse},
	{"malformed MIME header", task.CannotParseResponse},
	{"message too large", task.CannotParseResponse},
	{"suspiciously long trailer", task.CannotParseResponse},
	{"malformed chunked encoding", task.CannotParseResponse},
	{"chunked encoding contains too much non-data", task.CannotParseResponse},
	{"chunked line ends with bare LF", task.CannotParseResponse},
	{"invalid CR in chunked line", task.CannotParseResponse},
	{"empty hex number for chunk length", task.CannotParseResponse},
	{"invalid byte in chunk length", task.CannotParseResponse},
	{"http chunk length too large", task.CannotParseResponse},
	{"connection error: ", task.CannotParseResponse}, // http2.ConnectionError: frames out of protocol
	{"http2: frame too large", task.CannotParseResponse},
	{"http2: failed reading the frame payload", task.CannotParseResponse},

	{"multiple Content-Length headers", task.BadServerResponse},
	{"bad Content-Length", task.BadServerResponse},
	{"invalid empty Content-Length", task.BadServerResponse},
	{"transfer encoding", task.BadServerResponse}, // "unsupported …", "too many …"
	{"bad trailer key", task.BadServerResponse},

	{"server closed idle connection", task.ConnectionLost},
	{"unexpected EOF reading trailer", task.ConnectionLost},
	{"transport connection broken", task.ConnectionLost},
	{"read on closed response body", task.ConnectionLost},
	{"stream error: ", task.ConnectionLost},
	{"GOAWAY", task.ConnectionLost},
	{"http2: client conn", task.ConnectionLost}, // "… is closed", "client connection lost"
	{"http2: Transport: cannot retry", task.ConnectionLost},
	{"cannot rewind body after connection loss", task.ConnectionLost},
}

func textCode(err error) (task.Code, bool) {
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok || errors.Is(err, http.ErrLineTooLong) {
		return task.CannotParseResponse, true
	}
	text := err.Error()
	for _, t := range texts {
		if strings.Contains(text, t.part) {
			return t.code, true
		}
	}
	return 0, false
}
