package task

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
)

// UploadResume is what ResumeData have of an upload: what was sent where, and what the server holds of it.
type UploadResume struct {
	Method    string     `json:"method"`
	Resumable Resumable  `json:"resumable,omitempty"` // as in UploadSpec
	Multipart *Multipart `json:"multipart,omitempty"` // as in UploadSpec

	RetryUnsafe     bool `json:"retryUnsafe,omitempty"` // as in Policy
	FailOnHTTPError bool `json:"failOnHTTPError,omitempty"`

	Path   string      `json:"path"`   // the file, absolute
	Source Source      `json:"source"` // what it was when it was first sent
	State  UploadState `json:"state"`
}

// UploadResumeData is what the upload of rec leaves; nil: the server holds nothing of it, or its body is no file that is there
// later, and the same.
func UploadResumeData(rec *Record) *ResumeData {
	spec, state := &rec.Spec, rec.Upload
	if body := spec.Request.Body; state == nil || state.URL == "" && len(state.Parts) == 0 || !body.lasts() {
		return nil
	}
	u := &UploadResume{Method: spec.Request.Method, Path: spec.Request.Body.Path, Source: *spec.Request.Body.Source, State: *state,
		RetryUnsafe: spec.Policy.RetryUnsafe, FailOnHTTPError: spec.Policy.FailOnHTTPError}
	// Of an attempt whose end is not known all may have left; that a completion has is stored before it does.
	u.State.Whole = state.Whole || rec.UnderWay && state.Protocol != ResumableParts
	d := &ResumeData{Version: ResumeDataVersion, URL: spec.Request.URL, Header: spec.Request.Header, Upload: u}
	if s := spec.Upload; s != nil {
		d.Digests, u.Resumable, u.Multipart = s.Digests, s.Resumable, s.Multipart
	}
	return d
}

// lasts says whether the body is a file of the caller's own, whose identity is known.
func (b *Body) lasts() bool { return b != nil && b.Path != "" && b.Source != nil && !b.Spooled }

// SetUpload gives s what the resume data have of an upload, in place of what it has; all else of it stays.
func (d *ResumeData) SetUpload(s *Spec) {
	u := d.Upload
	source, state := u.Source, u.State
	s.Kind = Upload
	s.Request = Request{Method: u.Method, URL: d.URL, Header: d.Header, Body: &Body{Path: u.Path, Size: source.Size, Source: &source}}
	s.Upload = &UploadSpec{Resumable: u.Resumable, Digests: d.Digests, Multipart: u.Multipart, Resume: &state}
	s.Policy.RetryUnsafe, s.Policy.FailOnHTTPError = u.RetryUnsafe, u.FailOnHTTPError
}

// check says what is wrong with the resume data of an upload.
func (u *UploadResume) check() error {
	switch {
	case u.Method == "":
		return errors.New("they name no method")
	case !filepath.IsAbs(u.Path):
		return errors.New("the path of their file is not absolute")
	}
	switch u.Resumable {
	case ResumableAuto, ResumableIETF, ResumableTus, ResumableNo:
	default:
		return fmt.Errorf("unknown protocol %q", u.Resumable)
	}
	return u.State.Check(u.Multipart, u.Source.Size)
}

// Check says what is wrong with a state that a task is to go on from, whose body has size bytes. Its error holds no URL, which
// is a capability.
func (s *UploadState) Check(m *Multipart, size int64) error {
	switch {
	case s.Offset < 0 || s.Offset > size || s.Sent < 0 || s.Sent > size:
		return fmt.Errorf("the server has %d bytes, or was sent %d, of a file of %d", s.Offset, s.Sent, size)
	case s.MaxAppend < 0:
		return fmt.Errorf("requests of %d bytes at most", s.MaxAppend)
	case (s.Protocol == ResumableParts) != (m != nil):
		return errors.New("parts without a plan, or a plan without parts")
	case m != nil && m.PartSize <= 0:
		return fmt.Errorf("parts of %d bytes", m.PartSize)
	case s.URL != "" && !httpURL(s.URL):
		return errors.New("the server's name for the upload is no URL")
	}
	switch s.Protocol {
	case ResumableIETF:
		if s.URL == "" || s.Version < 3 || s.Version > 8 {
			return fmt.Errorf("interop version %d, or the server has not named the upload", s.Version)
		}
	case ResumableTus, ResumableParts:
		if s.URL == "" && len(s.Parts) == 0 {
			return errors.New("the server holds nothing of the upload")
		}
	default:
		return fmt.Errorf("unknown protocol %q", s.Protocol)
	}
	last := 0
	for _, p := range s.Parts {
		if p.Number <= last || p.Length < 0 || p.Length > size {
			return fmt.Errorf("part %d, of %d bytes, is out of order or out of bounds", p.Number, p.Length)
		}
		last = p.Number
		if _, err := url.Parse(p.URL); err != nil { // it may be relative, and one that has none is not begun
			return fmt.Errorf("the server's name for part %d is no URL", p.Number)
		}
	}
	return nil
}

func httpURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}
