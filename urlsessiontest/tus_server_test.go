package urlsessiontest_test

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// tusClient makes the requests of tus 1.0.
type tusClient struct {
	t      *testing.T
	srv    *TusServer
	client *http.Client
}

func newTusClient(t *testing.T, opts ...UploadOption) *tusClient {
	t.Helper()
	srv := NewTusServer(opts...)
	t.Cleanup(srv.Close)
	return &tusClient{t, srv, srv.Client()}
}

func (c *tusClient) do(method, url string, body io.Reader, length int64, pairs ...string) reply {
	c.t.Helper()
	if strings.HasPrefix(url, "/") {
		url = c.srv.URL + url
	}
	return send(c.t, c.client, method, url, body, length, append([]string{"Tus-Resumable", "1.0.0"}, pairs...)...)
}

// create makes an upload at /f; the fields of pairs are beside Tus-Resumable.
func (c *tusClient) create(pairs ...string) (location string) {
	c.t.Helper()
	r := c.do("POST", "/f", nil, 0, pairs...)
	want(c.t, r, 201, "Tus-Resumable", "1.0.0")
	return r.header.Get("Location")
}

// patch appends n bytes of upload from off on.
func (c *tusClient) patch(location string, off, n int64, pairs ...string) reply {
	c.t.Helper()
	return c.do("PATCH", location, io.NewSectionReader(upload, off, n), n, append([]string{
		"Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.FormatInt(off, 10)}, pairs...)...)
}

func (c *tusClient) head(location string) reply {
	c.t.Helper()
	return c.do("HEAD", location, nil, 0)
}

// whole fails unless the n-th upload, from 1, is upload.
func (c *tusClient) whole(n int) {
	c.t.Helper()
	if err := c.srv.Uploads()[n-1].Check(upload); err != nil {
		c.t.Error(err)
	}
}

const all = "300000"

// An upload whose connection breaks goes on from what the server holds.
func TestTusServer(t *testing.T) {
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			c := newTusClient(t, opts...)
			r := c.do("POST", "/f", nil, 0, "Upload-Length", all, "Upload-Metadata", "filename Zg==")
			want(t, r, 201, "Location", c.srv.URL+"/uploads/1", "Upload-Offset", "", "Upload-Expires", "")
			c.srv.Script("/f", UploadCut(100_000))
			if r := c.patch("/uploads/1", 0, upload.Size); r.err == nil {
				t.Fatalf("answered %d", r.status)
			}
			want(t, c.head("/uploads/1"), 200, "Upload-Offset", "100000", "Upload-Length", all, "Upload-Metadata", "filename Zg==", "Cache-Control", "no-store")
			want(t, c.patch("/uploads/1", 100_000, 200_000), 204, "Upload-Offset", all, "Tus-Resumable", "1.0.0")
			c.whole(1)
			if up := c.srv.Uploads()[0]; up.Target != "/f" || up.Method != "POST" || up.Version != 1 || up.Length != upload.Size {
				t.Errorf("%+v", up)
			}
		})
	}
}

func TestTusOptions(t *testing.T) {
	c := newTusClient(t, UploadLimits(UploadLimit{MaxSize: 400_000}))
	want(t, send(t, c.client, "OPTIONS", c.srv.URL+"/f", nil, 0), 204, "Tus-Version", "1.0.0", "Tus-Resumable", "1.0.0", "Tus-Max-Size", "400000",
		"Tus-Extension", "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration,concatenation",
		"Tus-Checksum-Algorithm", "sha1,sha256,md5,crc32")
	want(t, c.do("POST", "/f", nil, 0, "Upload-Length", "400001"), 413)
	c = newTusClient(t, TusExtensions("creation", "checksum"), TusChecksums("sha512"))
	want(t, c.do("OPTIONS", "/f", nil, 0), 204, "Tus-Extension", "creation,checksum", "Tus-Checksum-Algorithm", "sha512", "Tus-Max-Size", "")
	c = newTusClient(t, TusExtensions())
	want(t, c.do("OPTIONS", "/f", nil, 0), 204, "Tus-Extension", "", "Tus-Checksum-Algorithm", "")
	want(t, c.do("POST", "/f", nil, 0, "Upload-Length", "1"), 405)
}

// What breaks the rules is refused, and changes nothing.
func TestTusRefuses(t *testing.T) {
	c := newTusClient(t)
	at := c.create("Upload-Length", all)
	stream := []string{"Content-Type", "application/offset+octet-stream"}
	want(t, send(t, c.client, "POST", c.srv.URL+"/f", nil, 0, "Upload-Length", "1"), 412, "Tus-Version", "1.0.0")
	want(t, send(t, c.client, "HEAD", at, nil, 0, "Tus-Resumable", "0.2.2"), 412, "Tus-Version", "1.0.0")
	for _, pairs := range [][]string{{}, {"Upload-Length", "-1"}, {"Upload-Length", "+1"}, {"Upload-Length", "1", "Upload-Defer-Length", "1"},
		{"Upload-Length", "1", "Upload-Concat", "x"}, {"Upload-Concat", "final;"}, {"Upload-Concat", "final;" + at, "Upload-Length", "1"},
		{"Upload-Concat", "final;" + at}} {
		want(t, c.do("POST", "/f", nil, 0, pairs...), 400)
	}
	want(t, c.do("POST", "/f", nil, 0, "Upload-Concat", "final;/uploads/9"), 404)
	want(t, c.do("POST", "/f", strings.NewReader("x"), 1, "Upload-Length", "1"), 415)
	want(t, c.do("PATCH", at, strings.NewReader("x"), 1, "Upload-Offset", "0"), 415)
	want(t, c.do("PATCH", at, strings.NewReader("x"), 1, stream...), 400)
	want(t, c.patch(at, 1, 1), 409, "Upload-Offset", "")
	want(t, c.patch(at, 0, 1, "Upload-Length", "300001"), 400)
	want(t, c.patch(at, 0, 1, "Upload-Checksum", "sha512 eA=="), 400)
	want(t, c.patch(at, 0, 1, "Upload-Checksum", "sha1 ?"), 400)
	want(t, c.head("/uploads/9"), 404)
	want(t, c.do("GET", at, nil, 0), 405)
	want(t, c.head(at), 200, "Upload-Offset", "0")
	short := c.create("Upload-Length", "10")
	want(t, c.patch(short, 0, 11), 413)
	want(t, c.head(short), 200, "Upload-Offset", "0")
	c.srv.Script("/f", UploadUnaware(), UploadUnaware())
	want(t, c.do("OPTIONS", "/f", nil, 0), 405, "Tus-Version", "", "Tus-Resumable", "")
	want(t, c.do("POST", "/f", strings.NewReader("x"), 1), 200, "Location", "", "Tus-Resumable", "")
}

func TestTusCreationWithUpload(t *testing.T) {
	stream := []string{"Content-Type", "application/offset+octet-stream", "Upload-Length", all}
	c := newTusClient(t)
	want(t, c.do("POST", "/f", upload.Reader(), upload.Size, stream...), 201, "Upload-Offset", all)
	c.whole(1)
	want(t, c.do("POST", "/f", io.NewSectionReader(upload, 0, 100), -1, stream...), 201, "Upload-Offset", "100")
	want(t, c.patch("/uploads/2", 100, upload.Size-100), 204)
	c.whole(2)
	c.srv.Script("/f", UploadCut(500)) // the client does not learn where it is
	if r := c.do("POST", "/f", upload.Reader(), upload.Size, stream...); r.err == nil {
		t.Errorf("answered %d", r.status)
	}
	if ups := c.srv.Uploads(); len(ups) != 3 || ups[2].Offset != 500 {
		t.Errorf("%+v", ups)
	}
	c = newTusClient(t, TusExtensions("creation"))
	want(t, c.do("POST", "/f", io.NewSectionReader(upload, 0, 100), 100, stream...), 400)
	want(t, c.do("POST", "/f", nil, 0, "Upload-Length", "0"), 201)
	if up := c.srv.Uploads()[0]; !up.Complete {
		t.Error("an empty upload is not complete")
	}
}

func TestTusDefersLength(t *testing.T) {
	c := newTusClient(t)
	at := c.create("Upload-Defer-Length", "1")
	want(t, c.patch(at, 0, 100), 204, "Upload-Offset", "100")
	want(t, c.head(at), 200, "Upload-Length", "", "Upload-Defer-Length", "1")
	want(t, c.patch(at, 100, upload.Size-100, "Upload-Length", all), 204)
	want(t, c.head(at), 200, "Upload-Length", all, "Upload-Defer-Length", "")
	c.whole(1)
	c = newTusClient(t, TusExtensions("creation"))
	want(t, c.do("POST", "/f", nil, 0, "Upload-Defer-Length", "1"), 400)
}

func TestTusTerminates(t *testing.T) {
	c := newTusClient(t)
	at := c.create("Upload-Length", all)
	want(t, c.do("DELETE", at, nil, 0), 204)
	want(t, c.head(at), 404)
	want(t, c.patch(at, 0, 1), 404)
	c = newTusClient(t, TusExtensions("creation"))
	want(t, c.do("DELETE", c.create("Upload-Length", all), nil, 0), 405)
}

// A piece with a checksum is taken whole, or not at all.
func TestTusChecksum(t *testing.T) {
	c := newTusClient(t)
	at := c.create("Upload-Length", all)
	piece := make([]byte, 100_000)
	upload.ReadAt(piece, 0)
	sum := sha1.Sum(piece)
	right := "sha1 " + base64.StdEncoding.EncodeToString(sum[:])
	want(t, c.patch(at, 0, 99_999, "Upload-Checksum", right), 460)
	want(t, c.head(at), 200, "Upload-Offset", "0")
	c.srv.Script("/f", UploadCut(50_000))
	if r := c.patch(at, 0, 100_000, "Upload-Checksum", right); r.err == nil {
		t.Errorf("answered %d", r.status)
	}
	want(t, c.head(at), 200, "Upload-Offset", "0")
	want(t, c.patch(at, 0, 100_000, "Upload-Checksum", right), 204, "Upload-Offset", "100000")
	rest := make([]byte, 200_000)
	upload.ReadAt(rest, 100_000)
	crc := fmt.Sprintf("%08x", crc32.ChecksumIEEE(rest))
	var b []byte
	fmt.Sscanf(crc, "%x", &b)
	want(t, c.patch(at, 100_000, 200_000, "Upload-Checksum", "crc32 "+base64.StdEncoding.EncodeToString(b)), 204)
	c.whole(1)
	c = newTusClient(t, TusExtensions("creation"))
	want(t, c.patch(c.create("Upload-Length", all), 0, 10, "Upload-Checksum", right), 204) // it knows nothing of it
}

func TestTusExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewTusServer(UploadsInMemory(), UploadLimits(UploadLimit{MaxAge: time.Hour}))
		defer srv.Close()
		c := &tusClient{t, srv, srv.Client()}
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		r := c.do("POST", "/f", nil, 0, "Upload-Length", all)
		want(t, r, 201, "Upload-Expires", in(time.Hour))
		at := r.header.Get("Location")
		time.Sleep(30 * time.Minute)
		want(t, c.head(at), 200, "Upload-Expires", in(30*time.Minute))
		want(t, c.patch(at, 0, 10), 204, "Upload-Expires", in(time.Hour))
		time.Sleep(59 * time.Minute)
		want(t, c.head(at), 200)
		time.Sleep(time.Minute)
		want(t, c.head(at), 410)
		want(t, c.patch(at, 10, 10), 410)
	})
}

func TestTusConcatenates(t *testing.T) {
	c := newTusClient(t)
	a := c.create("Upload-Length", "100000", "Upload-Concat", "partial")
	b := c.create("Upload-Length", "200000", "Upload-Concat", "partial")
	want(t, c.patch(a, 0, 100_000), 204)
	want(t, c.do("POST", "/f", nil, 0, "Upload-Concat", "final;"+a+" "+b), 400) // b is not there yet
	put := c.do("PATCH", b, io.NewSectionReader(upload, 100_000, 200_000), 200_000, "Content-Type", "application/offset+octet-stream", "Upload-Offset", "0")
	want(t, put, 204)
	want(t, c.head(b), 200, "Upload-Concat", "partial")
	list := "final;" + a + " /uploads/2" // as a relative Location had it
	r := c.do("POST", "/f", nil, 0, "Upload-Concat", list, "Upload-Metadata", "filename Zg==")
	want(t, r, 201, "Location", c.srv.URL+"/uploads/3")
	want(t, c.head("/uploads/3"), 200, "Upload-Concat", list, "Upload-Offset", all, "Upload-Length", all, "Upload-Metadata", "filename Zg==")
	want(t, c.do("PATCH", "/uploads/3", nil, 0, "Content-Type", "application/offset+octet-stream", "Upload-Offset", all), 403)
	c.whole(3)
	want(t, c.do("DELETE", a, nil, 0), 204)
	want(t, c.do("POST", "/f", nil, 0, "Upload-Concat", list), 404)
	c.whole(3)
	want(t, c.do("POST", "/f", nil, 0, "Upload-Concat", "final;"+b+" "+b), 201)
	if up := c.srv.Uploads()[3]; up.Length != 400_000 || up.Check(upload) == nil {
		t.Errorf("%+v", up)
	}
	c = newTusClient(t, TusExtensions("creation"))
	want(t, c.do("POST", "/f", nil, 0, "Upload-Concat", "final;/uploads/1"), 400)
}

func TestTusLocations(t *testing.T) {
	c := newTusClient(t, UploadsOverTLS(), TusLocations(func(at string) string { return "http" + strings.TrimPrefix(at, "https") }))
	if at := c.create("Upload-Length", "1"); at != "http"+strings.TrimPrefix(c.srv.URL, "https")+"/uploads/1" {
		t.Error(at)
	}
	c = newTusClient(t, TusLocations(func(at string) string { return at[strings.LastIndex(at, "/uploads"):] }))
	if at := c.create("Upload-Length", "1"); at != "/uploads/1" {
		t.Error(at)
	}
}

func TestTusLocks(t *testing.T) {
	for _, locks := range []bool{true, false} {
		var opts []UploadOption
		if locks {
			opts = append(opts, TusLocks())
		}
		c := newTusClient(t, opts...)
		at := c.create("Upload-Length", all)
		gate := NewGate()
		c.srv.Script("/f", UploadHold(1000, gate))
		done := make(chan reply, 1)
		go func() { done <- c.patch(at, 0, upload.Size) }()
		if err := gate.Wait(within(t)); err != nil {
			t.Fatal(err)
		}
		r := c.head(at)
		gate.Open()
		held := <-done
		switch {
		case locks && (r.status != 423 || held.status != 204):
			t.Errorf("asked while it is held: %d; held: %d, %v", r.status, held.status, held.err)
		case !locks && (r.status != 200 || held.err == nil):
			t.Errorf("asked while it is held: %d; held: %d", r.status, held.status)
		}
	}
}

// Faults, of the upload resource's own script and of its creation URL's.
func TestTusFaults(t *testing.T) {
	c := newTusClient(t)
	c.srv.Script("/f", UploadLosesAnswer())
	if r := c.do("POST", "/f", nil, 0, "Upload-Length", all); r.err == nil || len(c.srv.Uploads()) != 1 {
		t.Errorf("%d, %d uploads", r.status, len(c.srv.Uploads()))
	}
	at := "/uploads/1"
	c.srv.Script("/f", UploadAll(UploadCut(1000), UploadLoses(400)))
	c.patch(at, 0, upload.Size)
	want(t, c.head(at), 200, "Upload-Offset", "600")
	c.srv.Script("/f", UploadLosesAnswer(), UploadOffset("7"), UploadRollsBack(100), UploadStatus(423), UploadEarly(50, 503), UploadConflicts())
	c.patch(at, 600, 400)
	want(t, c.head(at), 200, "Upload-Offset", "7")
	want(t, c.head(at), 200, "Upload-Offset", "900")
	want(t, c.head(at), 423)
	want(t, c.patch(at, 900, 100_000), 503)
	want(t, c.patch(at, 950, 10), 409)
	want(t, c.head(at), 200, "Upload-Offset", "950")
	c.srv.Script(at, UploadForgets(410))
	c.srv.Script("/f", UploadStatus(500))
	want(t, c.head(at), 410) // its own script is first
	want(t, c.do("POST", "/f", nil, 0, "Upload-Length", "1"), 500)
	want(t, c.head(at), 410)
}
