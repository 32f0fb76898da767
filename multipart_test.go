package urlsession

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

// signed are n URLs of parts.
func signed(n int) []string {
	urls := make([]string, n)
	for i := range urls {
		urls[i] = fmt.Sprintf("https://store.example/object?partNumber=%d&signature=hunter2", i+1)
	}
	return urls
}

// inParts is an upload of a body in parts.
func inParts(body Body, m Multipart) Request {
	r := Post("https://store.example/object?complete&signature=hunter2", body)
	r.Multipart = &m
	return r
}

// sized is a stream that says its size alone, which a session in the background takes.
func sized(n int64) Body { return Stream(strings.NewReader(""), n, nil) }

func TestSizesOfParts(t *testing.T) {
	const mib = 1 << 20
	s := offline(t, nil)
	s.config.kind = kindBackground
	for _, c := range []struct {
		size           int64
		urls           int
		partSize       int64
		want           int // parts
		each           int64
		refuses, field string
	}{
		{0, 1, 0, 1, 5 * mib, "", ""},
		{0, 3, 7, 1, 7, "", ""},
		{1, 3, 0, 1, 5 * mib, "", ""},
		{5*mib + 1, 3, 0, 2, 5 * mib, "", ""},
		{30 * mib, 3, 0, 3, 10 * mib, "", ""},
		{30*mib + 1, 3, 0, 3, 10*mib + 1, "", ""},
		{100, 4, 25, 4, 25, "", ""},
		{101, 5, 25, 5, 25, "", ""},
		{99, 9, 25, 4, 25, "", ""},
		{-1, 9, 25, 9, 25, "", ""},
		{100 * mib, 12_000, 0, 20, 5 * mib, "", ""},
		{-1, 12_000, 1, 10_000, 1, "", ""},
		{10_000, 10_000, 1, 10_000, 1, "", ""},
		{101, 4, 25, 0, 0, "has 4 URLs, and 101 bytes need 5 parts of 25 bytes", "Parts"},
		{10_001, 12_000, 1, 0, 0, "makes 10001 parts of 10001 bytes; at most 10000 are taken: give it at least 2", "PartSize"},
		{12_000 * 6 * mib, 12_000, 0, 10_000, 7_549_748, "", ""},
		{-1, 4, 0, 0, 0, "is not known", "PartSize"},
		{1 << 62, 1, 0, 1, 1 << 62, "", ""},
	} {
		spec, _, err := s.newSpec(task.Upload, inParts(sized(c.size), Multipart{Parts: signed(c.urls), PartSize: c.partSize}))
		if c.refuses != "" {
			if err == nil || !strings.Contains(err.Error(), c.refuses) || !strings.Contains(err.Error(), "Request.Multipart."+c.field+" ") {
				t.Errorf("%d bytes, %d URLs, %d each: %v", c.size, c.urls, c.partSize, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d bytes, %d URLs, %d each: %v", c.size, c.urls, c.partSize, err)
			continue
		}
		if m := spec.Upload.Multipart; len(m.Parts) != c.want || m.PartSize != c.each || m.Parts[c.want-1] != signed(c.want)[c.want-1] {
			t.Errorf("%d bytes, %d URLs, %d each: %d parts of %d", c.size, c.urls, c.partSize, len(m.Parts), m.PartSize)
		}
	}
}

func TestPartsOfRequests(t *testing.T) {
	s := offline(t, func(c *Configuration) { c.AdditionalHeaders = http.Header{"Authorization": {"Bearer hunter2"}} })
	m := Multipart{
		Parts: signed(3), PartSize: 4, Header: http.Header{"content-md5": {"x"}}, Abort: "https://store.example/object?abort",
		Uploaded: []UploadedPart{{3, `"c"`}, {1, `"a"`}},
	}
	r := inParts(JSON("0123456789"), m)
	r.Method = ""
	spec, _, err := s.newSpec(task.Upload, r)
	if err != nil {
		t.Fatal(err)
	}
	want := &task.UploadSpec{Multipart: &task.Multipart{
		Parts: signed(3), PartSize: 4, Header: http.Header{"Content-Md5": {"x"}}, Completes: true, Abort: m.Abort,
		Uploaded: []task.Part{{Number: 1, ETag: `"a"`}, {Number: 3, ETag: `"c"`}},
	}}
	if !reflect.DeepEqual(spec.Upload, want) {
		t.Errorf("%+v", spec.Upload.Multipart)
	}
	// The completion is a request like any, but for the body's type.
	if got := spec.Request; got.Method != "POST" || got.URL != r.URL || !reflect.DeepEqual(got.Header, http.Header{"Authorization": {"Bearer hunter2"}}) {
		t.Errorf("%+v", got)
	}
	m.Parts[0], m.Uploaded[0].Number = "changed", 7
	for _, values := range m.Header {
		values[0] = "changed"
	}
	if !reflect.DeepEqual(spec.Upload, want) || spec.Upload.Multipart.Header.Get("Content-MD5") != "x" {
		t.Error("the task has the caller's slices")
	}

	// Without a completion the request is the first part's, and nothing is added to it.
	m.Parts = signed(3)
	m.Uploaded = nil
	r = Request{Body: Text("0123456789"), Multipart: &m}
	if spec, _, err = s.newSpec(task.Upload, r); err != nil {
		t.Fatal(err)
	}
	if got := spec.Request; got.Method != "PUT" || got.URL != m.Parts[0] || got.Header != nil || spec.Upload.Multipart.Completes {
		t.Errorf("%+v, %t", got, spec.Upload.Multipart.Completes)
	}
}

func TestPartsThatAreRefused(t *testing.T) {
	s := offline(t, nil)
	ten := Bytes(make([]byte, 10))
	good := Multipart{Parts: signed(2), PartSize: 5}
	for _, c := range []struct {
		says   string
		code   Code
		kind   task.Kind
		change func(*Request, *Multipart)
	}{
		{"Request.Multipart is set; only an upload", ErrUnknown, task.Data, func(*Request, *Multipart) {}},
		{"Request.Multipart is set; only an upload", ErrUnknown, task.Download, func(*Request, *Multipart) {}},
		{"Request.Method is PUT", ErrUnknown, task.Upload, func(r *Request, _ *Multipart) { r.Method = "PUT" }},
		{"Request.Resumable is tus", ErrUnknown, task.Upload, func(r *Request, _ *Multipart) { r.Resumable = ResumableTus }},
		{"Request.Body is none", ErrUnknown, task.Upload, func(r *Request, _ *Multipart) { r.Body = Body{} }},
		{"give a File or Bytes", ErrUnknown, task.Upload, func(r *Request, _ *Multipart) { r.Body = sized(10) }},
		{"give a File or Bytes", ErrUnknown, task.Upload, func(r *Request, _ *Multipart) { r.Body = Form(Field("a", "b")) }},
		{"Request.Header is the completion's", ErrUnknown, task.Upload, func(r *Request, _ *Multipart) { r.URL, r.Header = "", http.Header{"A": {"b"}} }},
		{"the scheme is \"ftp\"", ErrUnsupportedURL, task.Upload, func(r *Request, _ *Multipart) { r.URL = "ftp://store.example/?hunter2" }},
		{"Multipart.Parts is empty", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.Parts = nil }},
		{"Multipart.Parts is empty", ErrUnknown, task.Upload, func(r *Request, m *Multipart) { r.URL, m.Parts = "", nil }},
		{"Multipart.PartSize is -1", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.PartSize = -1 }},
		{"Multipart.Parts has 1 URLs, and 10 bytes need 2 parts of 5 bytes", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.Parts = m.Parts[:1] }},
		{`Multipart.Parts[1] is "ftp://store.example/b?REDACTED": the scheme`, ErrUnsupportedURL, task.Upload, func(_ *Request, m *Multipart) { m.Parts[1] = "ftp://store.example/b?hunter2" }},
		{"Multipart.Parts[0] is \"\": the URL is empty", ErrBadURL, task.Upload, func(_ *Request, m *Multipart) { m.Parts[0] = "" }},
		{"Multipart.Parts[1] is \"store.example:0/x?REDACTED\"", ErrUnsupportedURL, task.Upload, func(_ *Request, m *Multipart) { m.Parts[1] = "store.example:0/x?hunter2" }},
		{"Multipart.Abort is", ErrBadURL, task.Upload, func(_ *Request, m *Multipart) { m.Abort = "https:///?hunter2" }},
		{"Multipart.Header has the field \"Content-Length\"", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.Header = http.Header{"content-length": {"5"}} }},
		{"Multipart.Header has a field \"X\"", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.Header = http.Header{"X": {"hunter2\n"}} }},
		{"Multipart.Uploaded[0] has the number 0", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.Uploaded = []UploadedPart{{0, "e"}} }},
		{"the body's parts are 1 to 2", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.Uploaded = []UploadedPart{{3, "e"}} }},
		{"Multipart.Uploaded[1] has the number 2, as one before it", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.Uploaded = []UploadedPart{{2, "e"}, {2, "e"}} }},
		{"Multipart.Uploaded[0] has no ETag", ErrUnknown, task.Upload, func(_ *Request, m *Multipart) { m.Uploaded = []UploadedPart{{1, ""}} }},
	} {
		m := good
		m.Parts = slices.Clone(good.Parts)
		r := inParts(ten, m)
		c.change(&r, r.Multipart)
		_, _, err := s.newSpec(c.kind, r)
		if !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s (%d): %v", c.says, c.code, err)
		}
	}
}

func TestDigestsOfUploads(t *testing.T) {
	const empty = "d41d8cd98f00b204e9800998ecf8427e"
	s := offline(t, nil)
	up := func(change func(*Request)) (*task.UploadSpec, error) {
		r := Put("http://example.com/", File(write(t, "film.mov", "")))
		change(&r)
		spec, _, err := s.newSpec(task.Upload, r)
		return spec.Upload, err
	}
	u, err := up(func(r *Request) { r.Digests, r.Resumable = []string{"MD5=" + strings.ToUpper(empty)}, ResumableTus })
	if err != nil || u.Resumable != task.ResumableTus || !slices.Equal(u.Digests, []string{"md5=" + empty}) {
		t.Errorf("%+v, %v", u, err)
	}
	sums := write(t, "MD5SUMS", empty+"  other\n"+empty+" *films/film.mov\n")
	u, err = up(func(r *Request) { r.DigestFile = sums })
	if err != nil || !slices.Equal(u.Digests, []string{"md5=" + empty}) {
		t.Errorf("%+v, %v", u, err)
	}
	for _, c := range []struct {
		says   string
		code   Code
		change func(*Request)
	}{
		{"sha-256=, sha-512= or md5=", ErrUnknown, func(r *Request) { r.Digests = []string{"md5=x"} }},
		{"has no sha-256, sha-512 or md5 for film.mov", ErrDigestMismatch, func(r *Request) { r.DigestFile = write(t, "none", empty+"  other\n") }},
		{"no such file", ErrFileDoesNotExist, func(r *Request) { r.DigestFile = "none" }},
		{"give a File, or Digests", ErrUnknown, func(r *Request) { r.DigestFile, r.Body = sums, Bytes(nil) }},
		{"a rewind function", ErrUnknown, func(r *Request) {
			r.Digests, r.Body = []string{"md5=" + empty}, Stream(struct{ io.Reader }{strings.NewReader("")}, -1, nil)
		}},
	} {
		if u, err := up(c.change); !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", c.says, u, err)
		}
	}
}
