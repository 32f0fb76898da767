package urlsessiontest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// parts puts part n of upload, of 100,000 bytes.
func put(t *testing.T, client *http.Client, m *Multipart, n int) reply {
	t.Helper()
	return send(t, client, "PUT", m.Parts[n-1], io.NewSectionReader(upload, int64(n-1)*100_000, 100_000), 100_000)
}

// list is a completion's body of the ETags of parts 1, 2, …
func list(etags ...string) string {
	var b strings.Builder
	b.WriteString(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for i, etag := range etags {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, etag)
	}
	b.WriteString("</CompleteMultipartUpload>")
	return b.String()
}

func complete(t *testing.T, client *http.Client, m *Multipart, etags ...string) reply {
	t.Helper()
	body := list(etags...)
	return send(t, client, "POST", m.Complete, strings.NewReader(body), int64(len(body)))
}

func newMultipart(t *testing.T, opts ...UploadOption) (*MultipartServer, *http.Client, *Multipart) {
	t.Helper()
	srv := NewMultipartServer(append([]UploadOption{MinimumPart(50_000)}, opts...)...)
	t.Cleanup(srv.Close)
	return srv, srv.Client(), srv.Create("a film.mp4", 3)
}

func TestMultipart(t *testing.T) {
	for name, opts := range map[string][]UploadOption{"HTTP/1.1": nil, "HTTP/2": {UploadsOverHTTP2()}, "file": {UploadsIn(t.TempDir())}, "memory": {UploadsInMemory()}} {
		t.Run(name, func(t *testing.T) {
			_, client, m := newMultipart(t, opts...)
			if err := m.Check(upload); err == nil {
				t.Error("an object before its completion")
			}
			var etags []string
			for _, n := range []int{3, 1, 2, 2} {
				r := put(t, client, m, n)
				want(t, r, 200)
				if n != 3 {
					etags = append(etags, r.header.Get("ETag"))
				}
			}
			etags = []string{etags[0], etags[1], put(t, client, m, 3).header.Get("ETag")}
			m.Script(0, UploadLosesAnswer(), MultipartFails("InternalError", "again"), MultipartPadding(1000))
			if r := complete(t, client, m, etags...); r.err == nil {
				t.Error(r.status)
			}
			r := complete(t, client, m, etags...)
			want(t, r, 200)
			if !strings.HasSuffix(r.body, "<Error><Code>InternalError</Code><Message>again</Message></Error>") {
				t.Error(r.body)
			}
			r = complete(t, client, m, etags...)
			want(t, r, 200, "Content-Type", "application/xml")
			if !strings.Contains(r.body, strings.Repeat(" ", 1000)+"<CompleteMultipartUploadResult xmlns=") || !strings.Contains(r.body, `-3&#34;</ETag>`) {
				t.Error(r.body)
			}
			if err := m.Check(upload); err != nil || m.State() != MultipartCompleted {
				t.Error(err, m.State())
			}
			want(t, put(t, client, m, 1), 404)
			want(t, complete(t, client, m, etags[:2]...), 404)
			want(t, send(t, client, "DELETE", m.Abort, nil, 0), 404)
		})
	}
}

func TestMultipartRefusals(t *testing.T) {
	srv, client, m := newMultipart(t)
	one := put(t, client, m, 1).header.Get("ETag")
	small := send(t, client, "PUT", m.Parts[1], strings.NewReader("x"), 1).header.Get("ETag")
	three := put(t, client, m, 3).header.Get("ETag")
	for _, c := range []struct {
		reply  reply
		status int
		code   string
	}{
		{complete(t, client, m, one, small, three), 400, "EntityTooSmall"},
		{complete(t, client, m, one, one), 400, "InvalidPart"},
		{complete(t, client, m), 400, "MalformedXML"},
		{send(t, client, "POST", m.Complete, strings.NewReader(strings.ReplaceAll(list(one, three), "<PartNumber>2", "<PartNumber>1")), -1), 400, "InvalidPart"},
		{send(t, client, "POST", m.Complete, strings.NewReader(strings.Replace(strings.Replace(list(three, one), ">1<", ">3<", 1), ">2<", ">1<", 1)), -1), 400, "InvalidPartOrder"},
		{send(t, client, "POST", m.Complete, strings.NewReader(strings.ReplaceAll(list(one, one), "<PartNumber>2", "<PartNumber>1")), -1), 400, "InvalidPartOrder"},
		{send(t, client, "PUT", m.Parts[0], strings.NewReader("x"), -1), 411, "MissingContentLength"},
		{send(t, client, "POST", m.Parts[0], nil, 0), 403, "SignatureDoesNotMatch"},
		{send(t, client, "PUT", strings.Replace(m.Parts[0], "partNumber=1", "partNumber=2", 1), nil, 0), 403, "SignatureDoesNotMatch"},
	} {
		want(t, c.reply, c.status)
		if !strings.Contains(c.reply.body, "<Error><Code>"+c.code+"</Code>") {
			t.Errorf("no %s: %s", c.code, c.reply.body)
		}
	}
	want(t, send(t, client, "DELETE", m.Abort, nil, 0), 204)
	want(t, put(t, client, m, 1), 404)
	want(t, complete(t, client, m, one), 404)
	if m.State() != MultipartAborted || len(srv.Requests()) == 0 {
		t.Error(m.State())
	}
}

// A part that is cut leaves nothing, and each has a script of its own.
func TestMultipartFaults(t *testing.T) {
	_, client, m := newMultipart(t)
	m.Script(2, UploadCut(500), UploadStatus(500), MultipartError(403, "AccessDenied", "Request has expired"), UploadHeader("ETag"))
	m.Always(3, UploadStatus(503))
	if r := put(t, client, m, 2); r.err == nil {
		t.Error(r.status)
	}
	want(t, put(t, client, m, 1), 200)
	want(t, put(t, client, m, 2), 500)
	r := put(t, client, m, 2)
	want(t, r, 403)
	if !strings.Contains(r.body, "<Message>Request has expired</Message>") {
		t.Error(r.body)
	}
	if held := fmt.Sprint(m.Held()); held != "[1]" {
		t.Error(held)
	}
	want(t, put(t, client, m, 2), 200, "ETag", "")
	want(t, put(t, client, m, 3), 503)
	if held := fmt.Sprint(m.Held()); held != "[1 2]" {
		t.Error(held)
	}
}

// A part that ends after the object has been made is not of it.
func TestMultipartLatePart(t *testing.T) {
	srv, client, m := newMultipart(t)
	etag := put(t, client, m, 1).header.Get("ETag")
	gate := NewGate()
	m.Script(2, UploadHold(500, gate), UploadEarly(10, 400))
	done := make(chan reply)
	go func() { done <- put(t, client, m, 2) }()
	if err := gate.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	want(t, complete(t, client, m, strings.Trim(etag, `"`)), 200)
	gate.Open()
	want(t, <-done, 404)
	if held := fmt.Sprint(m.Held()); held != "[1]" {
		t.Error(held)
	}
	if err := m.Check(Body{Seed: upload.Seed, Size: 100_000}); err != nil {
		t.Error(err)
	}
	other := srv.Create("other", 2)
	other.Script(2, UploadEarly(10, 400))
	if r := put(t, client, other, 2); r.err == nil {
		want(t, r, 400)
	}
	if held := other.Held(); len(held) != 0 {
		t.Error(held)
	}
}
