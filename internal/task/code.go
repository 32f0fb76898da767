package task

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Code numbers a failure as NSURLErrorDomain does; the numbers from -4000 on and -1 are ours. A Code is an error, so
// that errors.Is(err, task.TimedOut) asks for it.
type Code int

const (
	Unknown                  Code = -1
	NoSharedContainer        Code = -995
	SessionInUse             Code = -996
	DaemonLost               Code = -997
	Cancelled                Code = -999
	BadURL                   Code = -1000
	TimedOut                 Code = -1001
	UnsupportedURL           Code = -1002
	CannotFindHost           Code = -1003
	CannotConnect            Code = -1004
	ConnectionLost           Code = -1005
	DNSLookupFailed          Code = -1006
	TooManyRedirects         Code = -1007
	ResourceUnavailable      Code = -1008
	NotConnected             Code = -1009
	RedirectWithoutLocation  Code = -1010
	BadServerResponse        Code = -1011
	UserCancelledAuth        Code = -1012
	AuthenticationRequired   Code = -1013
	ZeroByteResource         Code = -1014
	CannotDecodeRaw          Code = -1015
	CannotDecodeContent      Code = -1016
	CannotParseResponse      Code = -1017
	RoamingOff               Code = -1018
	DataNotAllowed           Code = -1020
	BodyStreamExhausted      Code = -1021
	RequiresSecureConnection Code = -1022
	FileDoesNotExist         Code = -1100
	FileIsDirectory          Code = -1101
	NoPermission             Code = -1102
	DataTooLarge             Code = -1103
	SecureConnectionFailed   Code = -1200
	CertificateBadDate       Code = -1201
	CertificateUntrusted     Code = -1202
	CertificateUnknownRoot   Code = -1203
	CertificateNotYetValid   Code = -1204
	ClientCertRejected       Code = -1205
	ClientCertRequired       Code = -1206
	CannotLoadFromNetwork    Code = -2000
	CannotCreateFile         Code = -3000
	CannotOpenFile           Code = -3001
	CannotCloseFile          Code = -3002
	CannotWriteFile          Code = -3003
	CannotRemoveFile         Code = -3004
	CannotMoveFile           Code = -3005
	DecodingFailedMidStream  Code = -3006
	DecodingFailedAtEnd      Code = -3007
	DigestMismatch           Code = -4001
	DestinationExists        Code = -4002
	SourceChanged            Code = -4003
	ResumeDataUnusable       Code = -4004
	SessionInvalidated       Code = -4005
)

var codeNames = map[Code]string{
	Unknown:                  "unknown error",
	NoSharedContainer:        "no shared container",
	SessionInUse:             "identifier in use by another owner",
	DaemonLost:               "connection to the daemon lost",
	Cancelled:                "cancelled",
	BadURL:                   "bad URL",
	TimedOut:                 "timed out",
	UnsupportedURL:           "unsupported scheme",
	CannotFindHost:           "cannot find host",
	CannotConnect:            "cannot connect to host",
	ConnectionLost:           "connection lost",
	DNSLookupFailed:          "DNS lookup failed",
	TooManyRedirects:         "too many redirects",
	ResourceUnavailable:      "resource unavailable",
	NotConnected:             "not connected to a network",
	RedirectWithoutLocation:  "redirect without location",
	BadServerResponse:        "bad server response",
	UserCancelledAuth:        "user cancelled authentication",
	AuthenticationRequired:   "authentication required",
	ZeroByteResource:         "zero byte resource",
	CannotDecodeRaw:          "cannot decode raw data",
	CannotDecodeContent:      "cannot decode content",
	CannotParseResponse:      "cannot parse response",
	RoamingOff:               "roaming is off",
	DataNotAllowed:           "data not allowed on this network",
	BodyStreamExhausted:      "request body stream exhausted",
	RequiresSecureConnection: "security policy requires a secure connection",
	FileDoesNotExist:         "file does not exist",
	FileIsDirectory:          "file is a directory",
	NoPermission:             "no permission",
	DataTooLarge:             "data exceeds maximum",
	SecureConnectionFailed:   "secure connection failed",
	CertificateBadDate:       "certificate has expired",
	CertificateUntrusted:     "certificate is not trusted",
	CertificateUnknownRoot:   "certificate has an unknown root",
	CertificateNotYetValid:   "certificate is not yet valid",
	ClientCertRejected:       "client certificate rejected",
	ClientCertRequired:       "client certificate required",
	CannotLoadFromNetwork:    "cannot load from network",
	CannotCreateFile:         "cannot create file",
	CannotOpenFile:           "cannot open file",
	CannotCloseFile:          "cannot close file",
	CannotWriteFile:          "cannot write file",
	CannotRemoveFile:         "cannot remove file",
	CannotMoveFile:           "cannot move file",
	DecodingFailedMidStream:  "decoding failed mid-stream",
	DecodingFailedAtEnd:      "decoding failed to complete",
	DigestMismatch:           "digest mismatch",
	DestinationExists:        "destination exists",
	SourceChanged:            "source file changed",
	ResumeDataUnusable:       "resume data unusable",
	SessionInvalidated:       "session invalidated",
}

// Error is the code's name, such as "timed out".
func (c Code) Error() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return "error " + strconv.Itoa(int(c))
}

// Error is how anything here fails. errors.Is works on its code and on its cause; errors.As finds it through wrapping.
// It is not changed once made.
type Error struct {
	Op   string // what was being done: "download", "read response", "rename part file"
	URL  string // to what, already redacted (see Redact); may be a file's path; may be empty
	Code Code
	// Status is the HTTP status where that is what failed; 0 else.
	Status int
	// Err is the cause; its text must hold no secret.
	Err error
	// Unsent says that no byte of the request had left, or that it was refused for want of credentials (401, 407): it is safe
	// to send again whatever its method.
	Unsent bool
}

// Error reads "download https://example.com/f: timed out (-1001): no byte for 60s".
func (e *Error) Error() string {
	s := e.Op
	if e.URL != "" {
		s += " " + e.URL
	}
	if s != "" {
		s += ": "
	}
	s += fmt.Sprintf("%s (%d)", e.Code.Error(), int(e.Code))
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is e's code.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// CodeOf is the code of the outermost Error in err's chain, or Cancelled for a bare context.Canceled, TimedOut for a
// bare context.DeadlineExceeded, else Unknown. A nil err has code 0.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if c, ok := errors.AsType[Code](err); ok {
		return c
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Cancelled
	case errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	}
	return Unknown
}

// Failure is an Error in the form that is stored and sent: its text in place of its cause.
type Failure struct {
	Code    Code   `json:"errorCode"`
	Op      string `json:"operation,omitempty"`
	URL     string `json:"url,omitempty"`
	Status  int    `json:"statusCode,omitempty"`
	Message string `json:"message,omitempty"` // the cause's text

	// cause is the live error, in the process where it happened, so that errors.Is and errors.As find it.
	cause error
}

// FailureOf turns an error into its stored form; nil for nil.
func FailureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return &Failure{Code: CodeOf(err), Message: err.Error(), cause: err}
	}
	f := &Failure{Code: e.Code, Op: e.Op, URL: e.URL, Status: e.Status, cause: e.Err}
	if e.Err != nil {
		f.Message = e.Err.Error()
	}
	return f
}

// Err turns a stored failure into the error that it was; nil for nil. In another process the cause has only its text.
func (f *Failure) Err() error {
	if f == nil {
		return nil
	}
	cause := f.cause
	if cause == nil && f.Message != "" {
		cause = errors.New(f.Message)
	}
	return &Error{Op: f.Op, URL: f.URL, Code: f.Code, Status: f.Status, Err: cause}
}

// Text is the failure as one line.
func (f *Failure) Text() string { return f.Err().Error() }

// FailureIn is the failure that an event tells by its Text, taken apart again, so that its error reads the same. Op has what
// was dealt with, too.
func FailureIn(code Code, status int, text string) *Failure {
	f := &Failure{Code: code, Status: status, Message: text}
	name := fmt.Sprintf(": %s (%d)", code.Error(), int(code))
	if op, cause, ok := strings.Cut(": "+text, name); ok && (cause == "" || strings.HasPrefix(cause, ": ")) {
		f.Op, f.Message = strings.TrimPrefix(op, ": "), strings.TrimPrefix(cause, ": ")
	}
	return f
}
