package urlsession

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/urlsession/urlsession/internal/task"
)

// Multipart has an upload's body sent in parts, side by side, as S3 and its like take them, to URLs that somebody with a key
// has signed: each is a capability, which is kept sealed and shown nowhere. Each part is a PUT, which is sent again alone
// where it fails; an attempt after the first sends only what the server does not have.
//
// Request.URL is then where the upload is completed, by a POST with the list of the parts (CompleteMultipartUpload), whose
// answer is the response. Empty: the app completes, and Status.UploadedParts is what it needs; the response is then that of
// the last part to be done. Request.Method is POST or empty.
//
// The body is a File or Bytes, Text and JSON too; a background session, which copies it, takes any.
type Multipart struct {
	// Parts are the URLs of the parts, that of part 1 first; at least as many as the body needs, at most 10,000 of which are
	// used. Those behind are not.
	Parts []string
	// PartSize is the bytes of each part but the last, which may be shorter; S3 wants 5 MiB and more. 0: the body, whose length
	// must be known, in len(Parts) equal parts, but at least 5 MiB each, so that the last URLs may not be needed.
	PartSize int64
	// Header of each part's request, such as a Content-Type that was signed; nil: none. Request.Header and
	// Configuration.AdditionalHeaders are not the parts', but the completion's alone, which has no Content-Type by itself: a
	// signature may not allow any.
	Header http.Header
	// Abort is the URL by which a cancelled task drops the parts at the server (DELETE); empty: they stay there.
	Abort string
	// Uploaded are the parts that the server has from before: they are not sent, but listed at the completion.
	Uploaded []UploadedPart
}

// UploadedPart is a part that the server has.
type UploadedPart struct {
	Number int    // from 1
	ETag   string // as the server gave it, with its quotes
}

const (
	maximumParts    = 10_000  // S3's
	minimumPartSize = 5 << 20 // bytes; S3's, and that of equal parts
)

// check says which field is wrong, and what helps, as far as the body's size is not needed for that; 0 and "" for none.
func (m *Multipart) check(r *Request, background bool) (code Code, field, why string) {
	refuse := func(field, why string, args ...any) (Code, string, string) {
		return ErrUnknown, field, fmt.Sprintf(why, args...)
	}
	switch {
	case r.Method != "" && r.Method != http.MethodPost:
		return refuse("Method", "is %s; parts are sent by PUT, and completed by POST: leave it empty", r.Method)
	case r.Resumable != ResumableAuto:
		return refuse("Resumable", "is %s, and with Multipart the upload goes on by its parts; leave it ResumableAuto", r.Resumable)
	case !r.Body.apart && !background:
		return refuse("Body", "is read once from its start to its end, and parts are sent side by side; give a File or Bytes, or use a background session")
	case r.URL == "" && len(r.Header) > 0:
		return refuse("Header", "is the completion's, and without a URL there is none; the parts have Multipart.Header")
	case len(m.Parts) == 0:
		return refuse("Multipart.Parts", "is empty; it takes the URL of each part")
	case m.PartSize < 0:
		return refuse("Multipart.PartSize", "is %d bytes; 0 is the body in as many equal parts as there are URLs", m.PartSize)
	}
	for i, part := range m.Parts {
		if code, why := checkURL(part); why != "" {
			return code, fmt.Sprintf("Multipart.Parts[%d]", i), fmt.Sprintf("is %q: %s", redact(part), why)
		}
	}
	if m.Abort != "" {
		if code, why := checkURL(m.Abort); why != "" {
			return code, "Multipart.Abort", fmt.Sprintf("is %q: %s", redact(m.Abort), why)
		}
	}
	return 0, "", ""
}

// spec is the parts of a body of so many bytes, -1 where the daemon is to find out; why says what is wrong with which field.
func (m *Multipart) spec(size int64, completes bool) (spec *task.Multipart, field, why string) {
	refuse := func(field, why string, args ...any) (*task.Multipart, string, string) {
		return nil, field, fmt.Sprintf(why, args...)
	}
	spec = &task.Multipart{PartSize: m.PartSize, Completes: completes, Abort: m.Abort}
	urls := int64(len(m.Parts))
	needed := urls
	switch {
	case size < 0 && m.PartSize == 0:
		return refuse("Multipart.PartSize", "is 0, and how many bytes the body has is not known; give the parts a size")
	case size >= 0:
		if spec.PartSize == 0 {
			spec.PartSize = max(minimumPartSize, divide(size, min(urls, maximumParts)))
		}
		needed = max(1, divide(size, spec.PartSize)) // nothing is one part
	}
	switch {
	case needed > maximumParts && size >= 0:
		return refuse("Multipart.PartSize", "is %d, and makes %d parts of %d bytes; at most %d are taken: give it at least %d",
			spec.PartSize, needed, size, maximumParts, divide(size, maximumParts))
	case needed > urls:
		return refuse("Multipart.Parts", "has %d URLs, and %d bytes need %d parts of %d bytes; give as many, or a greater Multipart.PartSize",
			urls, size, needed, spec.PartSize)
	}
	needed = min(needed, maximumParts)
	spec.Parts = slices.Clone(m.Parts[:needed])

	if spec.Header, why = mergeHeader(m.Header, nil, ""); why == "" {
		why = checkHeader(task.Upload, spec.Header)
	}
	if why != "" {
		return refuse("Multipart.Header", "%s", why)
	}
	given := make(map[int]bool, len(m.Uploaded))
	for i, p := range m.Uploaded {
		name := fmt.Sprintf("Multipart.Uploaded[%d]", i)
		switch {
		case p.Number < 1 || int64(p.Number) > needed:
			return refuse(name, "has the number %d; the body's parts are 1 to %d", p.Number, needed)
		case given[p.Number]:
			return refuse(name, "has the number %d, as one before it; name each part once", p.Number)
		case p.ETag == "":
			return refuse(name, "has no ETag, which the completion lists; leave the part out, and it is sent again")
		}
		given[p.Number] = true
		spec.Uploaded = append(spec.Uploaded, task.Part{Number: p.Number, ETag: p.ETag})
	}
	slices.SortFunc(spec.Uploaded, func(a, b task.Part) int { return a.Number - b.Number })
	return spec, "", ""
}

// divide is a/b rounded up; of nothing 0.
func divide(a, b int64) int64 {
	if a == 0 {
		return 0
	}
	return (a-1)/b + 1
}

// uploadedParts are those that a record says the server has.
func uploadedParts(u *task.UploadState) []UploadedPart {
	if u == nil || u.Protocol != task.ResumableParts {
		return nil
	}
	parts := make([]UploadedPart, len(u.Parts))
	for i, p := range u.Parts {
		parts[i] = UploadedPart{Number: p.Number, ETag: p.ETag}
	}
	return parts
}
