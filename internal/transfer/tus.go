package transfer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
)

// tus is tus 1.0.0 (https://tus.io/protocols/resumable-upload), with its extensions creation, termination and expiration. Its
// uploads are created empty: one whose connection broke with content in it would have no name.
type tus struct{}

const (
	tusVersion     = "1.0.0"
	resumableField = "Tus-Resumable"
	metadataField  = "Upload-Metadata"
)

func (tus) announce(h http.Header) { h.Set(resumableField, tusVersion) }

func (p tus) append(h http.Header, offset int64, _ bool) {
	p.announce(h)
	h.Set(offsetField, strconv.FormatInt(offset, 10))
	h.Set("Content-Type", "application/offset+octet-stream")
}

// complete: an upload is done when it has its length.
func (tus) complete(h http.Header, size int64) (complete, said bool) {
	offset, said := integer(h, offsetField)
	return said && offset == size, said
}

func (tus) limits(h http.Header) (l uploadLimits) {
	l.maxSize, _ = integer(h, "Tus-Max-Size")
	l.expires, _ = http.ParseTime(h.Get("Upload-Expires"))
	return l
}

// speaksTus says whether a server that has refused a request did so for want of tus's version.
func speaksTus(resp *http.Response) bool {
	return resp.StatusCode == http.StatusPreconditionFailed &&
		(resp.Header.Get(resumableField) == tusVersion || strings.Contains(resp.Header.Get("Tus-Version"), tusVersion))
}

// createTus makes an empty upload at the URL of the task, by POST. No response and no error: it is to be gone on with.
func (u *upload) createTus() (*http.Response, error) {
	req := u.begin(u.req, uploadRequest{creation: true})
	req.Method = http.MethodPost
	for name := range req.Header {
		if ofTarget(name) && http.CanonicalHeaderKey(name) != metadataField {
			delete(req.Header, name)
		}
	}
	tus{}.announce(req.Header)
	req.Header.Set(lengthField, strconv.FormatInt(u.size, 10))
	if m := u.metadata(); m != "" && req.Header.Get(metadataField) == "" {
		req.Header.Set(metadataField, m)
	}
	resp, err := u.send(u.rt, req)
	if e, ok := err.(*task.Error); ok { // what was made is empty, and has no name
		c := *e
		c.Unsent = true
		return nil, &c
	}
	if err != nil || resp.StatusCode/100 != 2 {
		return resp, err
	}
	if resp.StatusCode != http.StatusCreated || resp.Request.Method != http.MethodPost {
		resp.Body.Close()
		return nil, u.fail(task.BadServerResponse, 0, fmt.Errorf(
			"the server answered %s where a tus upload was to be made, and nothing was sent: it does not speak tus there; upload without resuming",
			statusText(resp)))
	}
	at := resourceURL(u.target, resp.Header.Get("Location"))
	if at == nil {
		resp.Body.Close()
		return nil, u.fail(task.BadServerResponse, 0, errors.New("the server has made a tus upload, and does not say where"))
	}
	u.mu.Lock()
	u.name(&task.UploadState{Protocol: task.ResumableTus, URL: at.String(), Expires: tus{}.limits(resp.Header).expires})
	u.tell()
	u.mu.Unlock()
	if u.size == 0 {
		return u.answer(resp), nil
	}
	resp.Body.Close()
	u.at = 0
	if u.foreign() {
		u.at = -1
	}
	return nil, nil
}

// metadata is the file's name and type, where they are known.
func (u *upload) metadata() string {
	var fields []string
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, key+" "+base64.StdEncoding.EncodeToString([]byte(value)))
		}
	}
	if b := u.Spec.Request.Body; b != nil && b.Path != "" && !b.Spooled {
		add("filename", filepath.Base(b.Path))
	}
	add("filetype", u.req.Header.Get("Content-Type"))
	return strings.Join(fields, ",")
}

// locked is an upload that another request still holds: it is tried again as after a cut.
func (u *upload) locked(resp *http.Response) error {
	resp.Body.Close()
	return u.fail(task.ConnectionLost, resp.StatusCode, fmt.Errorf("the server answered %s: an earlier request still holds the upload", statusText(resp)))
}
