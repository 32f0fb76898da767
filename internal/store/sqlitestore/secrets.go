package sqlitestore

import (
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/urlsession/urlsession/internal/task"
)

// secrets is the part of a record that is stored sealed. What stands in the open in its place is redacted.
//
// Header values are sealed all of them: which of a request's are secret is its user's to know (X-Api-Key), and so is
// what a server answers with (X-Auth-Token).
type secrets struct {
	// URLs with userinfo, query or fragment; one that has none of them stands in the open, and is empty here.
	RequestURL    string `json:"requestURL,omitempty"`
	CurrentURL    string `json:"currentURL,omitempty"`
	ResponseURL   string `json:"responseURL,omitempty"`
	ResumedURL    string `json:"resumedURL,omitempty"` // of the resume data that the task was made from
	ResumeDataURL string `json:"resumeDataURL,omitempty"`
	KeyURL        string `json:"keyURL,omitempty"`

	RequestHeader  http.Header `json:"requestHeader,omitempty"`
	ResponseHeader http.Header `json:"responseHeader,omitempty"`
	ResumedHeader  http.Header `json:"resumedHeader,omitempty"`
	ResumeHeader   http.Header `json:"resumeHeader,omitempty"`

	Answered []task.Answered `json:"answered,omitempty"`

	// Whole, as their URLs are capabilities.
	Upload       *task.UploadState  `json:"upload,omitempty"`
	ResumeUpload *task.UploadResume `json:"resumeUpload,omitempty"` // of the resume data
}

// conceal takes the secrets out of rec. What rec points to is shared, and is copied before it is changed.
func conceal(rec *task.Record) (s secrets) {
	hideURL(&rec.Spec.Request.URL, &s.RequestURL)
	hideURL(&rec.URL, &s.CurrentURL)
	s.RequestHeader, rec.Spec.Request.Header = rec.Spec.Request.Header, nil
	s.Answered, rec.Answered = rec.Answered, nil
	if rec.Response != nil {
		c := *rec.Response
		hideURL(&c.URL, &s.ResponseURL)
		s.ResponseHeader, c.Header = c.Header, nil
		rec.Response = &c
	}
	if d := rec.Spec.Download; d != nil && (d.Resume != nil || d.KeyURL != "") {
		download := *d
		hideURL(&download.KeyURL, &s.KeyURL)
		if d.Resume != nil {
			resume := *d.Resume
			hideURL(&resume.URL, &s.ResumedURL)
			s.ResumedHeader, resume.Header = resume.Header, nil
			download.Resume = &resume
		}
		rec.Spec.Download = &download
	}
	s.Upload, rec.Upload = rec.Upload, nil
	if u := rec.Spec.Upload; u != nil && u.Multipart != nil { // see multipart.go
		upload := *u
		upload.Multipart = nil
		rec.Spec.Upload = &upload
	}
	if rec.ResumeData != nil {
		c := *rec.ResumeData
		hideURL(&c.URL, &s.ResumeDataURL)
		s.ResumeHeader, c.Header = c.Header, nil
		s.ResumeUpload, c.Upload = c.Upload, nil
		rec.ResumeData = &c
	}
	return s
}

// reveal is the reverse of conceal, on a record that nobody shares yet.
func reveal(rec *task.Record, s secrets) {
	showURL(&rec.Spec.Request.URL, s.RequestURL)
	showURL(&rec.URL, s.CurrentURL)
	rec.Spec.Request.Header = s.RequestHeader
	rec.Answered = s.Answered
	if rec.Response != nil {
		showURL(&rec.Response.URL, s.ResponseURL)
		rec.Response.Header = s.ResponseHeader
	}
	if d := rec.Spec.Download; d != nil {
		showURL(&d.KeyURL, s.KeyURL)
		if d.Resume != nil {
			showURL(&d.Resume.URL, s.ResumedURL)
			d.Resume.Header = s.ResumedHeader
		}
	}
	rec.Upload = s.Upload
	if rec.ResumeData != nil {
		showURL(&rec.ResumeData.URL, s.ResumeDataURL)
		rec.ResumeData.Header = s.ResumeHeader
		rec.ResumeData.Upload = s.ResumeUpload
	}
}

func hideURL(open, secret *string) {
	if redacted := task.Redact(*open); redacted != *open {
		*secret, *open = *open, redacted
	}
}

func showURL(open *string, secret string) {
	if secret != "" {
		*open = secret
	}
}

// encodeSecrets is nil where there are none.
func encodeSecrets(s secrets) ([]byte, error) {
	if reflect.ValueOf(&s).Elem().IsZero() {
		return nil, nil
	}
	b, err := json.Marshal(&s)
	if err != nil || string(b) == "{}" {
		return nil, err
	}
	return b, nil
}
