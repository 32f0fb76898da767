package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

var (
	// errFailed ends a command of which at least one transfer failed; each has been reported already.
	errFailed = errors.New("a transfer failed")
	// errInterrupted ends a command that a signal stopped.
	errInterrupted = errors.New("interrupted")
)

// usageError is a command line, or a file that it names, that makes no sense: nothing was transferred.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// finish reports what has not been reported yet and chooses the exit status. What cobra itself complains of (an unknown
// flag, a missing argument) is usage too.
func finish(cmd *cobra.Command, std stdio, err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	}
	fmt.Fprintf(std.err, "urlsession: %s\n", oneLine(err.Error()))
	if _, ours := errors.AsType[usageError](err); !ours {
		fmt.Fprintf(std.err, "urlsession: see: %s --help\n", cmd.CommandPath())
	}
	return exitUsage
}

// failureLine is one failed transfer in one line: where it was asked for (a list's FILE:LINE, or nothing), its URL, the
// error's name and number, the HTTP status where one says more, and the cause.
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
	fmt.Fprintf(&b, "%s (%d)", e.Code.Error(), int(e.Code))
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, ", HTTP %d", e.StatusCode)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return oneLine(b.String())
}

// oneLine makes text that came from elsewhere fit for a line on a terminal: no line break, no escape sequence.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, s)
}
