package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNoDaemon    = 3
	exitInterrupted = 130
)

var (
	// errFailed ends a command of which at least one transfer failed; each has been reported already.
	errFailed = errors.New("a transfer failed")
	// errInterrupted ends a command that a signal stopped.
	errInterrupted = errors.New("interrupted")
	// errNoDaemon ends a command that has lost the daemon; that has been reported.
	errNoDaemon = errors.New("no daemon")
)

// usageError is a command line, or a file that it names, that makes no sense: nothing was transferred.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// statusError is an error that is no usage, and the exit status that it means.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// failedf is an error of exit status 1.
func failedf(format string, args ...any) error {
	return statusError{fmt.Errorf(format, args...), exitFailed}
}

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// finish reports what has not been reported yet and chooses the exit status: that of a statusError, of an error of the API 1,
// or 3 where it is of a daemon that cannot be reached. All else is usage, also what cobra itself complains of (an unknown
// flag, a missing argument).
func finish(cmd *cobra.Command, std stdio, err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, errNoDaemon):
		return exitNoDaemon
	}
	fmt.Fprintf(std.err, "urlsession: %s\n", oneLine(err.Error()))
	if _, ours := errors.AsType[usageError](err); ours {
		return exitUsage
	}
	if e, ok := errors.AsType[statusError](err); ok {
		return e.status
	}
	if _, ok := errors.AsType[*urlsession.Error](err); ok {
		if isLost(err) {
			return exitNoDaemon
		}
		return exitFailed
	}
	fmt.Fprintf(std.err, "urlsession: see: %s --help\n", cmd.CommandPath())
	return exitUsage
}

// failureLine is one failed transfer in one line: where it was asked for (a list's FILE:LINE, or nothing), its URL, the
// error's name and number, the HTTP status where one says more, the file that it is about, the cause, and the flags that
// would help.
func failureLine(where, url string, err error) string {
	var b strings.Builder
	b.WriteString("urlsession: ")
	if where != "" {
		b.WriteString(where + ": ")
	}
	if url != "" {
		b.WriteString(redact(url) + ": ")
	}
	e, ok := errors.AsType[*urlsession.Error](err)
	if !ok {
		b.WriteString(err.Error())
		return oneLine(b.String())
	}
	if where == "" && url == "" && e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	fmt.Fprintf(&b, "%s (%d)", e.Code.Error(), int(e.Code))
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, ", HTTP %d", e.StatusCode)
	}
	cause := ""
	if e.Err != nil {
		cause = e.Err.Error()
	}
	isURL := strings.Contains(e.URL, "://") || e.Code == urlsession.ErrBadURL || e.Code == urlsession.ErrUnsupportedURL
	if !isURL && e.URL != "" && !strings.Contains(cause, e.URL) {
		b.WriteString(": " + e.URL)
	}
	if cause != "" {
		b.WriteString(": " + cause)
	}
	if flags := remedy(e); flags != "" {
		b.WriteString("; " + flags)
	}
	return oneLine(b.String())
}

// remedy is what the command line can do about an error; "" for nothing that the error itself does not say.
func remedy(e *urlsession.Error) string {
	switch {
	case errors.Is(e, syscall.EMFILE):
		return "lower -j, or raise the limit of open files (ulimit -n)"
	case e.Code == urlsession.ErrDestinationExists:
		return "see --replace and --rename"
	case e.Code == urlsession.ErrResumeDataUnusable:
		return "to begin anew, remove the file that --resume names"
	case e.Code == urlsession.ErrCertificateUnknownRoot:
		return "see --cacert"
	case e.Code == urlsession.ErrClientCertRequired:
		return "see --cert and --key"
	case e.Code == urlsession.ErrAuthenticationRequired:
		return "see urlsession credential set --proxy"
	case e.StatusCode == http.StatusUnauthorized:
		return "the name or password is missing or wrong: see --user, --netrc and urlsession credential set"
	}
	return ""
}

// oneLine makes text that came from elsewhere fit for a line on a terminal: no line break, no escape sequence.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case commandsTerminal(r) || r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, s)
}

// commandsTerminal says whether a character is not shown but obeyed: a control character or one of direction.
func commandsTerminal(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}
