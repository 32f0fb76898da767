package urlsessiontest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// upload is the content of most tests of uploads.
var upload = Body{Seed: 11, Size: 300_000}

var versions = []int{3, 4, 5, 6, 7, 8}

// reply is what came back for one request; err is that of the exchange.
type reply struct {
	status   int
	header   http.Header
	body     string
	interims []http.Header // of 104s
	err      error
}

// send makes one request by net/http with the header fields of pairs; body nil is
// none, and a body of length < 0 is chunked.
func send(t *testing.T, client *http.Client, method, url string, body io.Reader, length int64, pairs ...string) (r reply) {
	t.Helper()
	var mu sync.Mutex // one may still come when the request has failed
	var interims []http.Header
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		r.interims = slices.Clone(interims)
	}()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		mu.Lock()
		defer mu.Unlock()
		if code == 104 {
			interims = append(interims, http.Header(h))
		}
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = length
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Header.Set(pairs[i], pairs[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		r.err = err
		return r
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	r.status, r.header, r.body, r.err = resp.StatusCode, resp.Header, string(p), err
	return r
}

// uploader makes the requests of one interop version.
type uploader struct {
	t       *testing.T
	srv     *UploadServer
	client  *http.Client
	version int
}

func newUploader(t *testing.T, version int, opts ...UploadOption) *uploader {
	t.Helper()
	srv := NewUploadServer(opts...)
	t.Cleanup(srv.Close)
	return &uploader{t, srv, srv.Client(), version}
}

// flag is the field that says whether the request completes the upload.
func (u *uploader) flag(complete bool) (name, value string) {
	name = "Upload-Complete"
	if u.version == 3 {
		name, complete = "Upload-Incomplete", !complete
	}
	return name, map[bool]string{true: "?1", false: "?0"}[complete]
}

func (u *uploader) do(method, url string, body io.Reader, length int64, pairs ...string) reply {
	u.t.Helper()
	if strings.HasPrefix(url, "/") {
		url = u.srv.URL + url
	}
	return send(u.t, u.client, method, url, body, length, append([]string{"Upload-Draft-Interop-Version", strconv.Itoa(u.version)}, pairs...)...)
}

// create posts the first n bytes of upload to /f.
func (u *uploader) create(n int64, complete bool, pairs ...string) reply {
	u.t.Helper()
	name, value := u.flag(complete)
	return u.do("POST", "/f", io.NewSectionReader(upload, 0, n), n, append([]string{name, value}, pairs...)...)
}

func (u *uploader) head(url string, pairs ...string) reply {
	u.t.Helper()
	return u.do("HEAD", url, nil, 0, pairs...)
}

// patch appends n bytes of upload from off.
func (u *uploader) patch(url string, off, n int64, complete bool, pairs ...string) reply {
	u.t.Helper()
	name, value := u.flag(complete)
	all := []string{name, value, "Upload-Offset", strconv.FormatInt(off, 10)}
	if u.version >= 6 {
		all = append(all, "Content-Type", "application/partial-upload")
	}
	return u.do("PATCH", url, io.NewSectionReader(upload, off, n), n, append(all, pairs...)...)
}

// want fails unless r has the status, and the fields: pairs, an empty value being
// none.
func want(t *testing.T, r reply, status int, pairs ...string) {
	t.Helper()
	if r.err != nil || r.status != status {
		t.Errorf("%d, %v, want %d: %v %.200q", r.status, r.err, status, r.header, r.body)
		return
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if got := r.header.Get(pairs[i]); got != pairs[i+1] {
			t.Errorf("%s: %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
}

// whole fails unless the server has one upload, and it is upload.
func whole(t *testing.T, srv *UploadServer) {
	t.Helper()
	ups := srv.Uploads()
	if len(ups) != 1 {
		t.Fatalf("%d uploads: %+v", len(ups), ups)
	}
	if err := ups[0].Check(upload); err != nil {
		t.Error(err)
	}
}

var transports = map[string][]UploadOption{
	"HTTP/1.1": nil,
	"TLS":      {UploadsOverTLS()},
	"HTTP/2":   {UploadsOverHTTP2()},
	"memory":   {UploadsInMemory()},
}

// An upload whose connection breaks goes on from what the server holds, and is
// answered in the end as if it had not broken.
func TestUploadResumes(t *testing.T) {
	for name, opts := range transports {
		for _, version := range versions {
			t.Run(fmt.Sprintf("%s/%d", name, version), func(t *testing.T) {
				u := newUploader(t, version, opts...)
				u.srv.Script("/f", UploadCut(100_000))
				r := u.create(upload.Size, true, "X-A", "b")
				if r.err == nil || len(r.interims) != 1 {
					t.Fatalf("%v, %d 104s", r.err, len(r.interims))
				}
				location := r.interims[0].Get("Location")
				if v := r.interims[0].Get("Upload-Draft-Interop-Version"); v != strconv.Itoa(version) || !strings.HasPrefix(location, u.srv.URL+"/uploads/") {
					t.Fatal(r.interims[0])
				}
				name, no := u.flag(false)
				want(t, u.head(location), 204, "Upload-Offset", "100000", name, no, "Cache-Control", "no-store")
				r = u.patch(location, 100_000, upload.Size-100_000, true)
				want(t, r, 201)
				if r.body != "received 300000 bytes\n" {
					t.Errorf("answer %q", r.body)
				}
				name, yes := u.flag(true)
				if version >= 7 {
					want(t, r, 201, name, yes, "Upload-Offset", "")
				} else {
					want(t, r, 201, name, "", "Upload-Offset", "300000")
				}
				want(t, u.head(location), 204, "Upload-Offset", "300000", name, yes)
				whole(t, u.srv)
				up := u.srv.Uploads()[0]
				if up.Target != "/f" || up.Method != "POST" || up.Header.Get("X-A") != "b" || up.Version != version || up.Length != upload.Size {
					t.Errorf("%+v", up)
				}
				if n := u.srv.Received(); n != upload.Size {
					t.Errorf("%d bytes received", n)
				}
				proto := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[strings.HasPrefix(t.Name(), "TestUploadResumes/HTTP/2")]
				for i, q := range u.srv.Requests() {
					if q.Number != i+1 || q.Proto != proto {
						t.Errorf("%+v", q)
					}
				}
			})
		}
	}
}

// Pieces with no word that they are the last do not complete an upload, whatever
// its length; an empty one may.
func TestUploadInPieces(t *testing.T) {
	for _, version := range versions {
		u := newUploader(t, version)
		r := u.create(0, false)
		want(t, r, 201)
		location := r.header.Get("Location")
		name, no := u.flag(false)
		status := 201
		if version >= 7 {
			status = 204
		} else {
			want(t, r, 201, name, no, "Upload-Offset", "0")
		}
		for off := int64(0); off < upload.Size; off += 100_000 {
			r := u.patch(location, off, 100_000, false)
			want(t, r, status, name, no)
			if version < 7 {
				want(t, r, status, "Upload-Offset", strconv.FormatInt(off+100_000, 10))
			}
		}
		want(t, u.head(location), 204, "Upload-Offset", "300000", name, no)
		if u.srv.Uploads()[0].Complete {
			t.Error("complete without a word")
		}
		want(t, u.patch(location, upload.Size, 0, true), 201)
		whole(t, u.srv)
	}
}

func TestUploadWhole(t *testing.T) {
	for _, version := range versions {
		u := newUploader(t, version, UploadsIn(t.TempDir()))
		r := u.create(upload.Size, true)
		want(t, r, 201, "Location", u.srv.URL+"/uploads/1")
		if r.body != "received 300000 bytes\n" {
			t.Errorf("%q", r.body)
		}
		whole(t, u.srv)
		u.srv.Script("/g", UploadFinal(422, "text/plain", "no\n"))
		name, value := u.flag(true)
		r = u.do("PUT", "/g", strings.NewReader("x"), 1, name, value)
		want(t, r, 422)
		if r.body != "no\n" {
			t.Errorf("%q", r.body)
		}
	}
}

func TestUploadCancelled(t *testing.T) {
	for _, version := range versions {
		u := newUploader(t, version)
		location := u.create(10, false).header.Get("Location")
		if version <= 6 {
			want(t, u.do("DELETE", location, nil, 0, "Upload-Offset", "10"), 400)
		}
		want(t, u.do("DELETE", location, nil, 0), 204)
		want(t, u.head(location), 404)
		want(t, u.patch(location, 10, 10, false), 404)
		want(t, u.do("DELETE", location, nil, 0), 404)
		if up := u.srv.Uploads()[0]; up.Gone != 404 {
			t.Errorf("%+v", up)
		}
	}
}

// What is not of the protocol is taken as any other body, and nothing is
// announced.
func TestUploadsOfOtherClients(t *testing.T) {
	u := newUploader(t, 8, UploadVersions(5, 6))
	for _, pairs := range [][]string{
		{"Upload-Draft-Interop-Version", "8", "Upload-Complete", "?1"},
		{"Upload-Draft-Interop-Version", "x", "Upload-Complete", "?1"},
		{"Upload-Complete", "?1"},
		{"Upload-Draft-Interop-Version", "6"},
		{"Upload-Draft-Interop-Version", "6", "Upload-Incomplete", "?0"},
		{"Upload-Draft-Interop-Version", "6", "Upload-Complete", "1"},
	} {
		r := send(t, u.client, "PUT", u.srv.URL+"/f", upload.Reader(), -1, pairs...)
		want(t, r, 201, "Location", "", "Upload-Offset", "")
		ups := u.srv.Uploads()
		up := ups[len(ups)-1]
		if len(r.interims) != 0 || up.Version != 0 || up.Location != "" {
			t.Errorf("%q: %v, %+v", pairs, r.interims, up)
		}
		if err := up.Check(upload); err != nil {
			t.Error(err)
		}
	}
	want(t, u.do("GET", "/f", nil, 0), 405)
	want(t, u.head("/uploads/99"), 404)
}

// A request ends the one that a server believes to be under way: the offset that
// it tells stays true.
func TestUploadInterrupted(t *testing.T) {
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			u := newUploader(t, 8, opts...)
			u.srv.Script("/f", UploadStall(50_000, Forever))
			pr, pw := io.Pipe() // a client that has gone to sleep
			defer pw.Close()
			done := make(chan reply, 1)
			go func() {
				name, value := u.flag(true)
				done <- u.do("POST", "/f", pr, upload.Size, name, value)
			}()
			go io.Copy(pw, io.NewSectionReader(upload, 0, 50_000))
			if err := u.srv.WaitReceived(within(t), 50_000); err != nil {
				t.Fatal(err)
			}
			location := u.srv.URL + u.srv.Uploads()[0].Location
			want(t, u.head(location), 204, "Upload-Offset", "50000")
			pw.Close() // net/http waits for its read of the body
			if r := <-done; r.err == nil {
				t.Errorf("the first request was answered: %d", r.status)
			}
			want(t, u.patch(location, 50_000, upload.Size-50_000, true), 201)
			whole(t, u.srv)
		})
	}
}
