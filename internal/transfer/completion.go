package transfer

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// mostCompletion is the most, in bytes, that is read of the answer to a completion.
const mostCompletion = 1 << 20

// storeError is an error as S3 writes it.
type storeError struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

// completion is the list that completes an upload in parts.
type completion struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUpload"`
	Part    []listedPart
}

type listedPart struct {
	PartNumber int
	ETag       string
}

// complete has the store make the parts one object, and returns its answer: once it is known what it says, which of 200 its
// body does.
func (m *multipart) complete() (*http.Response, error) {
	list := completion{}
	for _, p := range m.state.Parts {
		list.Part = append(list.Part, listedPart{p.Number, p.ETag})
	}
	text, err := xml.Marshal(&list)
	if err != nil {
		return nil, m.fail(task.Unknown, 0, fmt.Errorf("write the list of parts: %w", err))
	}
	req, err := m.newRequest(m.ctx)
	if err != nil {
		return nil, err
	}
	req.ContentLength = int64(len(text))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	req.Body, _ = req.GetBody()
	before := m.state.Whole // an earlier one may have come
	m.state.Whole = true
	m.tell()
	resp, err := m.send(transport.Decode(m.RoundTripper), req)
	if err != nil {
		if e, ok := err.(*task.Error); ok && e.Unsent && !before {
			m.state.Whole = false
			m.tell()
		}
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(alive{m.run, resp.Body}, mostCompletion+1))
	switch {
	case err != nil && m.stopped() == nil:
		return nil, m.wireError(fmt.Errorf("the answer to the completion, which may have been done, was cut off: %w", err))
	case err != nil:
		return nil, m.stopped()
	case len(answer) > mostCompletion:
		return nil, m.fail(task.BadServerResponse, resp.StatusCode, fmt.Errorf("the answer to the completion has more than %d bytes", mostCompletion))
	}
	hold(resp, answer)
	return m.judge(resp, answer, before)
}

// judge finds out what the answer to a completion says; before says that an earlier completion may have arrived.
func (m *multipart) judge(resp *http.Response, answer []byte, before bool) (*http.Response, error) {
	root, whole := rootOf(answer)
	said := storeError{}
	if root == "Error" && whole {
		_ = xml.Unmarshal(answer, &said) // rootOf has read it
	}
	ends := func(format string, args ...any) (*http.Response, error) {
		m.verdict = m.fail(task.BadServerResponse, resp.StatusCode, fmt.Errorf(format, args...))
		return resp, nil
	}
	switch {
	case resp.StatusCode == http.StatusOK && root == "CompleteMultipartUploadResult" && whole:
		return resp, nil
	case resp.StatusCode/100 == 2 && !whole:
		return nil, m.fail(task.ConnectionLost, resp.StatusCode, errors.New(
			"the answer to the completion ends before it says what became of it"))
	case said.Code == "NoSuchUpload" && before:
		return ends("the upload, whose completion was asked for before, is not known to the store any more: it is done, or it was aborted; look for the object there before it is sent again")
	case said.Code == "NoSuchUpload":
		m.forgetParts()
		return ends("the store knows no such upload: it was aborted, and its parts are gone; begin a new one")
	case said.Code == "InvalidPart":
		m.forgetParts()
		return ends("the store does not have a part as it said (%s): it was sent again by somebody else, or is gone; begin anew, or send all parts again", said)
	case said.Code == "InvalidPartOrder", said.Code == "EntityTooSmall":
		return ends("the store does not take the parts (%s); each but the last has %d bytes here", said, m.PartSize)
	case said.Code == "RequestTimeout":
		return nil, m.fail(task.ConnectionLost, resp.StatusCode, errors.New("the server answered "+said.String()))
	case resp.StatusCode/100 != 2:
		return explained(resp), nil
	case root != "Error":
		return ends("the answer to the completion is a %q, and no result of a store; find out there whether the object is whole", root)
	}
	_, err := ends("the store answered 200 to the completion, and then %s", said)
	switch said.Code { // its head had left before it was known: it is the error that it would have been
	case "InternalError":
		resp.StatusCode = http.StatusInternalServerError
	case "SlowDown", "ServiceUnavailable":
		resp.StatusCode = http.StatusServiceUnavailable
	}
	return resp, err
}

func (e storeError) String() string {
	text := e.Code
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// rootOf is the name of an XML document's root, and whether that is there to its end.
func rootOf(document []byte) (name string, whole bool) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimLeft(document, " \t\r\n")))
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return name, false
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				name = t.Name.Local
			}
		case xml.EndElement:
			if depth--; depth == 0 {
				return name, true
			}
		}
	}
}

// errorOf is what the body of an answer that keep has read says; the zero storeError: nothing.
func errorOf(resp *http.Response) (e storeError) {
	if b, ok := resp.Body.(*kept); ok {
		_ = xml.Unmarshal(b.all, &e)
	}
	return e
}

func isError(resp *http.Response, code string) bool { return errorOf(resp).Code == code }

// explained is an answer whose status has the store's own words with it, where an error names it.
func explained(resp *http.Response) *http.Response {
	if e := errorOf(resp); e.Code != "" {
		resp.Status = strings.TrimSpace(resp.Status) + " (" + e.String() + ")"
	}
	return resp
}
