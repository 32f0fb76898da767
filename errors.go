package urlsession

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
)

// Error is how everything in this package fails. [errors.Is] works on its Code and on its cause, [errors.As] on its
// cause. It holds no secret: userinfo and queries are cut out of URLs, and header values are never shown. It is not
// changed once made.
type Error struct {
	// Op is what was being done, such as "download", "read response" or "create data task".
	Op string
	// URL is what it was done to, without userinfo and with its query replaced. It may be a file's path, or empty.
	URL string
	// Code says how it failed. It is ErrUnknown for what no other code names; an argument that is refused before any
	// I/O is that too, unless it is the URL (ErrBadURL, ErrUnsupportedURL) or a file.
	Code Code
	// StatusCode is the HTTP status where that is what failed (Code is then mostly ErrBadServerResponse); 0 else.
	StatusCode int
	// Err is the cause; nil where Code says it all.
	Err error
}

// Error reads like "download https://example.com/f: timed out (-1001): no byte for 1m0s". It is one line.
func (e *Error) Error() string {
	var parts []string
	if what := strings.TrimSpace(e.Op + " " + e.URL); what != "" {
		parts = append(parts, what)
	}
	if e.Code != ErrUnknown || e.Err == nil {
		parts = append(parts, e.Code.Error()+" ("+strconv.Itoa(int(e.Code))+")")
	}
	if e.Err != nil {
		parts = append(parts, strings.ReplaceAll(e.Err.Error(), "\n", "; ")) // as errors.Join parts several
	}
	return strings.Join(parts, ": ")
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's Code, or that of an error which caused it.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && (c == e.Code || errors.Is(e.Err, task.Code(c)))
}

// Code numbers a failure. The numbers are those of NSURLErrorDomain, in Go, on the command line and in JSON; those from
// -4000 on, and -1, are this package's own. A Code is itself an error, to be asked for:
//
//	if errors.Is(err, urlsession.ErrTimedOut) { … }
type Code int

// Error is the code's name, such as "timed out".
func (c Code) Error() string { return task.Code(c).Error() }

// The codes. What a program meets in each case, and can do about it, is in docs/errors.md.
const (
	ErrUnknown                  Code = -1    // what no other code names
	ErrNoSharedContainer        Code = -995  // the daemon is of another version, or none of urlsession
	ErrSessionInUse             Code = -996  // another owner iterates Session.Events, maybe in another process
	ErrDaemonLost               Code = -997  // the daemon cannot be started or reached, or hangs
	ErrCancelled                Code = -999  // the task, or the call's context, was cancelled
	ErrBadURL                   Code = -1000 // malformed, without a host, or an impossible port
	ErrTimedOut                 Code = -1001 // a timeout of the configuration, or the call's deadline
	ErrUnsupportedURL           Code = -1002 // a scheme other than http and https
	ErrCannotFindHost           Code = -1003 // no such name
	ErrCannotConnect            Code = -1004 // refused, unreachable, or the proxy is
	ErrConnectionLost           Code = -1005 // closed, reset, or a body shorter than promised
	ErrDNSLookupFailed          Code = -1006 // the name server did not answer
	ErrTooManyRedirects         Code = -1007 // more than 20
	ErrResourceUnavailable      Code = -1008 // no such task, or what was asked of it is gone
	ErrNotConnected             Code = -1009 // no network
	ErrRedirectWithoutLocation  Code = -1010 // a 3xx that says not where to
	ErrBadServerResponse        Code = -1011 // it contradicts itself or the request, or a status that was asked to be an error
	ErrUserCancelledAuth        Code = -1012 // a challenge was declined
	ErrAuthenticationRequired   Code = -1013 // credentials are missing or refused, the proxy's too
	ErrZeroByteResource         Code = -1014 // an empty answer where there must be one
	ErrCannotDecodeRaw          Code = -1015 // not of the content coding that it says
	ErrCannotDecodeContent      Code = -1016 // a content coding that cannot be decoded
	ErrCannotParseResponse      Code = -1017 // not HTTP
	ErrRoamingOff               Code = -1018
	ErrDataNotAllowed           Code = -1020 // only a metered network, which the task may not use
	ErrBodyStreamExhausted      Code = -1021 // a body must be sent again and cannot be rewound
	ErrRequiresSecureConnection Code = -1022 // a redirect from https to http that is forbidden
	ErrFileDoesNotExist         Code = -1100
	ErrFileIsDirectory          Code = -1101
	ErrNoPermission             Code = -1102
	ErrDataTooLarge             Code = -1103 // over Request.Limit
	ErrSecureConnectionFailed   Code = -1200 // the TLS handshake failed
	ErrCertificateBadDate       Code = -1201 // the server's certificate has expired
	ErrCertificateUntrusted     Code = -1202 // it is for another host, or not to be trusted
	ErrCertificateUnknownRoot   Code = -1203 // no authority that is known signed it
	ErrCertificateNotYetValid   Code = -1204
	ErrClientCertRejected       Code = -1205 // the server refused ours
	ErrClientCertRequired       Code = -1206 // the server wants one
	ErrCannotLoadFromNetwork    Code = -2000 // asked for a cached response, and there is none
	ErrCannotCreateFile         Code = -3000
	ErrCannotOpenFile           Code = -3001 // another task is on the same part file, too
	ErrCannotCloseFile          Code = -3002
	ErrCannotWriteFile          Code = -3003 // a full disk, too; the part file is kept
	ErrCannotRemoveFile         Code = -3004
	ErrCannotMoveFile           Code = -3005
	ErrDecodingFailedMidStream  Code = -3006
	ErrDecodingFailedAtEnd      Code = -3007 // a coded body is cut short
	ErrDigestMismatch           Code = -4001 // the error names both values
	ErrDestinationExists        Code = -4002 // see Conflict
	ErrSourceChanged            Code = -4003 // an upload's file is not what it was
	ErrResumeDataUnusable       Code = -4004 // the part file, or the file that is uploaded, is gone or does not match
	ErrSessionInvalidated       Code = -4005 // the session was invalidated or closed
)

// publicError makes an error of the service one of this package; nil for nil. op says what was being done, for errors
// that do not know it, and for several, whose code is the first one's.
func publicError(op string, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if inner, isTask := errors.AsType[*task.Error](err); !ok && isTask {
		e, ok = &Error{Op: inner.Op, URL: inner.URL, Code: Code(inner.Code), StatusCode: inner.Status, Err: inner.Err}, true
	}
	switch {
	case !ok:
		return &Error{Op: op, Code: Code(task.CodeOf(err)), Err: err}
	case areSeveral(err):
		return &Error{Op: op, Code: e.Code, Err: err}
	}
	return e
}

// areSeveral says whether err joins more than one error that has a code.
func areSeveral(err error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	all := slices.DeleteFunc(slices.Clone(joined.Unwrap()), func(err error) bool {
		_, public := errors.AsType[*Error](err)
		_, inner := errors.AsType[*task.Error](err)
		return !public && !inner
	})
	return len(all) > 1 || len(all) == 1 && areSeveral(all[0])
}

// contextError is the error of a call whose context ended: ErrTimedOut at a deadline, else ErrCancelled. Its cause is
// the context's.
func contextError(ctx context.Context, op, redactedURL string) error {
	code := ErrCancelled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = ErrTimedOut
	}
	return &Error{Op: op, URL: redactedURL, Code: code, Err: context.Cause(ctx)}
}
