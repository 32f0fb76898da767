package control

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// The wire: HTTP/1.1 on a unix socket, JSON in the words of package task. Package server is its other end, and
// /openapi.json its description.
const (
	// APIVersion is the version that this program speaks, and the only one. Both ends say it in VersionHeader: a
	// difference is refused before anything is done.
	APIVersion    = 1
	VersionHeader = "Urlsession-Api"

	// StopPath is what a daemon is asked to stop by, of whatever version: a program that was updated must be able to have
	// its predecessor's daemon make room. It never changes.
	StopPath = "/v1/stop"

	// Host is the only Host that the daemon answers. A web page that has a name resolve to this machine has another one.
	Host = "urlsession"

	// ClaimHeader names who asks: events that are read as the owner, and acknowledgements, are of the same claim.
	ClaimHeader = "Urlsession-Claim"

	// TaskMediaType is a task with its request's body: the spec in JSON, one line, then the body's bytes.
	TaskMediaType = "application/vnd.urlsession.task"

	// HeartbeatEvery is the longest time for which an event stream is silent: a comment comes where no event does.
	HeartbeatEvery = 15 * time.Second

	JSONMediaType   = "application/json"
	EventsMediaType = "text/event-stream"
)

// Limits of one request.
const (
	MaxJSON  = 1 << 20  // bytes of JSON that is no spec and no batch
	MaxSpec  = 16 << 20 // bytes of a spec: 10,000 URLs of parts, of 1,500 bytes each
	MaxBatch = 10_000   // tasks
	MaxBytes = 64 << 20 // bytes of a batch
	MaxPage  = 1_000    // tasks of one page
	MaxParts = 100_000  // parts that servers have of the uploads of one page, but for its last task's
)

// The bodies of requests and responses that are no type of package task.
type (
	Created struct {
		Task task.ID `json:"taskIdentifier"`
	}
	Batch struct {
		// Key names the batch; its tasks' keys are made of it (BatchKey).
		Key   string      `json:"key,omitempty"`
		Tasks []task.Spec `json:"tasks"`
	}
	CreatedBatch struct {
		Tasks []task.ID `json:"taskIdentifiers"` // in the order of the specs
	}
	TaskList struct {
		Tasks []task.Record `json:"tasks"`
		Next  task.ID       `json:"next,omitempty"` // where the next page begins after; 0: this is the last
	}
	SessionList struct {
		Sessions []SessionInfo `json:"sessions"`
	}
	PriorityChange struct {
		Priority task.Priority `json:"priority"`
	}
	RateLimitChange struct {
		RateLimit int64 `json:"rateLimit"` // bytes a second; 0: none
	}
	URLChange struct {
		URL string `json:"url"`
	}
	TicketAnswer struct {
		Ticket   string        `json:"ticket"`
		Decision task.Decision `json:"decision"`
	}
	Acknowledgement struct {
		Sequence uint64 `json:"sequence"`
	}
)

// Events of an SSE stream that are no events of a session. Those have no name, and where they are durable their number
// is the id. An id without data says where the stream begins.
const (
	StreamEnd     = "end"     // nothing follows, and this was all
	StreamFailure = "failure" // nothing follows; the data is a task.Failure
)

// BatchKey is the key of task i of a batch.
func BatchKey(batch string, i int) string { return batch + "/" + strconv.Itoa(i) }

// sessionPath is the path of a session's resource; each element is escaped.
func sessionPath(session string, elements ...string) string {
	p := "/v1/sessions/" + url.PathEscape(session)
	for _, e := range elements {
		p += "/" + url.PathEscape(e)
	}
	return p
}

func taskPath(session string, id task.ID, element ...string) string {
	return sessionPath(session, append([]string{"tasks", strconv.FormatUint(uint64(id), 10)}, element...)...)
}

// encode is JSON of what cannot fail to encode, but for a float that is no number.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("it cannot be written as JSON: %w", err)
	}
	return b, nil
}
