package urlsessiontest

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"time"
)

// completion is the body of a request to complete; a part's ETag may come
// without its quotes, as S3 takes it.
type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Part    []struct {
		PartNumber int
		ETag       string
	}
}

// multipartFault is what the steps of a [MultipartServer] alone ask for.
type multipartFault struct {
	padding int           // bytes of white space before a completion's result
	lasting time.Duration // for which more comes, one byte a second
	cut     bool          // the connection ends after keep bytes of the answer's body
	keep    int
	refusal *multipartError // in place of all else
	failure *multipartError // in place of a completion's result, after its 200
}

type multipartError struct {
	status        int
	code, message string
}

// MultipartError refuses the request before any of its body is read, with an
// error of S3's form: MultipartError(403, "AccessDenied", "Request has expired"),
// MultipartError(503, "SlowDown", "Please reduce your request rate.").
func MultipartError(status int, code, message string) UploadStep {
	return func(r *UploadReply) { r.multipart.refusal = &multipartError{status, code, message} }
}

// MultipartFails answers a completion by 200, and then by an error in its body.
// The parts stay as they are: another completion may do better.
func MultipartFails(code, message string) UploadStep {
	return func(r *UploadReply) { r.multipart.failure = &multipartError{http.StatusOK, code, message} }
}

// MultipartPadding sends n bytes of white space before the result of a
// completion, as S3 does to keep the connection alive.
func MultipartPadding(n int) UploadStep { return func(r *UploadReply) { r.multipart.padding = n } }

// MultipartPaddingFor sends a byte of white space each second, for d, before the
// result of a completion.
func MultipartPaddingFor(d time.Duration) UploadStep {
	return func(r *UploadReply) { r.multipart.lasting = d }
}

// MultipartCut completes, answers 200, and ends the connection after n bytes of
// the result.
func MultipartCut(n int) UploadStep {
	return func(r *UploadReply) { r.multipart.cut, r.multipart.keep = true, n }
}

func (s *MultipartServer) complete(x *uploadExchange, m *Multipart) {
	var body strings.Builder
	if err := x.receive(func(p []byte) error { body.Write(p); return nil }); err != nil {
		if x.early != 0 {
			x.answer(UploadAnswer{Status: x.early})
			return
		}
		x.cut(err)
	}
	first := xml.Header + strings.Repeat(" ", x.reply.multipart.padding)
	if fault := x.reply.multipart.failure; fault != nil {
		x.stream(first, errorXML(fault.code, fault.message))
		return
	}
	var list completion
	if err := xml.Unmarshal([]byte(body.String()), &list); err != nil || len(list.Part) == 0 {
		x.fail(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")
		return
	}
	etag, wrong := m.complete(list)
	if wrong != nil {
		x.fail(wrong.status, wrong.code, wrong.message)
		return
	}
	result, err := xml.Marshal(struct {
		XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
		Location, Bucket, Key string
		ETag                  string
	}{Location: s.URL + "/bucket/" + m.Key, Bucket: "bucket", Key: m.Key, ETag: etag})
	if err != nil {
		panic("urlsessiontest: make a completion's XML: " + err.Error()) // strings do not fail
	}
	x.stream(first, string(result))
}

// complete makes the listed parts the object. To complete it again by the same
// list does nothing, and succeeds.
func (m *Multipart) complete(list completion) (etag string, wrong *multipartError) {
	m.server.changes(func() {
		var listed []int
		for i, p := range list.Part {
			held, ok := m.held[p.PartNumber]
			switch {
			case !ok || strings.Trim(held.etag(), `"`) != strings.Trim(p.ETag, `"`):
				wrong = &multipartError{http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag."}
			case i > 0 && p.PartNumber <= list.Part[i-1].PartNumber:
				wrong = &multipartError{http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order. The parts list must be specified in order by part number."}
			case i < len(list.Part)-1 && held.content.length() < m.server.minimum:
				wrong = &multipartError{http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size."}
			}
			if wrong != nil {
				break
			}
			listed = append(listed, p.PartNumber)
		}
		switch {
		case m.state == MultipartAborted, m.state == MultipartCompleted && !slices.Equal(listed, m.listed):
			wrong = &multipartError{http.StatusNotFound, "NoSuchUpload", "The specified multipart upload does not exist."}
		case wrong == nil:
			m.state, m.listed = MultipartCompleted, listed
			etag = m.etag()
		}
	})
	return etag, wrong
}
