package urlsession

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// Event is one thing that happened to a task or to its session. Its type says what; switch over it:
//
//	switch ev := ev.(type) {
//	case urlsession.DownloadProgress:
//	case urlsession.Completed:
//	}
//
// Durable events are numbered from 1 without gaps, kept, and delivered at least once and in order. Live ones
// (DownloadProgress, UploadProgress, DataReceived) have no number: a listener that is slow skips to the newest progress.
//
// Of each attempt of a task come, in this order: UploadProgress, ResponseReceived, DataReceived or DownloadProgress,
// DownloadCompleted. Challenged comes before the response, or ends an attempt of a background session; WillRetry stands between
// attempts. Completed is last, exactly once a task. More kinds may come
// with later versions: leave unknown ones alone.
//
// json.Marshal of an event is its form on the wire, one flat object without secrets, whose "event" is Name and whose
// times are RFC 3339 with nanoseconds. There an unknown expected size is 0; in these types it is -1.
//
// An event may be used from any goroutine, and after the iteration that yielded it, but for DataReceived.Data.
type Event interface {
	json.Marshaler
	// Name is the event's name on the wire, such as "downloadprogress".
	Name() string
	// Task is whose event it is; 0: the session's own.
	Task() TaskID
	// Sequence numbers the durable events of a session, from 1; 0: a live event.
	Sequence() uint64
	// Time is when it happened.
	Time() time.Time
}

// Envelope is what all events have; each kind embeds it. The zero Envelope, which is the only one that can be made
// outside this package, has no name and is null in JSON.
type Envelope struct{ event task.Event }

// Name is the event's name on the wire.
func (e Envelope) Name() string {
	if e.event.Detail == nil {
		return ""
	}
	return e.event.Detail.EventName()
}

// Task is whose event it is; 0: the session's own.
func (e Envelope) Task() TaskID { return TaskID(e.event.Task) }

// Sequence numbers durable events, from 1; 0: a live event.
func (e Envelope) Sequence() uint64 { return e.event.Sequence }

// Time is when it happened.
func (e Envelope) Time() time.Time { return e.event.Time }

// MarshalJSON is the event's form on the wire. What was changed in the event's other fields is not in it.
func (e Envelope) MarshalJSON() ([]byte, error) {
	if e.event.Detail == nil {
		return []byte("null"), nil
	}
	return e.event.MarshalJSON()
}

// The kinds of events.
type (
	// DownloadProgress is the newest state of a download's file. At most 10 come a second a task; the last before the
	// task's end always comes. Live; "downloadprogress".
	DownloadProgress struct {
		Envelope
		BytesWritten       int64 // since the last such event
		TotalBytesWritten  int64 // what was held before a resume is counted
		TotalBytesExpected int64 // -1: unknown
	}

	// UploadProgress is the same of a request's body, of any kind of task. BytesSent is TotalBytesSent where that is less than
	// before: it is sent again, or the server has lost some of it. Live; "uploadprogress".
	UploadProgress struct {
		Envelope
		BytesSent          int64 // since the last such event
		TotalBytesSent     int64
		TotalBytesExpected int64 // -1: unknown
		// Confirmed says that the server has said that it has TotalBytesSent; else so many have left.
		Confirmed bool
	}

	// DataReceived hands over a piece of the body of a task with Request.Stream, decoded. Data may be used until the next
	// event is asked for; until then the transfer reads one piece ahead, and waits. Live; "datareceived".
	DataReceived struct {
		Envelope
		Data []byte
	}

	// ResponseReceived is the head of the final response of an attempt, before its body. Secrets are cut out of URL and
	// Header: Status.Response has them as they came. Durable; "responsereceived".
	ResponseReceived struct {
		Envelope
		URL                string
		StatusCode         int
		Header             http.Header // not to be changed
		TotalBytesExpected int64       // -1: unknown
	}

	// Redirected says that the task goes on at another URL, or asks Configuration.OnRedirect whether to. Secrets are cut
	// out of the URLs. Durable; "redirected".
	Redirected struct {
		Envelope
		StatusCode int
		From, To   string
	}

	// Challenged says that a server, or a proxy, wants to know who asks, and takes nothing that is known. The task waits
	// (WaitAuthentication) for Configuration.OnChallenge or Task.Answer. Durable; "challenge".
	Challenged struct {
		Envelope
		Space            ProtectionSpace
		ProposedUser     string // as Challenge.ProposedUser
		PreviousFailures int    // as Challenge.PreviousFailures
		Err              error  // as Challenge.Err
		Ticket           string // what Task.Answer takes
	}

	// Waiting says why a running task does not move. Successive ones of a task collapse into the newest. Durable;
	// "waiting".
	Waiting struct {
		Envelope
		Reason WaitReason
		Detail string
		Until  time.Time // zero: not known
	}

	// WillRetry ends an attempt that failed: another follows. Successive ones of a task collapse into the newest. Durable;
	// "willretry".
	WillRetry struct {
		Envelope
		Attempt int       // the one that ended, from 1
		At      time.Time // when the next begins
		Err     error     // an *Error: why it failed
	}

	// Metrics tells what one attempt took, a transaction a redirect. Durable; "metrics".
	Metrics struct {
		Envelope
		Attempt      int           // from 1
		Transactions []Transaction // of more than some thousand those in the midst are left out
	}

	// DownloadCompleted says that the file stands under its final name: complete, of one version and verified. Durable;
	// "downloadcompleted".
	DownloadCompleted struct {
		Envelope
		Path   string // absolute
		Digest string // that it was verified by, "sha-256=HEX"; empty: none
	}

	// Completed is a task's last event. Durable; "sessioncompleted".
	Completed struct {
		Envelope
		Err        error // nil: success; else an *Error
		StatusCode int   // of the final response; 0: none came
		// ResponseText is the body of a data or upload task where it is text of at most 64 KiB; Task.Body has any.
		ResponseText string
	}

	// EventsCompleted says that all events stored before the iteration began have been delivered; live ones follow.
	// Not numbered; "sessioneventscompleted".
	EventsCompleted struct{ Envelope }

	// BackgroundTransfer says that events waited while the app was not listening; they follow. It comes first in
	// Session.Events, of a background session. Not numbered; "backgroundtransfer".
	BackgroundTransfer struct{ Envelope }

	// Invalidated is a session's last event: it was invalidated and its tasks have ended. Durable; "invalidated".
	Invalidated struct{ Envelope }

	// Gap says that the events From to To, inclusive, are no longer kept. Not numbered; "gap".
	Gap struct {
		Envelope
		From, To uint64
	}
)

// Transaction is one request and its response. Durations are 0 where a phase did not happen, as on a reused connection.
type Transaction struct {
	URL        string // secrets are cut out
	Method     string
	StatusCode int    // 0: no response came
	Proto      string // such as "HTTP/2.0"
	Remote     string // the address that was connected to; the proxy's, where there is one
	Reused     bool   // the connection had been used before
	Fetch      FetchType
	Start      time.Time
	DNS        time.Duration
	Connect    time.Duration
	TLS        time.Duration
	FirstByte  time.Duration // from Start to the response's first byte
	End        time.Duration // from Start to the body's last byte
}

// FetchType says where a response came from: NSURLSessionTaskMetrics.ResourceFetchType.
type FetchType string

// The places that responses come from.
const (
	FetchNetwork   FetchType = ""
	FetchCache     FetchType = "cache"     // URLCache, and the server was not asked, or could not be
	FetchValidated FetchType = "validated" // URLCache: the server was asked, and said that it is still right (304)
)

// publicEvent makes an event of the service one of this package; nil for a kind that this version does not know.
func publicEvent(ev task.Event) Event {
	e := Envelope{ev}
	switch d := ev.Detail.(type) {
	case task.DownloadProgress:
		return DownloadProgress{e, d.Written, d.Total, unknownIfZero(d.Expected)}
	case task.UploadProgress:
		return UploadProgress{e, d.Sent, d.Total, unknownIfZero(d.Expected), d.Confirmed}
	case task.DataReceived:
		return DataReceived{e, d.Data}
	case task.ResponseReceived:
		return ResponseReceived{e, d.URL, d.Status, d.Header, d.Expected}
	case task.Redirected:
		return Redirected{e, d.Status, d.From, d.To}
	case task.Challenge:
		c := challengeOf(&d)
		return Challenged{e, c.Space, c.ProposedUser, c.PreviousFailures, c.Err, c.Ticket}
	case task.Waiting:
		return Waiting{e, WaitReason(d.Reason), d.Detail, d.Until}
	case task.WillRetry:
		return WillRetry{e, d.Attempt, d.At, publicError("", task.FailureIn(d.Code, d.Status, d.Message).Err())}
	case task.Metrics:
		ts := make([]Transaction, len(d.Transactions))
		for i, t := range d.Transactions {
			ts[i] = Transaction{
				URL: t.URL, Method: t.Method, StatusCode: t.Status, Proto: t.Proto, Remote: t.Remote, Reused: t.Reused,
				Fetch: FetchType(t.Fetch), Start: t.Start, DNS: t.DNS, Connect: t.Connect, TLS: t.TLS, FirstByte: t.FirstByte, End: t.End,
			}
		}
		return Metrics{e, d.Attempt, ts}
	case task.DownloadCompleted:
		return DownloadCompleted{e, d.Path, d.Digest}
	case task.SessionCompleted:
		return Completed{e, completedError(d), d.Status, d.Text}
	case task.EventsCompleted:
		return EventsCompleted{e}
	case task.BackgroundTransfer:
		return BackgroundTransfer{e}
	case task.Invalidated:
		return Invalidated{e}
	case task.Gap:
		return Gap{e, d.From, d.To}
	}
	return nil
}

// unknownIfZero turns the wire's 0 into this package's -1.
func unknownIfZero(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// completedError is the failure that a task's last event tells; nil for success.
func completedError(d task.SessionCompleted) error {
	if d.Success {
		return nil
	}
	f := d.Failure
	if f == nil { // it came over a wire
		f = task.FailureIn(d.Code, d.Status, d.Message)
	}
	return publicError("", f.Err())
}
