// Package task is the vocabulary of urlsession: what a task is asked to do (Spec), what is known of it (Record), what
// is told of it (Event), and how it fails (Error, Code). It does no I/O. Every other package speaks in these words; a
// newcomer reads this one first.
//
// Its types are the form in which tasks are stored and sent to the daemon: a JSON name here is a promise to the disk.
// The public API converts them.
package task

import (
	"fmt"
	"net/http"
	"time"
)

// ID numbers a task within its session, from 1. A number is never used again, also not after a restart.
type ID uint64

// Kind says what becomes of a response's body.
type Kind string

const (
	Data     Kind = "data"     // the body is held in memory, up to Spec.Limit
	Download Kind = "download" // the body becomes a file
	Upload   Kind = "upload"   // as Data; the request carries a body whose progress is reported
)

// State is where a task is in its life; docs/states.md draws it.
//
//	          suspend              end
//	running ─────────▶ suspended   running ──▶ completed
//	   ▲                   │
//	   └───────resume──────┘       any but completed ──cancel──▶ canceling ──▶ completed
type State string

const (
	Running   State = "running"   // it transfers, or waits for what Record.Waiting says
	Suspended State = "suspended" // Record.SuspendCount resumes away from running
	Canceling State = "canceling" // it was cancelled and has not ended yet
	Completed State = "completed" // it has ended; its last event is stored
)

// Spec is what a task was asked to do, whole: it alone, with the body that came beside it, is enough to run the task
// in another process. It never changes after creation, but for Priority, RateLimit and, for a moved URL, Request.URL.
type Spec struct {
	Kind    Kind    `json:"kind"`
	Request Request `json:"request"`

	// Key names this creation: a client that has lost the answer to a create finds by it whether the task was made.
	// Random, and unique within the session; empty in process.
	Key string `json:"key,omitempty"`

	// Configuration numbers the configuration of its session that the task was created under, from 1; its requests keep to
	// that one's proxy, TLS and cookies. 0 in process, where a session has one. Whoever runs the tasks sets it.
	Configuration int `json:"configuration,omitempty"`

	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`

	Priority      Priority  `json:"priority,omitempty"`     // 0 is PriorityDefault
	Suspended     bool      `json:"suspended,omitempty"`    // created suspended once
	EarliestBegin time.Time `json:"earliestBegin,omitzero"` // zero: at once

	Policy Policy `json:"policy"`

	Download  *DownloadSpec `json:"download,omitempty"`  // downloads only
	Upload    *UploadSpec   `json:"upload,omitempty"`    // uploads only; nil: the zero UploadSpec
	Limit     int64         `json:"limit,omitempty"`     // data and upload: most bytes of a decoded body; 0: DefaultLimit
	RateLimit int64         `json:"rateLimit,omitempty"` // most bytes a second of its bodies, received and sent; 0: none. Changes
	Stream    bool          `json:"stream,omitempty"`    // data, in process: the body goes to DataReceived events and is not held
}

// Resendable says whether the request may be sent again although it may have been applied: its method is idempotent
// (RFC 9110 §9.2.2), the caller vouches for it, or it is an upload in parts, which replace themselves and are completed once.
func (s *Spec) Resendable() bool {
	if s.Upload != nil && s.Upload.Multipart != nil {
		return true
	}
	switch s.Request.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace:
		return true
	}
	return s.Policy.RetryUnsafe || s.Request.Header.Get("Idempotency-Key") != ""
}

// DefaultLimit is the most that a data task's body may measure, decoded, in bytes, unless Spec.Limit says otherwise.
const DefaultLimit = 64 << 20

// Request is an HTTP request as a task carries it.
type Request struct {
	Method string      `json:"method"` // never empty
	URL    string      `json:"url"`
	Header http.Header `json:"header,omitempty"`
	Body   *Body       `json:"body,omitempty"`
}

// Body says where a request's body comes from.
type Body struct {
	// Path names a file, absolute. Empty: the bytes came beside the Spec, as the reader given to Create.
	Path string `json:"path,omitempty"`
	// Size in bytes; -1: unknown until it was read to its end.
	Size int64 `json:"size"`
	// Spooled says that the file at Path is a copy of bytes that came beside the Spec, kept until the task ends.
	Spooled bool `json:"spooled,omitempty"`
	// Source is what the file was at creation; nil for bytes.
	Source *Source `json:"source,omitempty"`
}

// Source is the identity of an upload's file. A file that is no longer this one, by inode, size and time of modification, is
// not sent (SourceChanged). The device is kept to be looked at by a person: its number is not the same after each boot.
type Source struct {
	Size    int64     `json:"size"`
	ModTime time.Time `json:"modTime"`
	Device  uint64    `json:"device"`
	Inode   uint64    `json:"inode"`
}

// Changed says what of a file that is now as now is not as in s; empty: it is the same. The device is not looked at. The kernel
// numbers devices anew at each boot and mount (NVMe, btrfs, NFS, overlays), and an upload that goes on after a reboot must not
// be told that its file has changed; a file on another device that agrees in the three is a copy.
func (s *Source) Changed(now *Source) string {
	switch {
	case now.Inode != s.Inode:
		return "another file has its name now"
	case now.Size != s.Size:
		return fmt.Sprintf("it has %d bytes now, and had %d", now.Size, s.Size)
	case !now.ModTime.Equal(s.ModTime):
		return "it was written to"
	}
	return ""
}

// DownloadSpec is what a download is asked beyond its request.
type DownloadSpec struct {
	// Destination as the user gave it, which the part file's key is made of. Empty: a temporary file, which is the
	// caller's to remove.
	Destination string `json:"destination,omitempty"`
	// Path is Destination made absolute in the app. With Folder, the file's name comes from the response.
	Path     string   `json:"path,omitempty"`
	Folder   bool     `json:"folder,omitempty"`
	Conflict Conflict `json:"conflict,omitempty"`
	// Digests that the file must have, each "sha-256=HEX", "sha-512=HEX" or "md5=HEX".
	Digests []string `json:"digests,omitempty"`
	// DigestFile is a checksum file (as sha256sum writes), absolute; its line for the file's final name counts.
	DigestFile string `json:"digestFile,omitempty"`
	// Resume is set on a task made from resume data.
	Resume *ResumeData `json:"resume,omitempty"`
	// KeyURL is the URL that the part file's key is made of where Request.URL has replaced it; empty: Request.URL. It
	// holds secrets as that does.
	KeyURL string `json:"keyURL,omitempty"`
}

// Commit is a part file on the verge of its final name. It is recorded before the rename, so that a task whose process
// ended between that and its own end finds its file again.
type Commit struct {
	Path   string `json:"path"` // the final name
	Part   string `json:"part"` // the part file
	File   Source `json:"file"` // what the part file is, and the file at Path once it has the name
	Digest string `json:"digest,omitempty"`
}

// Conflict says what happens when a download's final name exists.
type Conflict string

const (
	ConflictFail    Conflict = ""        // DestinationExists; the part file is kept
	ConflictReplace Conflict = "replace" // the new file takes the name, atomically
	ConflictRename  Conflict = "rename"  // "name (1).ext", "name (2).ext", … is taken instead
)

// Priority orders the tasks that wait for the same host, from 0 (exclusive) to 1; equal ones keep the order of their
// creation.
type Priority float64

const (
	PriorityLow     Priority = .25
	PriorityDefault Priority = .5
	PriorityHigh    Priority = .75
)

// Policy is the part of a configuration that governs one task. It is copied at creation.
type Policy struct {
	RequestTimeout  time.Duration `json:"requestTimeout"`  // idle time, reset by each byte; 0: none
	ResourceTimeout time.Duration `json:"resourceTimeout"` // from start to end, suspended time not counted; 0: none

	WaitsForConnectivity bool `json:"waitsForConnectivity,omitempty"`
	WaitsForSpace        bool `json:"waitsForSpace,omitempty"` // a full disk pauses the task; false: it fails with CannotWriteFile
	Discretionary        bool `json:"discretionary,omitempty"` // an attempt begins, and goes on, only while power and network are free
	AllowsExpensive      bool `json:"allowsExpensive"`
	AllowsConstrained    bool `json:"allowsConstrained"`

	// Connections is the most that a download, or an upload in parts, takes, its first one included; 0: as many as its host may have; 1: one, over
	// which the holes of a part file are fetched, or the parts sent, one after the other. A download takes further ones only while
	// they help.
	Connections int `json:"connections,omitempty"`

	Cache CachePolicy `json:"cache,omitempty"` // data and upload tasks of a session that has a cache

	Retries         int  `json:"retries,omitempty"`     // attempts after the first; -1: until ResourceTimeout
	RetryUnsafe     bool `json:"retryUnsafe,omitempty"` // send POST and PATCH again although the first may have been applied
	FailOnHTTPError bool `json:"failOnHTTPError,omitempty"`
	ForbidDowngrade bool `json:"forbidDowngrade,omitempty"` // a redirect from https to http fails the task

	Ask Ask `json:"ask,omitzero"`
}

// Ask says which decisions a task asks for by an event with a ticket, and waits for (Service.Answer). What is not
// asked takes its default: redirects are followed, responses allowed, and a server that wants to know who asks, and takes
// nothing that is known, has its refusal be the response.
type Ask struct {
	Redirect  bool `json:"redirect,omitempty"`
	Response  bool `json:"response,omitempty"`
	Challenge bool `json:"challenge,omitempty"`
}

// CachePolicy says how a request uses the session's cache: NSURLRequest.CachePolicy.
type CachePolicy string

const (
	CacheUseProtocol                  CachePolicy = "" // RFC 9111
	CacheReloadIgnoringLocal          CachePolicy = "reloadIgnoringLocal"
	CacheReturnElseLoad               CachePolicy = "returnElseLoad"
	CacheReturnDontLoad               CachePolicy = "returnDontLoad" // a miss is CannotLoadFromNetwork
	CacheReloadIgnoringLocalAndRemote CachePolicy = "reloadIgnoringLocalAndRemote"
	CacheReloadRevalidating           CachePolicy = "reloadRevalidating"
)

// Decision answers a ticket.
type Decision struct {
	// Request to follow a redirect with, changed or not. Nil on a redirect: it is refused, and the 3xx is the response.
	Request *Request `json:"request,omitempty"`
	// Cancel, on a response: the task ends with Cancelled.
	Cancel bool `json:"cancel,omitempty"`
	// Answer to a challenge; nil is UseDefault.
	Answer *Answer `json:"answer,omitempty"`
}

// ProtectionSpace is where one credential holds (RFC 9110 §11.5).
type ProtectionSpace struct {
	Proxy  bool   `json:"proxy,omitempty"` // the server is a proxy
	Scheme string `json:"scheme"`          // http, https; of a proxy also socks5
	Host   string `json:"host"`            // in lower case, A-labels
	Port   int    `json:"port"`
	Realm  string `json:"realm,omitempty"`
	Method string `json:"method"` // Basic, Digest, Bearer, NTLM, Negotiate
}

// Disposition is what is done at a challenge: NSURLSession.AuthChallengeDisposition.
type Disposition string

const (
	UseDefault    Disposition = ""       // as if nobody had been asked
	UseCredential Disposition = "use"    // Answer.Credential is tried
	CancelTask    Disposition = "cancel" // the task ends with UserCancelledAuth
	RejectSpace   Disposition = "reject" // the next that the server offers; after the last, its refusal is the response
)

// Answer answers a Challenge.
type Answer struct {
	Disposition Disposition `json:"disposition,omitempty"`
	Credential  *Credential `json:"credential,omitempty"` // of UseCredential
}

// Credential says who somebody is and proves it: user and password, or a token. It marshals whole, for the socket and for
// sealed records; printed, its secrets do not show.
type Credential struct {
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
	// Persistence is how long it is kept once the server has taken it: "none" (or empty), "session", "permanent".
	Persistence string `json:"persistence,omitempty"`
}

// Format hides the secrets from every verb.
func (c Credential) Format(w fmt.State, _ rune) { fmt.Fprintf(w, "credential of %q", c.User) }

// Answered is a challenge with its answer, for an attempt that comes after the one that was challenged.
type Answered struct {
	Challenge Challenge `json:"challenge"`
	Answer    Answer    `json:"answer"`
}

// Response is a response's head.
type Response struct {
	URL    string `json:"url"` // the one that answered, after redirects
	Status int    `json:"statusCode"`
	Proto  string `json:"protocol,omitempty"` // "HTTP/1.1", "HTTP/2.0"
	// Header as received, Set-Cookie too: it is not for events and logs (ResponseReceived has a redacted copy).
	Header http.Header `json:"header,omitempty"`
	// ContentLength is the length of this message's body as sent; -1: unknown.
	ContentLength int64 `json:"contentLength"`
	// Coding names a content coding that the stored bytes still have: a download saves what was sent.
	Coding string `json:"coding,omitempty"`
	// Fetch says where it came from, while its attempt runs; Transaction.Fetch lasts.
	Fetch FetchType `json:"-"`
}

// Counts of bytes, of the newest attempt; a resumed download counts what it held as received. Expected is -1 while it
// is unknown.
type Counts struct {
	Sent              int64 `json:"bytesSent"`
	ExpectedToSend    int64 `json:"bytesExpectedToSend"`
	Received          int64 `json:"bytesReceived"`
	ExpectedToReceive int64 `json:"bytesExpectedToReceive"`
	// Rate of the direction that moves, in bytes a second over the last seconds; 0 while it stands. Never stored.
	Rate float64 `json:"rate,omitempty"`
	// Confirmed says that the server of an upload has said it has Sent bytes.
	Confirmed bool `json:"confirmed,omitempty"`
}

// Reason says what a running task that does not move waits for.
type Reason string

const (
	WaitConnectivity   Reason = "connectivity"
	WaitDiscretionary  Reason = "discretionary"
	WaitSchedule       Reason = "schedule"       // EarliestBegin
	WaitHostLimit      Reason = "hostLimit"      // connections per host
	WaitRetry          Reason = "retry"          // until Until, after Error
	WaitAuthentication Reason = "authentication" // an answer to Ticket
	WaitSpace          Reason = "space"          // room on the disk of Detail, a folder
)

// Wait is why a running task does not move.
type Wait struct {
	Reason Reason    `json:"reason"`
	Detail string    `json:"detail,omitempty"` // discretionary: "power" or "network"; space: the folder
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
	Error  *Failure  `json:"error,omitempty"` // retry: what the last attempt ended with
	Ticket string    `json:"ticket,omitempty"`
	// Challenge is what is asked, of WaitAuthentication.
	Challenge *Challenge `json:"challenge,omitempty"`
}

// Record is what is known of a task: what a store keeps.
type Record struct {
	ID    ID    `json:"taskIdentifier"`
	Spec  Spec  `json:"spec"`
	State State `json:"state"`

	Waiting      *Wait `json:"waiting,omitempty"`
	SuspendCount int   `json:"suspendCount,omitempty"`

	Created time.Time     `json:"created"`
	Ended   time.Time     `json:"ended,omitzero"`
	Active  time.Duration `json:"active,omitempty"` // time not suspended before Since, for ResourceTimeout
	Since   time.Time     `json:"since,omitzero"`   // since when it is not suspended; zero: it is

	// Attempt numbers the run that is under way or was the last, from 1; 0 before the first. A store refuses a write
	// from an earlier attempt (it fences a late writer).
	Attempt int `json:"attempt,omitempty"`
	// UnderWay says that the attempt has begun and that its end is not recorded: what of it has left is unknown.
	UnderWay bool      `json:"underWay,omitempty"`
	Retries  int       `json:"retries,omitempty"` // of Policy.Retries, used
	Next     time.Time `json:"next,omitzero"`     // the next attempt does not begin before
	// Answered are the answers to challenges that came between attempts, at most one a protection space: each attempt has
	// them, until its space challenges anew. They hold secrets, and stay between the store and whoever runs the task.
	Answered []Answered `json:"answered,omitempty"`
	// Commit is set from before a download's file takes its final name until the task has ended.
	Commit *Commit `json:"commit,omitempty"`
	// Upload is set while the server holds an upload, or a part of it, that the next attempt goes on from. As Answered, it
	// stays between the store and whoever runs the task, but for the Parts of ResumableParts: these are handed back, also once
	// the task has ended.
	Upload *UploadState `json:"upload,omitempty"`

	URL      string    `json:"url,omitempty"` // the current request's, after redirects; empty: Spec.Request.URL
	Response *Response `json:"response,omitempty"`
	Counts   Counts    `json:"counts"`

	// Of a completed task.
	Failure *Failure `json:"failure,omitempty"` // nil: success
	Path    string   `json:"path,omitempty"`    // a download's file
	Digest  string   `json:"digest,omitempty"`  // a download's verified digest, "sha-256=HEX"; empty: none was asked

	// KeepUpload says that the task is cancelled for its resume data: the server is not told to drop what it holds of an upload.
	KeepUpload bool `json:"keepUpload,omitempty"`
	// ResumeData is what a task that did not succeed leaves to be gone on from; nil where nothing is held. Of a download in the
	// background it is kept of each attempt that has ended, of an upload from its end on; before that, who asks for the task is told
	// what Upload comes to.
	ResumeData *ResumeData `json:"resumeData,omitempty"`

	// Version counts the writes of this record, for the store's compare-and-swap.
	Version uint64 `json:"version"`
}

// Deadline is when Policy.ResourceTimeout ends the task; zero: never, or the task is suspended.
func (r *Record) Deadline() time.Time {
	limit := r.Spec.Policy.ResourceTimeout
	if limit <= 0 || r.Since.IsZero() {
		return time.Time{}
	}
	return r.Since.Add(limit - r.Active)
}

// AwaitsAnswer says whether the task runs and goes on at an answer alone.
func (r *Record) AwaitsAnswer() bool {
	return r.State == Running && r.Waiting != nil && r.Waiting.Reason == WaitAuthentication
}

// CurrentURL is where the task's request goes now, after redirects.
func (r *Record) CurrentURL() string {
	if r.URL != "" {
		return r.URL
	}
	return r.Spec.Request.URL
}
