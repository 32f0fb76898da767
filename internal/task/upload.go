package task

import (
	"net/http"
	"time"
)

// Resumable says by which protocol an upload is gone on from where it was cut.
type Resumable string

const (
	ResumableAuto Resumable = ""     // what the server is found to speak, of a body that is worth it
	ResumableIETF Resumable = "ietf" // draft-ietf-httpbis-resumable-upload, interop versions 8 to 3
	ResumableTus  Resumable = "tus"  // tus 1.0.0
	ResumableNo   Resumable = "no"   // one plain request: after a cut it is sent again from its start

	// ResumableParts is in an UploadState alone: of an upload in parts, which UploadSpec.Multipart asks for.
	ResumableParts Resumable = "multipart"
)

// UploadSpec is what an upload is asked beyond its request.
type UploadSpec struct {
	Resumable Resumable `json:"resumable,omitempty"`
	// Digests that the body must have, as DownloadSpec.Digests.
	Digests []string `json:"digests,omitempty"`
	// Multipart has the body sent in parts; nil: by Resumable, which has no meaning beside it.
	Multipart *Multipart `json:"multipart,omitempty"`
	// Resume is what a server holds of an upload that an earlier task has left: a new task's Record.Upload, to which it is moved
	// at creation. nil in a Record.
	Resume *UploadState `json:"resume,omitempty"`
}

// Multipart is an upload in parts, as S3 and its like take it, to URLs that somebody with a key has signed. Each URL is a
// capability.
type Multipart struct {
	// Parts are where the parts go, by PUT, the first first. There may be more than the body needs.
	Parts []string `json:"parts"`
	// PartSize of each part but the last, in bytes; above 0.
	PartSize int64 `json:"partSize"`
	// Header of each part's request. Request.Header is the completion's.
	Header http.Header `json:"header,omitempty"`
	// Completes says that Request is what completes the upload: a POST whose body lists the parts. Else Request.URL is the
	// first part's, and whoever made the task completes it.
	Completes bool `json:"completes,omitempty"`
	// Abort is where a cancelled upload is dropped, by DELETE; empty: nowhere.
	Abort string `json:"abort,omitempty"`
	// Uploaded are parts that the server has already, from an earlier task: they are not sent.
	Uploaded []Part `json:"uploaded,omitempty"`
}

// Part is one that the server has, or has a part of.
type Part struct {
	Number int    `json:"number"`         // from 1
	ETag   string `json:"etag,omitempty"` // as it came, quotes and all; of ResumableParts
	// URL and Length of a partial upload of tus, which are joined in the end (concatenation).
	URL    string `json:"url,omitempty"`
	Length int64  `json:"length,omitempty"`
}

// UploadState is what an attempt leaves of an upload that can be gone on from: the server holds the rest. Its URL is a
// capability, whoever has it may go on with the upload or cancel it: it stays between the store, which seals it, and
// whoever runs the task.
type UploadState struct {
	Protocol Resumable `json:"protocol"`          // ResumableIETF, ResumableTus or ResumableParts
	Version  int       `json:"version,omitempty"` // ResumableIETF: the interop version
	URL      string    `json:"url,omitempty"`     // of the upload resource, absolute; of parts: none
	Offset   int64     `json:"offset"`            // bytes that the server has said it has
	// Sent is how much of the body may have left, at least: a server that says it has more has it from elsewhere.
	Sent int64 `json:"sent,omitempty"`
	// Parts of an upload that is sent side by side, ascending.
	Parts []Part `json:"parts,omitempty"`
	// Whole says that all of the body has left, or may have: the upload may be done although the server does not say so.
	Whole bool `json:"whole,omitempty"`
	// Failed says that 500 was the answer when all of the body had left: that the server has all of it is no success then.
	Failed    bool      `json:"failed,omitempty"`
	MaxAppend int64     `json:"maxAppend,omitempty"` // most bytes that one request may append; 0: any number
	Expires   time.Time `json:"expires,omitzero"`    // after which the server may have dropped it; zero: unknown
}
