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

// tus is tus 1.0.0 (https://tus.io/protocols/resumable-upload), with its extensions creation, creation-with-upload, termination,
// checksum, expiration and concatenation.
type tus struct{}

// mostAtOnce is the size of a body, in bytes, up to which an upload is created with it, where the server takes that: a round trip
// less. One whose connection breaks with content in it has no name, and stays at the server as it is: more than this is not sent
// twice for that.
const mostAtOnce = 1 << 20

const tusContent = "application/offset+octet-stream"

const (
	tusVersion     = "1.0.0"
	resumableField = "Tus-Resumable"
	metadataField  = "Upload-Metadata"
)

func (tus) announce(h http.Header) { h.Set(resumableField, tusVersion) }

func (p tus) append(h http.Header, offset int64, _ bool) {
	p.announce(h)
	h.Set(offsetField, strconv.FormatInt(offset, 10))
	h.Set("Content-Type", tusContent)
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

// tusCreation is a creation at the URL of the task, by POST: of an upload of u.size bytes, with no content yet.
func (u *upload) tusCreation(r uploadRequest) *http.Request {
	r.creation = true
	req := u.begin(u.req, r)
	req.Method = http.MethodPost
	for name := range req.Header {
		if ofTarget(name) && http.CanonicalHeaderKey(name) != metadataField {
			delete(req.Header, name)
		}
	}
	tus{}.announce(req.Header)
	if u.partial {
		req.Header.Set(concatField, "partial")
		req.Header.Del(metadataField)
	} else if m := u.metadata(); m != "" && req.Header.Get(metadataField) == "" {
		req.Header.Set(metadataField, m)
	}
	return req
}

// createTus makes an upload, after what the server can do is known: an empty one, or, of a small body, one that has it all. No response and no
// error: it is to be gone on with.
func (u *upload) createTus() (*http.Response, error) {
	if u.tus == nil {
		return u.askTus()
	}
	if l := (uploadLimits{maxSize: u.tus.maxSize}); l.forbid(u.size) {
		return nil, u.tooLong(l)
	}
	if u.splits() {
		u.split()
		return nil, nil
	}
	var to int64
	if u.size <= mostAtOnce && u.tus.has("creation-with-upload") {
		to = u.size
	}
	req := u.tusCreation(uploadRequest{to: to, stays: u.partial})
	req.Header.Set(lengthField, strconv.FormatInt(u.size, 10))
	if to > 0 {
		req.Header.Set("Content-Type", tusContent)
	}
	resp, err := u.exchange(u.rt, req, u.body)
	if err != nil && !(to > 0 && u.body.whole.Load()) { // what was made is not whole, and has no name
		return nil, unapplied(err)
	}
	if err != nil || resp.StatusCode/100 != 2 {
		return resp, err
	}
	if resp.StatusCode != http.StatusCreated || resp.Request.Method != http.MethodPost {
		resp.Body.Close()
		return nil, u.fail(task.BadServerResponse, 0, fmt.Errorf(
			"the server answered %s where a tus upload was to be made: it does not speak tus there; upload without resuming",
			statusText(resp)))
	}
	at := resourceURL(u.target, resp.Header.Get("Location"))
	if at == nil {
		resp.Body.Close()
		return nil, u.fail(task.BadServerResponse, 0, errors.New("the server has made a tus upload, and does not say where"))
	}
	u.mu.Lock()
	u.location = resp.Header.Get("Location")
	u.name(&task.UploadState{Protocol: task.ResumableTus, URL: at.String(), Expires: tus{}.limits(resp.Header).expires})
	u.tell()
	u.mu.Unlock()
	offset, told := integer(resp.Header, offsetField)
	if u.size == 0 || to > 0 && told && offset == u.size {
		return u.answer(resp), nil
	}
	resp.Body.Close()
	u.at = 0
	if to > 0 || u.foreign() {
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
