package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Event is one thing that happened to a task or its session. On the wire it is one flat JSON object: the envelope's
// fields, then the detail's.
type Event struct {
	Session string // empty for a session in process
	Task    ID     // 0: the session's own
	// Sequence numbers the durable events of a session from 1 without gaps; 0: a live event, which is not stored.
	Sequence uint64
	Time     time.Time
	Detail   Detail // never nil
}

// EventQuery chooses the events that a listener gets.
type EventQuery struct {
	Task ID // 0: those of all tasks and the session's own
	// After is the number of the last durable event that the listener has seen; nil: the acknowledged cursor, or of one
	// task the beginning.
	After *uint64
	// Own claims the session's acknowledged cursor for as long as the iteration lasts: a second owner gets SessionInUse.
	Own bool
	// DurableOnly leaves the live events out.
	DurableOnly bool
}

// Detail is what an event tells; its type is the event's kind.
type Detail interface {
	// EventName is the name on the wire, the seed's where it has one.
	EventName() string
}

// The live events: they have no number and are never stored.
type (
	// DownloadProgress is the newest state of a body on its way in. At most 10 a second a task, the last before the end
	// is never dropped.
	DownloadProgress struct {
		Written  int64 `json:"bytesWritten"` // since the last such event to this listener
		Total    int64 `json:"totalBytesWritten"`
		Expected int64 `json:"totalBytesExpectedToWrite"` // 0: unknown
	}
	// UploadProgress is the same of a request's body.
	UploadProgress struct {
		Sent     int64 `json:"bytesSent"`
		Total    int64 `json:"totalBytesSent"`
		Expected int64 `json:"totalBytesExpectedToSend"` // 0: unknown
		// Confirmed says that the server has said it has Total bytes; else so many have left.
		Confirmed bool `json:"confirmed,omitempty"`
	}
	// DataReceived hands over a piece of a streamed data task's body; the transfer waits until the listener asks for
	// the next event. Data is the listener's until then.
	DataReceived struct {
		Data []byte `json:"data"`
	}
	// EventsCompleted says that all events stored before have been delivered to this listener.
	EventsCompleted struct{}
	// Gap says that events From to To (inclusive) are no longer kept.
	Gap struct {
		From uint64 `json:"from"`
		To   uint64 `json:"to"`
	}
)

// The durable events.
type (
	// ResponseReceived is the head of the final response of an attempt. With Ticket the task waits for a Decision.
	ResponseReceived struct {
		URL      string      `json:"url"` // redacted
		Status   int         `json:"statusCode"`
		Header   http.Header `json:"header,omitempty"` // redacted
		Expected int64       `json:"expectedContentLength"`
		Ticket   string      `json:"ticket,omitempty"`

		Response *Response `json:"-"` // in process: not redacted
	}
	// Redirected says that the request goes on to another URL. With Ticket the task waits for a Decision.
	Redirected struct {
		Status int    `json:"statusCode"`
		From   string `json:"from"` // redacted
		To     string `json:"to"`   // redacted
		Ticket string `json:"ticket,omitempty"`

		Request *Request `json:"-"` // in process: what is to be sent, not redacted
	}
	// Challenge says that a server or a proxy wants to know who asks, and takes nothing that is known. With Ticket the task
	// waits for a Decision.
	Challenge struct {
		Space    ProtectionSpace `json:"protectionSpace"`
		User     string          `json:"proposedUser,omitempty"`         // what would be tried without an answer, or was refused last
		Failures int             `json:"previousFailureCount,omitempty"` // credentials that were refused there, for this request
		Message  string          `json:"message,omitempty"`              // why the last one was
		Ticket   string          `json:"ticket,omitempty"`
	}
	// Waiting says why a running task does not move.
	Waiting struct {
		Reason Reason    `json:"reason"`
		Detail string    `json:"detail,omitempty"`
		Until  time.Time `json:"until,omitzero"`
	}
	// WillRetry ends an attempt: another follows at At.
	WillRetry struct {
		Attempt int       `json:"attempt"` // the one that ended
		At      time.Time `json:"at"`
		Code    Code      `json:"errorCode"`
		Message string    `json:"message"`
		Status  int       `json:"statusCode,omitempty"`
	}
	// Metrics tells what one attempt took.
	Metrics struct {
		Attempt      int           `json:"attempt"`
		Transactions []Transaction `json:"transactions"`
	}
	// DownloadCompleted says that the file stands, whole, under its final name.
	DownloadCompleted struct {
		Path   string `json:"path"`
		Digest string `json:"digest,omitempty"`
	}
	// SessionCompleted is a task's last event, exactly one a task.
	SessionCompleted struct {
		Success bool   `json:"success"`
		Code    Code   `json:"errorCode"`
		Message string `json:"message,omitempty"`
		Status  int    `json:"statusCode,omitempty"`
		Text    string `json:"responseText,omitempty"` // data and upload: the body, where it is text and ≤ 64 KiB

		Failure *Failure `json:"-"` // in process: the failure whole
	}
	// BackgroundTransfer says that events wait for an app that was not listening.
	BackgroundTransfer struct {
		SessionID string `json:"sessionId"`
	}
	// Invalidated is a session's last event.
	Invalidated struct{}
)

// Transaction is one request and its response within an attempt: a redirect makes several. Durations are 0 where a
// phase did not happen.
type Transaction struct {
	URL       string        `json:"url"` // redacted
	Method    string        `json:"method"`
	Status    int           `json:"statusCode,omitempty"`
	Proto     string        `json:"protocol,omitempty"`
	Remote    string        `json:"remoteAddress,omitempty"`
	Reused    bool          `json:"reusedConnection,omitempty"`
	Fetch     FetchType     `json:"fetchType,omitempty"`
	Start     time.Time     `json:"start"`
	DNS       time.Duration `json:"dnsNanoseconds,omitempty"`
	Connect   time.Duration `json:"connectNanoseconds,omitempty"`
	TLS       time.Duration `json:"tlsNanoseconds,omitempty"`
	FirstByte time.Duration `json:"firstByteNanoseconds,omitempty"` // from Start
	End       time.Duration `json:"endNanoseconds,omitempty"`       // from Start to the body's last byte
}

// FetchType says where a response came from: NSURLSessionTaskMetrics.ResourceFetchType.
type FetchType string

const (
	FetchNetwork   FetchType = ""
	FetchCache     FetchType = "cache"     // the server was not asked
	FetchValidated FetchType = "validated" // it was, and said that what is stored is still right (304)
)

func (DownloadProgress) EventName() string   { return "downloadprogress" }
func (UploadProgress) EventName() string     { return "uploadprogress" }
func (DataReceived) EventName() string       { return "datareceived" }
func (EventsCompleted) EventName() string    { return "sessioneventscompleted" }
func (Gap) EventName() string                { return "gap" }
func (ResponseReceived) EventName() string   { return "responsereceived" }
func (Redirected) EventName() string         { return "redirected" }
func (Challenge) EventName() string          { return "challenge" }
func (Waiting) EventName() string            { return "waiting" }
func (WillRetry) EventName() string          { return "willretry" }
func (Metrics) EventName() string            { return "metrics" }
func (DownloadCompleted) EventName() string  { return "downloadcompleted" }
func (SessionCompleted) EventName() string   { return "sessioncompleted" }
func (BackgroundTransfer) EventName() string { return "backgroundtransfer" }
func (Invalidated) EventName() string        { return "invalidated" }

type envelope struct {
	Name     string    `json:"event"`
	Session  string    `json:"sessionIdentifier"`
	Task     ID        `json:"taskIdentifier,omitempty"`
	Sequence uint64    `json:"sequence,omitempty"`
	Time     time.Time `json:"time"`
}

// MarshalJSON writes the envelope's fields, then the detail's, in one object.
func (e Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil) }

// AppendJSON appends what MarshalJSON writes.
func (e *Event) AppendJSON(b []byte) ([]byte, error) {
	o := object{b: b}
	o.begin()
	o.text("event", e.Detail.EventName())
	o.text("sessionIdentifier", e.Session)
	o.optionalUnsigned("taskIdentifier", uint64(e.Task))
	o.optionalUnsigned("sequence", e.Sequence)
	o.time("time", e.Time)
	switch d := e.Detail.(type) {
	case DownloadProgress: // ten a second a task
		o.integer("bytesWritten", d.Written)
		o.integer("totalBytesWritten", d.Total)
		o.integer("totalBytesExpectedToWrite", d.Expected)
	case UploadProgress:
		o.integer("bytesSent", d.Sent)
		o.integer("totalBytesSent", d.Total)
		o.integer("totalBytesExpectedToSend", d.Expected)
		o.optionalBoolean("confirmed", d.Confirmed)
	default:
		o.fields(d)
	}
	o.end()
	return o.b, o.err
}

// ErrUnknownEvent is what UnmarshalJSON returns for an event of a name that this program does not know: a later version
// wrote it.
var ErrUnknownEvent = errors.New("unknown event")

// UnmarshalJSON reads what MarshalJSON writes. ErrUnknownEvent.
func (e *Event) UnmarshalJSON(data []byte) error {
	var h envelope
	if err := json.Unmarshal(data, &h); err != nil {
		return err
	}
	decode, ok := details[h.Name]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownEvent, h.Name)
	}
	detail, err := decode(data)
	if err != nil {
		return fmt.Errorf("event %q: %w", h.Name, err)
	}
	*e = Event{Session: h.Session, Task: h.Task, Sequence: h.Sequence, Time: h.Time, Detail: detail}
	return nil
}

var details = map[string]func([]byte) (Detail, error){}

func init() {
	register[DownloadProgress]()
	register[UploadProgress]()
	register[DataReceived]()
	register[EventsCompleted]()
	register[Gap]()
	register[ResponseReceived]()
	register[Redirected]()
	register[Challenge]()
	register[Waiting]()
	register[WillRetry]()
	register[Metrics]()
	register[DownloadCompleted]()
	register[SessionCompleted]()
	register[BackgroundTransfer]()
	register[Invalidated]()
}

func register[D Detail]() {
	var zero D
	details[zero.EventName()] = func(data []byte) (Detail, error) {
		var d D
		err := json.NewDecoder(bytes.NewReader(data)).Decode(&d)
		return d, err
	}
}
