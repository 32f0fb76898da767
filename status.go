package urlsession

import (
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// Kind says what becomes of the body of a task's response.
type Kind string

// The kinds of tasks.
const (
	KindData     Kind = "data"     // it is held in memory
	KindDownload Kind = "download" // it becomes a file
	KindUpload   Kind = "upload"   // as data; the request carries a body
)

// State is where a task is in its life.
type State string

// The states of a task. From running and suspended it goes back and forth by Suspend and Resume; Completed is final.
const (
	StateRunning   State = "running"   // it transfers, or waits for what Status.Waiting says
	StateSuspended State = "suspended" // its timers stand still
	StateCanceling State = "canceling" // it was cancelled and has not ended yet
	StateCompleted State = "completed" // it has ended, well or not
)

// WaitReason is why a running task does not move.
type WaitReason string

// The reasons to wait.
const (
	WaitConnectivity   WaitReason = "connectivity"   // for a network
	WaitDiscretionary  WaitReason = "discretionary"  // for power or a free network
	WaitSchedule       WaitReason = "schedule"       // for Request.EarliestBegin
	WaitHostLimit      WaitReason = "hostLimit"      // for a connection of the host's
	WaitRetry          WaitReason = "retry"          // for the next attempt
	WaitAuthentication WaitReason = "authentication" // for an answer
	WaitSpace          WaitReason = "space"          // for room on the disk of Wait.Detail; in process a full disk is an error
)

// Wait is why a running task does not move.
type Wait struct {
	Reason WaitReason
	Detail string    // more words, such as "power"; mostly empty
	Since  time.Time // when the wait began
	Until  time.Time // when it will end; zero: not known
	Err    error     // of WaitRetry: an *Error, how the last attempt ended
	// Ticket and Challenge are of WaitAuthentication: what is asked, and what Task.Answer names it by. Else they are empty.
	Ticket    string
	Challenge *Challenge
}

// Status is a snapshot of a task. It is the caller's own copy.
type Status struct {
	Identifier TaskID
	Kind       Kind
	State      State
	// Waiting is why a running task does not move; nil: it moves, or is not running.
	Waiting *Wait

	Description string
	Metadata    map[string]string
	Priority    Priority
	RateLimit   int64 // bytes a second, as Request.RateLimit; 0: none of its own
	// OriginalURL is the request's, and CurrentURL where it goes now, after redirects. Both are as they are: they may
	// hold secrets.
	OriginalURL, CurrentURL string

	// Response is the newest attempt's final response; nil until its head has come.
	Response *Response
	// Err is how a completed task failed, an *Error; nil: it succeeded, or has not ended.
	Err error

	// Bytes of bodies, of the newest attempt; what a download held before a resume counts as received. The expected ones
	// are -1 while they are unknown.
	BytesSent, BytesExpectedToSend        int64
	BytesReceived, BytesExpectedToReceive int64
	// Progress of the task's main direction (upload: sent, else received), 0 to 1; -1: unknown.
	Progress float64
	// Rate in bytes a second, over the last seconds; 0 while nothing moves.
	Rate float64
	// ETA is how long the rest takes at this rate; -1: unknown.
	ETA time.Duration

	// Attempt numbers the attempt that is under way or was the last, from 1; 0 before the first.
	Attempt int
	// Destination is where the file of a download goes, absolute, as it was asked for: a file or, with a separator at its
	// end, a folder. Empty: a temporary file.
	Destination string
	// Path is the file of a download that succeeded, absolute.
	Path string
	// UploadedParts are those parts of an upload with Request.Multipart that its server has, ascending, also when it has ended.
	UploadedParts []UploadedPart

	Created time.Time
	Ended   time.Time // zero: it has not
}

func statusOf(rec *task.Record) Status {
	st := Status{
		Identifier: TaskID(rec.ID), Kind: Kind(rec.Spec.Kind), State: State(rec.State),
		Description: rec.Spec.Description, Metadata: maps.Clone(rec.Spec.Metadata), Priority: Priority(rec.Spec.Priority), RateLimit: rec.Spec.RateLimit,
		OriginalURL: rec.Spec.Request.URL, CurrentURL: rec.CurrentURL(),
		Response:  responseOf(rec),
		Err:       publicError("", rec.Failure.Err()),
		BytesSent: rec.Counts.Sent, BytesExpectedToSend: rec.Counts.ExpectedToSend,
		BytesReceived: rec.Counts.Received, BytesExpectedToReceive: rec.Counts.ExpectedToReceive,
		Rate:    rec.Counts.Rate,
		Attempt: rec.Attempt, Path: rec.Path, UploadedParts: uploadedParts(rec.Upload),
		Created: rec.Created, Ended: rec.Ended,
	}
	if st.Priority == 0 {
		st.Priority = PriorityDefault
	}
	if d := rec.Spec.Download; d != nil {
		st.Destination = d.Path
		if d.Folder && !strings.HasSuffix(d.Path, string(filepath.Separator)) {
			st.Destination += string(filepath.Separator)
		}
	}
	if w := rec.Waiting; w != nil {
		st.Waiting = &Wait{Reason: WaitReason(w.Reason), Detail: w.Detail, Since: w.Since, Until: w.Until,
			Err: publicError("", w.Error.Err()), Ticket: w.Ticket}
		if w.Challenge != nil {
			c := challengeOf(w.Challenge)
			st.Waiting.Challenge = &c
		}
	}
	done, expected := st.BytesReceived, st.BytesExpectedToReceive
	if st.Kind == KindUpload {
		done, expected = st.BytesSent, st.BytesExpectedToSend
	}
	st.Progress, st.ETA = progress(done, expected, st.Rate)
	if st.State == StateCompleted {
		st.ETA = 0
		if st.Err == nil {
			st.Progress = 1
		}
	}
	return st
}

// progress is the share that is done, and how long the rest takes; -1 where that is unknown.
func progress(done, expected int64, rate float64) (float64, time.Duration) {
	const century = 100 * 365 * 24 * time.Hour
	switch {
	case expected < 0:
		return -1, -1
	case expected <= done:
		return 1, 0
	}
	share, eta := float64(done)/float64(expected), time.Duration(-1)
	if rate > 0 {
		if seconds := float64(expected-done) / rate; seconds < century.Seconds() {
			eta = time.Duration(seconds * float64(time.Second))
		}
	}
	return share, eta
}
