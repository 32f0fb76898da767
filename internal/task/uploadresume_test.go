package task_test

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

var sent = task.Source{Size: 10, ModTime: time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC), Device: 1, Inode: 2}

// uploaded is a record of an upload that its server holds a part of.
func uploaded(change ...func(*task.Record)) *task.Record {
	rec := &task.Record{
		Spec: task.Spec{Kind: task.Upload,
			Request: task.Request{Method: "POST", URL: "http://h/f?sig=x", Header: http.Header{"X-Token": {"secret"}},
				Body: &task.Body{Path: "/f", Size: 10, Source: &sent}},
			Policy: task.Policy{RetryUnsafe: true, FailOnHTTPError: true},
			Upload: &task.UploadSpec{Resumable: task.ResumableIETF, Digests: []string{"sha-256=00"}},
		},
		Upload: &task.UploadState{Protocol: task.ResumableIETF, Version: 8, URL: "http://h/uploads/secret", Offset: 4, Sent: 6},
	}
	for _, c := range change {
		c(rec)
	}
	return rec
}

func tusParts(rec *task.Record) {
	rec.Spec.Upload.Resumable = task.ResumableTus
	rec.Upload = &task.UploadState{Protocol: task.ResumableTus, Parts: []task.Part{
		{Number: 1, URL: "http://h/uploads/secret1", Length: 4}, {Number: 3, URL: "/uploads/secret3", Length: 6}, {Number: 4}}} // relative, as its server has it, and not begun
}

func multipart(rec *task.Record) {
	rec.Spec.Upload = &task.UploadSpec{Multipart: &task.Multipart{Parts: []string{"http://h/1?secret", "http://h/2?secret"}, PartSize: 5,
		Header: http.Header{"A": {"b"}}, Completes: true, Abort: "http://h/abort?secret"}}
	rec.Upload = &task.UploadState{Protocol: task.ResumableParts, Parts: []task.Part{{Number: 2, ETag: `"e"`}}}
}

// A task of resume data is asked for what the first was, and goes on from what the server holds.
func TestUploadResumeData(t *testing.T) {
	for name, change := range map[string]func(*task.Record){"one": func(*task.Record) {}, "parts of tus": tusParts, "multipart": multipart} {
		rec := uploaded(change)
		d, err := task.ParseResumeData(task.UploadResumeData(rec).Encode())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := task.Spec{Priority: task.PriorityLow, Policy: task.Policy{Retries: 4}}
		d.SetUpload(&got)
		want := rec.Spec
		upload := *want.Upload
		upload.Resume = rec.Upload
		want.Upload, want.Priority, want.Policy.Retries = &upload, task.PriorityLow, 4
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, want)
		}
	}
	underWay := func(rec *task.Record) { rec.UnderWay = true }
	if d := task.UploadResumeData(uploaded(multipart, underWay)); d.Upload.State.Whole {
		t.Error("a process that has ended in the midst of parts has asked for no completion")
	}
	if d := task.UploadResumeData(uploaded(underWay)); !d.Upload.State.Whole {
		t.Error("the end of its attempt is not known, and it is not taken for sent")
	}
	for name, change := range map[string]func(*task.Record){
		"nothing at the server": func(rec *task.Record) { rec.Upload = nil },
		"no name":               func(rec *task.Record) { rec.Upload = &task.UploadState{Protocol: task.ResumableParts} },
		"bytes":                 func(rec *task.Record) { rec.Spec.Request.Body = &task.Body{Size: 10} },
		"a spool": func(rec *task.Record) {
			rec.Spec.Request.Body = &task.Body{Path: "/f", Size: 10, Source: &sent, Spooled: true}
		},
		"an unknown file": func(rec *task.Record) { rec.Spec.Request.Body = &task.Body{Path: "/f", Size: 10} },
		"no body":         func(rec *task.Record) { rec.Spec.Request.Body = nil },
	} {
		if d := task.UploadResumeData(uploaded(change)); d != nil {
			t.Errorf("%s leaves %s", name, d.Encode())
		}
	}
}

func TestUnusableUploadResumeData(t *testing.T) {
	for name, c := range map[string]struct {
		of    func(*task.Record)
		spoil func(d *task.ResumeData, u *task.UploadResume)
		says  string
	}{
		"version":            {spoil: func(d *task.ResumeData, _ *task.UploadResume) { d.Version = 2 }, says: "version 2"},
		"no URL":             {spoil: func(d *task.ResumeData, _ *task.UploadResume) { d.URL = "" }, says: "no URL"},
		"of a download too":  {spoil: func(d *task.ResumeData, _ *task.UploadResume) { d.Part = "/p" }, says: "of an upload and of a download"},
		"no method":          {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.Method = "" }, says: "no method"},
		"a relative path":    {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.Path = "f" }, says: "not absolute"},
		"what was asked":     {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.Resumable = "ftp" }, says: `protocol "ftp"`},
		"negative offset":    {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Offset = -1 }, says: "has -1 bytes"},
		"offset beyond":      {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Offset = 11 }, says: "has 11 bytes"},
		"sent beyond":        {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Sent = 11 }, says: "was sent 11"},
		"a smaller file":     {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.Source.Size = 3 }, says: "of a file of 3"},
		"limit":              {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.MaxAppend = -1 }, says: "-1 bytes at most"},
		"protocol":           {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Protocol = "no" }, says: `protocol "no"`},
		"interop version":    {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Version = 9 }, says: "version 9"},
		"not named":          {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.URL = "" }, says: "not named"},
		"a relative name":    {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.URL = "/uploads/secret" }, says: "no URL"},
		"a name of no HTTP":  {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.URL = "ftp://h/secret" }, says: "no URL"},
		"nothing held":       {of: tusParts, spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Parts = nil }, says: "holds nothing"},
		"a part's name":      {of: tusParts, spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Parts[1].URL = "/secret%" }, says: "part 3 is no URL"},
		"a part's length":    {of: tusParts, spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Parts[1].Length = 11 }, says: "of 11 bytes"},
		"parts out of order": {of: tusParts, spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Parts[1].Number = 1 }, says: "out of order"},
		"part 0":             {of: multipart, spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.State.Parts[0].Number = 0 }, says: "part 0"},
		"no plan":            {of: multipart, spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.Multipart = nil }, says: "without a plan"},
		"another's plan":     {spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.Multipart = &task.Multipart{PartSize: 5} }, says: "without parts"},
		"part size":          {of: multipart, spoil: func(_ *task.ResumeData, u *task.UploadResume) { u.Multipart.PartSize = 0 }, says: "parts of 0 bytes"},
	} {
		rec := uploaded()
		if c.of != nil {
			c.of(rec)
		}
		d, err := task.ParseResumeData(task.UploadResumeData(rec).Encode())
		if err != nil {
			t.Fatal(err)
		}
		c.spoil(d, d.Upload)
		_, err = task.ParseResumeData(d.Encode())
		if !errors.Is(err, task.ResumeDataUnusable) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want one that says %q", name, err, c.says)
		}
	}
}

func TestSourceChanged(t *testing.T) {
	for says, change := range map[string]func(*task.Source){
		"":                             func(s *task.Source) { s.Device, s.ModTime = 9, s.ModTime.Local() },
		"another file":                 func(s *task.Source) { s.Inode = 3 },
		"has 11 bytes now, and had 10": func(s *task.Source) { s.Size = 11 },
		"written to":                   func(s *task.Source) { s.ModTime = s.ModTime.Add(1) },
	} {
		now := sent
		change(&now)
		if got := sent.Changed(&now); !strings.Contains(got, says) || (got == "") != (says == "") {
			t.Errorf("%q, want %q", got, says)
		}
	}
}
