package task

import "time"

// Resumable says by which protocol an upload is gone on from where it was cut.
type Resumable string

const (
	ResumableAuto Resumable = ""     // what the server is found to speak, of a body that is worth it
	ResumableIETF Resumable = "ietf" // draft-ietf-httpbis-resumable-upload, interop versions 8 to 3
	ResumableTus  Resumable = "tus"  // tus 1.0.0
	ResumableNo   Resumable = "no"   // one plain request: after a cut it is sent again from its start
)

// UploadSpec is what an upload is asked beyond its request.
type UploadSpec struct {
	Resumable Resumable `json:"resumable,omitempty"`
}

// UploadState is what an attempt leaves of an upload that can be gone on from: the server holds the rest. Its URL is a
// capability, whoever has it may go on with the upload or cancel it: it stays between the store, which seals it, and
// whoever runs the task.
type UploadState struct {
	Protocol Resumable `json:"protocol"`          // ResumableIETF or ResumableTus
	Version  int       `json:"version,omitempty"` // ResumableIETF: the interop version
	URL      string    `json:"url"`               // of the upload resource, absolute
	Offset   int64     `json:"offset"`            // bytes that the server has said it has
	// Whole says that all of the body has left, or may have: the upload may be done although the server does not say so.
	Whole bool `json:"whole,omitempty"`
	// Failed says that 500 was the answer when all of the body had left: that the server has all of it is no success then.
	Failed    bool      `json:"failed,omitempty"`
	MaxAppend int64     `json:"maxAppend,omitempty"` // most bytes that one request may append; 0: any number
	Expires   time.Time `json:"expires,omitzero"`    // after which the server may have dropped it; zero: unknown
}
