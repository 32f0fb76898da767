package urlsession

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// constants are the constants of type Code in a file, "TimedOut = -1001".
func constants(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			s := s.(*ast.ValueSpec)
			found = append(found, strings.TrimPrefix(s.Names[0].Name, "Err")+" = "+types.ExprString(s.Values[0]))
		}
	}
	slices.Sort(found)
	return found
}

func TestConstantsAreThoseOfTheVocabulary(t *testing.T) {
	if ours, theirs := constants(t, "errors.go"), constants(t, "internal/task/code.go"); !slices.Equal(ours, theirs) || len(ours) < 50 {
		t.Errorf("codes: public are %q, internal %q", ours, theirs)
	}
	for ours, theirs := range map[string]string{
		string(KindData): string(task.Data), string(KindDownload): string(task.Download), string(KindUpload): string(task.Upload),
		string(StateRunning): string(task.Running), string(StateSuspended): string(task.Suspended),
		string(StateCanceling): string(task.Canceling), string(StateCompleted): string(task.Completed),
		string(WaitConnectivity): string(task.WaitConnectivity), string(WaitDiscretionary): string(task.WaitDiscretionary),
		string(WaitSchedule): string(task.WaitSchedule), string(WaitHostLimit): string(task.WaitHostLimit),
		string(WaitRetry): string(task.WaitRetry), string(WaitAuthentication): string(task.WaitAuthentication),
		string(WaitSpace): string(task.WaitSpace),
	} {
		if ours != theirs {
			t.Errorf("public is %q, internal %q", ours, theirs)
		}
	}
	for ours, theirs := range map[Priority]task.Priority{
		PriorityLow: task.PriorityLow, PriorityDefault: task.PriorityDefault, PriorityHigh: task.PriorityHigh,
	} {
		if float64(ours) != float64(theirs) {
			t.Errorf("public is %v, internal %v", ours, theirs)
		}
	}
	if DefaultLimit != task.DefaultLimit {
		t.Errorf("public is %d, internal %d", DefaultLimit, task.DefaultLimit)
	}
}

func TestErrorsAreAskedByCodeAndCause(t *testing.T) {
	inner := &task.Error{Op: "dial", Code: task.CannotConnect, Err: io.ErrUnexpectedEOF}
	err := fmt.Errorf("wrapped: %w", publicError("x", fmt.Errorf("wrapped: %w", &task.Error{Op: "download", URL: "http://h/f", Code: task.TimedOut, Status: 504, Err: inner})))
	for _, target := range []error{ErrTimedOut, ErrCannotConnect, io.ErrUnexpectedEOF} {
		if !errors.Is(err, target) {
			t.Errorf("it is not %v", target)
		}
	}
	if errors.Is(err, ErrCancelled) || errors.Is(err, io.EOF) {
		t.Error("it is what it is not")
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != ErrTimedOut || e.StatusCode != 504 {
		t.Errorf("%+v", e)
	}
	if publicError("x", nil) != nil {
		t.Error("nil became an error")
	}
	if e := publicError("x", context.Canceled).(*Error); e.Op != "x" || e.Code != ErrCancelled || !errors.Is(e, context.Canceled) {
		t.Errorf("%+v", e)
	}
	if e := publicError("x", e); e != error(e) {
		t.Error("an *Error was wrapped again")
	}
}

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		"download http://h/f: timed out (-1001): no byte": {Op: "download", URL: "http://h/f", Code: ErrTimedOut, Err: errors.New("no byte")},
		"session invalidated (-4005)":                     {Code: ErrSessionInvalidated},
		"new session: Configuration.Retries is -5":        {Op: "new session", Code: ErrUnknown, Err: errors.New("Configuration.Retries is -5")},
		"x: unknown error (-1)":                           {Op: "x", Code: ErrUnknown},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestProgressAndETA(t *testing.T) {
	for _, c := range []struct {
		done, expected int64
		rate           float64
		share          float64
		seconds        float64 // -1: unknown
	}{
		{0, -1, 10, -1, -1}, {0, 100, 0, 0, -1}, {25, 100, 25, .25, 3}, {100, 100, 0, 1, 0}, {0, 0, 0, 1, 0},
		{1, 1 << 62, 1e-9, float64(1) / (1 << 62), -1},
	} {
		share, eta := progress(c.done, c.expected, c.rate)
		if share != c.share || c.seconds < 0 && eta != -1 || c.seconds >= 0 && eta.Seconds() != c.seconds {
			t.Errorf("%d of %d at %v: %v, %v", c.done, c.expected, c.rate, share, eta)
		}
	}
}

// What keeps one storage from being flushed does not hide what keeps another.
func TestErrorsOfSeveralStorages(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", os.DevNull)
	t.Setenv("XDG_CACHE_HOME", os.DevNull)
	s, err := New(Default())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.CookieStorage().Set(Cookie{Name: "a", Value: "b", Domain: "example.com", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	s.CredentialStorage().All()
	for _, do := range []func(context.Context) error{s.Flush, func(context.Context) error { return s.Close() }} {
		err := do(t.Context())
		if e, ok := err.(*Error); !ok || !errors.Is(err, ErrCannotOpenFile) || strings.Contains(e.Error(), "\n") ||
			!strings.Contains(e.Error(), "/cookies: ") || !strings.Contains(e.Error(), "/credentials: ") {
			t.Errorf("%v", err)
		}
	}
}

func TestErrorsOfSeveralCausesAreOneLine(t *testing.T) {
	_, err := NewCookieStorage().Import(strings.NewReader("one\ntwo\n"))
	if err == nil || strings.ContainsAny(err.Error(), "\n\r") || !strings.Contains(err.Error(), "line 1") || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v", err)
	}
}
