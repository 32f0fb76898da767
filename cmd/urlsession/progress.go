package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/urlsession/urlsession"
)

// progress shows what the tasks under way do. Its methods may be called from any goroutine.
type progress interface {
	// begin shows a task until end is called with how it ended.
	begin(label string, t *urlsession.Task) (end func(error))
	// note prints a line, which no progress tears.
	note(line string)
	// close shows the last of it. After it only note is called.
	close()
}

// newProgress is bars on a terminal, a line every few seconds elsewhere, and with quiet nothing but notes.
func newProgress(out io.Writer, quiet bool) progress {
	switch {
	case quiet:
		return &silence{out: out}
	case isTerminal(out):
		return newBars(out)
	}
	return newLines(out)
}

// isTerminal says whether somebody looks at what is written there.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// silence is no progress.
type silence struct {
	mu  sync.Mutex
	out io.Writer
}

func (*silence) begin(string, *urlsession.Task) func(error) { return func(error) {} }
func (*silence) close()                                     {}
func (s *silence) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, line)
}

// board is what progress is made from: the tasks under way, in the order of their beginning, and the sum of those that
// have ended.
type board struct {
	mu      sync.Mutex
	active  []*watched
	begun   int
	ended   int
	failed  int
	bytes   int64 // of those that have ended
	started time.Time
}

// watched is a task that progress is shown of.
type watched struct {
	label  string
	task   *urlsession.Task
	status urlsession.Status // as it was at the last look
}

// statusFor bounds a look at the statuses, which a daemon tells: it may be away.
const statusFor = 2 * time.Second

func newBoard() *board { return &board{started: time.Now()} }

func (b *board) add(label string, t *urlsession.Task) *watched {
	w := &watched{label: label, task: t}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active = append(b.active, w)
	b.begun++
	return w
}

// remove takes a task off the board and returns its last status.
func (b *board) remove(w *watched, err error) urlsession.Status {
	ctx, cancel := context.WithTimeout(context.Background(), statusFor)
	defer cancel()
	status, _ := w.task.Status(ctx) // zero for a task that is forgotten
	moved, _ := bytesOf(status)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active = slices.DeleteFunc(b.active, func(a *watched) bool { return a == w })
	b.ended++
	b.bytes += moved
	if err != nil {
		b.failed++
	}
	return status
}

// look renews the statuses of the tasks under way, and sums all up.
func (b *board) look() ([]watched, total) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := total{running: len(b.active), ended: b.ended, failed: b.failed, bytes: b.bytes, expected: b.bytes, elapsed: time.Since(b.started)}
	active := make([]watched, len(b.active))
	ctx, cancel := context.WithTimeout(context.Background(), statusFor)
	defer cancel()
	for i, w := range b.active {
		if status, err := w.task.Status(ctx); err == nil {
			w.status = status
		}
		t.add(w.status)
		active[i] = *w
	}
	return active, t
}

// total is the sum over all tasks that have begun.
type total struct {
	running, waiting, ended, failed int
	bytes, expected                 int64 // expected is -1 while a task's is unknown
	rate                            float64
	elapsed                         time.Duration
}

func (t *total) add(s urlsession.Status) {
	moved, expected := bytesOf(s)
	t.bytes += moved
	if expected < 0 || t.expected < 0 {
		t.expected = -1
	} else {
		t.expected += expected
	}
	t.rate += s.Rate
	if s.Waiting != nil {
		t.waiting++
	}
}

func (t *total) String() string {
	text := fmt.Sprintf("%d done, %d running", t.ended-t.failed, t.running)
	if t.waiting > 0 {
		text += fmt.Sprintf(" (%d waiting)", t.waiting)
	}
	if t.failed > 0 {
		text += fmt.Sprintf(", %d failed", t.failed)
	}
	return text + ": " + movement(t.bytes, t.expected, t.rate)
}

// bytesOf is how many bytes have moved in a task's main direction, and of how many; -1: unknown.
func bytesOf(s urlsession.Status) (moved, expected int64) {
	if s.Kind == urlsession.KindUpload {
		return s.BytesSent, s.BytesExpectedToSend
	}
	return s.BytesReceived, s.BytesExpectedToReceive
}

// stateText says what a task does, or why it does not move.
func stateText(s urlsession.Status) string {
	if s.Waiting != nil {
		return waitText(s.Waiting)
	}
	moved, expected := bytesOf(s)
	return movement(moved, expected, s.Rate)
}

// movement is bytes, rate and the time that is left.
func movement(moved, expected int64, rate float64) string {
	text := formatSize(moved)
	if expected > 0 {
		text += fmt.Sprintf(" of %s (%d %%)", formatSize(expected), moved*100/expected)
	}
	if rate >= 1 {
		text += fmt.Sprintf(", %s/s", formatSize(int64(rate)))
		if left := float64(expected-moved) / rate; left > 0 && left < (1000*time.Hour).Seconds() {
			text += ", " + formatDuration(time.Duration(left*float64(time.Second))) + " left"
		}
	}
	return text
}

func waitText(w *urlsession.Wait) string {
	text := "waiting"
	switch w.Reason {
	case urlsession.WaitConnectivity:
		text += " for a network that reaches the host"
	case urlsession.WaitDiscretionary:
		text += " for power from the mains"
		if w.Detail == "network" {
			text = "waiting for a network that is not metered"
		}
	case urlsession.WaitSpace:
		text += " for room on the disk of " + w.Detail
	case urlsession.WaitAuthentication:
		text += " for a credential"
	case urlsession.WaitSchedule:
		text += " for its time"
	case urlsession.WaitHostLimit:
		text += " for a connection to the host"
	case urlsession.WaitRetry:
		text += " to try again"
		if e, ok := w.Err.(*urlsession.Error); ok {
			text += " (" + e.Code.Error() + ")"
		}
	default:
		text += ": " + string(w.Reason)
	}
	if !w.Until.IsZero() {
		text += ", " + formatDuration(max(0, time.Until(w.Until))) + " left"
	}
	return oneLine(text)
}
