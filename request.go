package urlsession

import (
	"net/http"
	"time"
)

// Request is what a task is asked to do. It is a value: copy and change it freely; creating a task takes a copy, so that
// one Request serves many tasks (but see Stream). Fields that do not fit the kind of task are refused, not ignored.
//
// Creation checks the whole request before any network I/O: its error names the field and the remedy.
type Request struct {
	// Method is case-sensitive. Empty: PUT for an upload, POST where it has Multipart, else GET.
	Method string
	// URL is absolute, http or https. Userinfo in it becomes Basic credentials. Only with Multipart it may be empty.
	URL string
	// Header names are compared case-insensitively. A header here wins over one of Configuration.AdditionalHeaders;
	// with an empty list of values it suppresses it. "Host" sets the request's host. Content-Length, Transfer-Encoding
	// and Trailer follow from Body and are refused. Authorization, Proxy-Authorization and Cookie are not sent on to
	// another origin by a redirect. A download refuses Range and If-Range, which it makes itself; where no
	// Accept-Encoding is given it asks for the file as it is ("identity"), and a data or upload task for gzip, br and zstd.
	Header http.Header
	// Body is the request's body; the zero value is none, which an upload refuses.
	Body Body

	// Description is for people; it is kept with the task.
	Description string
	// Metadata is for the app, which needs no map of its own from tasks to its things; it is kept with the task.
	Metadata map[string]string
	// Priority orders the tasks that wait for a connection to the same host. 0: PriorityDefault.
	Priority Priority
	// Suspended creates the task without starting it: it starts at Task.Resume.
	Suspended bool
	// EarliestBegin is when the task may begin; zero: at once. The resource timeout counts from its creation on.
	EarliestBegin time.Time

	// CachePolicy, of a data or upload task, is how Configuration.URLCache is used. CachePolicyDefault: as
	// Configuration.RequestCachePolicy says.
	CachePolicy CachePolicy

	// WaitsForAnswer has the task wait (WaitAuthentication) where a server wants to know who asks and takes nothing that is known, also
	// where Configuration.OnChallenge is nil: for Task.Answer, from whatever process. By default the refusal is the response there.
	WaitsForAnswer bool

	// FailOnHTTPError makes a status of 400 and above an error (ErrBadServerResponse, with Error.StatusCode): of a
	// download no file appears then. By default such an answer is a response, and its body the file.
	FailOnHTTPError bool
	// RetryUnsafe allows to send a request again that may have been applied (RFC 9110 §9.2.2), such as a POST whose
	// answer was lost; see Configuration.Retries.
	RetryUnsafe bool

	// Conflict, of a download: what happens when the destination exists. Default: ConflictFail.
	Conflict Conflict
	// Digests, of a download or upload: what the file must match, each "sha-256=HEX", "sha-512=HEX" or "md5=HEX"; else
	// ErrDigestMismatch, and no file appears, or nothing is sent: an upload's body is read once before. A Stream in process needs a
	// rewind function for that. A server that says another of what it has then is ErrDigestMismatch, too.
	Digests []string
	// DigestFile, of a download or upload: a checksum file as sha256sum, sha512sum and md5sum write, whose line for the file's
	// name counts. It is read when a download ends, and there its final name counts; of an upload, which must be of a File, when
	// the task is made.
	DigestFile string

	// RateLimit is the most bytes of bodies that the task receives a second, and apart from those the most that it sends,
	// beside what its session and the daemon may. 0: none of its own. Task.SetRateLimit changes it.
	RateLimit int64

	// Resumable, of an upload: how it goes on where it was cut, in place of anew. ResumableAuto: as the server can, where the
	// body is worth it. What a server holds of an upload is kept with the task, and a cancelled one is dropped there.
	Resumable Resumable
	// Multipart, of an upload: the body goes in parts to URLs of their own, and URL is where it is completed, if anywhere. nil: it
	// goes to URL.
	Multipart *Multipart

	// Limit, of a data or upload task: the most bytes that the response's body may measure, decoded; beyond it is
	// ErrDataTooLarge. 0: DefaultLimit.
	Limit int64
	// Stream, of a data task: the body is handed over as it comes, without Limit, by DataReceived events of Task.Events
	// (not of Session.Events), and the transfer waits for who listens there. Task.Body then has nothing. A background
	// session refuses it.
	Stream bool
}

// Resumable says by which protocol an upload goes on where it was cut (docs/uploads.md).
type Resumable int

const (
	// ResumableAuto offers a server draft-ietf-httpbis-resumable-upload in the request itself, where that is a POST, PUT or PATCH
	// with more than 1 MiB of known length. A server that knows nothing of it takes it as a plain upload; one that answers a POST
	// with that it speaks tus 1.0 gets that.
	ResumableAuto Resumable = iota
	// ResumableIETF is that of any length, in each interop version from 8 to 3. The server is asked by OPTIONS first: one that
	// says that it knows the protocol has the upload made by an empty request, which needs no 104.
	ResumableIETF
	// ResumableTus makes the upload by tus 1.0, whose creation URL is the request's: by POST, whatever its method.
	ResumableTus
	// ResumableNo sends a plain request, after a cut anew.
	ResumableNo
)

// String is "auto", "ietf", "tus" or "no".
func (r Resumable) String() string {
	switch r {
	case ResumableAuto:
		return "auto"
	case ResumableIETF:
		return "ietf"
	case ResumableTus:
		return "tus"
	case ResumableNo:
		return "no"
	}
	return "invalid"
}

// DefaultLimit is the most bytes of a response's body that a data or upload task takes unless Request.Limit says
// otherwise: 64 MiB. A download has no limit.
const DefaultLimit int64 = 64 << 20

// Get is a GET request, the kind for downloads and most data tasks.
func Get(url string) Request { return Request{Method: http.MethodGet, URL: url} }

// Head is a HEAD request: a response without a body.
func Head(url string) Request { return Request{Method: http.MethodHead, URL: url} }

// Post is a POST request.
func Post(url string, body Body) Request {
	return Request{Method: http.MethodPost, URL: url, Body: body}
}

// Put is a PUT request.
func Put(url string, body Body) Request {
	return Request{Method: http.MethodPut, URL: url, Body: body}
}

// Patch is a PATCH request.
func Patch(url string, body Body) Request {
	return Request{Method: http.MethodPatch, URL: url, Body: body}
}

// Delete is a DELETE request.
func Delete(url string) Request { return Request{Method: http.MethodDelete, URL: url} }

// Priority orders the tasks that wait for a connection to the same host: above 0, up to 1. Equal ones begin in the
// order of their creation. It does not share out bandwidth among tasks that run.
type Priority float64

// The usual priorities.
const (
	PriorityLow     Priority = 0.25
	PriorityDefault Priority = 0.5
	PriorityHigh    Priority = 0.75
)

// Conflict says what happens when the final name of a download exists.
type Conflict int

const (
	// ConflictFail ends the task with ErrDestinationExists. Where the name is known beforehand that is before any
	// network I/O; where it turns up later, what was downloaded is kept as the part file.
	ConflictFail Conflict = iota
	// ConflictReplace lets the new file take the name, atomically. A folder is never replaced.
	ConflictReplace
	// ConflictRename takes the first free name of "name (1).ext", "name (2).ext", ….
	ConflictRename
)

// String is "fail", "replace" or "rename".
func (c Conflict) String() string {
	switch c {
	case ConflictFail:
		return "fail"
	case ConflictReplace:
		return "replace"
	case ConflictRename:
		return "rename"
	}
	return "invalid"
}
