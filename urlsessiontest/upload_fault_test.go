package urlsessiontest_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// cut begins an upload that breaks after 100,000 bytes, and returns its resource.
func (u *uploader) cut(also ...UploadStep) string {
	u.t.Helper()
	u.srv.Script("/f", UploadAll(append([]UploadStep{UploadCut(100_000)}, also...)...))
	if r := u.create(upload.Size, true); r.err == nil {
		u.t.Fatalf("the creation was answered: %d", r.status)
	}
	if err := u.srv.WaitIdle(within(u.t)); err != nil {
		u.t.Fatal(err)
	}
	return u.srv.URL + u.srv.Uploads()[0].Location
}

func TestUploadOffsets(t *testing.T) {
	for _, version := range versions {
		u := newUploader(t, version)
		location := u.cut(UploadLoses(40_000))
		want(t, u.head(location), 204, "Upload-Offset", "60000")
		u.srv.Script("/f", UploadOffset("-1"), UploadOffset("1e3"), UploadOffset(""), UploadOffsetBy(7), UploadOffsetBy(-7),
			UploadRollsBack(10_000), UploadAdvances(20_000, upload), UploadHonest())
		for _, offset := range []string{"-1", "1e3", "", "60007", "59993", "50000", "70000", "70000"} {
			want(t, u.head(location), 204, "Upload-Offset", offset)
		}
		want(t, u.patch(location, 70_000, upload.Size-70_000, true), 201)
		whole(t, u.srv)
	}
}

func TestUploadRefused(t *testing.T) {
	for _, version := range versions {
		u := newUploader(t, version)
		location := u.cut()
		u.srv.Script("/f", UploadAll(UploadStatus(503), UploadHeader("Retry-After", "2")), UploadConflicts(), UploadRedirect(308, "/elsewhere"), UploadForgets(410))
		want(t, u.patch(location, 100_000, 10, false), 503, "Retry-After", "2")
		want(t, u.patch(location, 100_000, 10, false), 409, "Upload-Offset", "100000")
		u.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		want(t, u.patch(location, 100_000, 10, false), 308, "Location", "/elsewhere")
		if n := u.srv.Uploads()[0].Offset; n != 100_000 {
			t.Errorf("the offset is %d", n)
		}
		want(t, u.head(location), 410)
		want(t, u.head(location), 410)
	}
}

func TestUploadLosesAnswer(t *testing.T) {
	for name, opts := range transports {
		u := newUploader(t, 8, opts...)
		location := u.cut()
		u.srv.Script("/f", UploadLosesAnswer())
		if r := u.patch(location, 100_000, upload.Size-100_000, true); r.err == nil {
			t.Errorf("%s: answered %d", name, r.status)
		}
		want(t, u.head(location), 204, "Upload-Offset", "300000", "Upload-Complete", "?1")
		whole(t, u.srv)
	}
}

// A status that comes before the body has gone means nothing for what is held.
func TestUploadEarly(t *testing.T) {
	u := newUploader(t, 6)
	u.srv.Script("/f", UploadEarly(50_000, 201))
	r := u.create(upload.Size, true)
	if r.err == nil {
		want(t, r, 201)
	}
	if err := u.srv.WaitIdle(within(t)); err != nil {
		t.Fatal(err)
	}
	if up := u.srv.Uploads()[0]; up.Complete || up.Offset != 50_000 {
		t.Errorf("%+v", up)
	}
}

func TestUploadAnnouncements(t *testing.T) {
	for name, opts := range transports {
		u := newUploader(t, 5, opts...)
		u.srv.Script("/f", UploadAnnounced(0), UploadAnnounced(2), UploadInterop("7"), UploadInterop(""), UploadLocation("http://[::1"), UploadLocation(""), UploadUnaware())
		for i, c := range []struct {
			count             int
			version, location string
		}{{0, "", ""}, {2, "5", u.srv.URL + "/uploads/2"}, {1, "7", u.srv.URL + "/uploads/3"}, {1, "", u.srv.URL + "/uploads/4"}, {1, "5", "http://[::1"}, {1, "5", ""}, {0, "", ""}} {
			r := u.create(10, true)
			if r.err != nil || r.status != 201 || len(r.interims) != c.count {
				t.Fatalf("%s, %d: %v, %d, %d 104s", name, i, r.err, r.status, len(r.interims))
			}
			for _, h := range r.interims {
				if h.Get("Upload-Draft-Interop-Version") != c.version || h.Get("Location") != c.location {
					t.Errorf("%s, %d: %v", name, i, h)
				}
			}
		}
	}
}

// A plain server keeps nothing of what was cut.
func TestUploadUnaware(t *testing.T) {
	u := newUploader(t, 8)
	u.srv.Always("/f", UploadUnaware())
	u.srv.Script("/f", UploadAll(UploadUnaware(), UploadCut(1000)))
	if r := u.create(upload.Size, true); r.err == nil || len(r.interims) != 0 {
		t.Errorf("%v %v", r.err, r.interims)
	}
	want(t, u.create(upload.Size, true), 201, "Location", "")
	ups := u.srv.Uploads()
	if len(ups) != 2 || ups[0].Offset != 0 || ups[0].Complete {
		t.Fatalf("%+v", ups)
	}
	if err := ups[1].Check(upload); err != nil {
		t.Error(err)
	}
}

// A stream of HTTP/2 ends without its connection; a cut takes that too.
func TestUploadAbort(t *testing.T) {
	u := newUploader(t, 8, UploadsOverHTTP2())
	want(t, u.create(1, false), 201)
	location := u.srv.URL + "/uploads/1"
	for i, step := range []UploadStep{UploadAbort(1000), UploadCut(1000)} {
		u.srv.Script("/f", step)
		if r := u.patch(location, 1+1000*int64(i), 100_000, false); r.err == nil {
			t.Fatal(r.status)
		}
		want(t, u.head(location), 204, "Upload-Offset", strconv.Itoa(1+1000*(i+1)))
	}
	var conns []int
	for _, r := range u.srv.Requests() {
		conns = append(conns, r.Connection)
	}
	if len(conns) != 5 || conns[0] != conns[3] || conns[3] == conns[4] {
		t.Errorf("connections %v", conns)
	}
}

func TestUploadHold(t *testing.T) {
	u := newUploader(t, 8)
	gate := NewGate()
	u.srv.Script("/f", UploadWhen("POST", UploadHold(1000, gate)))
	done := make(chan reply)
	go func() { done <- u.create(upload.Size, true) }()
	if err := gate.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	if n := u.srv.Uploads()[0].Offset; n != 1000 {
		t.Errorf("held at %d", n)
	}
	gate.Open()
	want(t, <-done, 201)
	whole(t, u.srv)
	if n := len(u.srv.RequestsBy("POST", "PUT")); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// A stall lasts by the bubble's clock, and Close ends one that lasts for ever.
func TestUploadStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewUploadServer(UploadsInMemory(), UploadsIn(t.TempDir()))
		u := &uploader{t, srv, srv.Client(), 8}
		u.srv.Script("/f", UploadStall(1000, time.Hour), UploadAll(UploadStall(500, Forever), UploadLoses(400)))
		began := time.Now()
		want(t, u.create(2000, false), 201)
		if d := time.Since(began); d != time.Hour {
			t.Errorf("stalled for %v", d)
		}
		done := make(chan reply)
		go func() { done <- u.patch(srv.URL+"/uploads/1", 2000, 1000, false) }()
		if err := srv.WaitRequests(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		srv.Close()
		if r := <-done; r.err == nil {
			t.Errorf("answered %d", r.status)
		}
		if n := srv.Uploads()[0].Offset; n != 2100 {
			t.Errorf("%d bytes are held", n)
		}
		if _, err := srv.DialContext(t.Context(), "tcp", "origin.test:80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := srv.WaitReceived(ctx, 1<<40); !errors.Is(err, context.Canceled) {
			t.Errorf("wait: %v", err)
		}
	})
}

// The files of uploads are as true as memory, and go with the server.
func TestUploadFiles(t *testing.T) {
	dir := t.TempDir()
	u := newUploader(t, 8, UploadsIn(dir))
	location := u.cut(UploadLoses(50_000))
	u.srv.Script("/f", UploadRollsBack(20_000))
	want(t, u.head(location), 204, "Upload-Offset", "30000")
	if err := u.srv.Uploads()[0].Check(upload); err == nil {
		t.Error("an incomplete upload is whole")
	}
	want(t, u.patch(location, 30_000, upload.Size-30_000, true), 201)
	whole(t, u.srv)
	files := func() int {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := files(); n != 1 {
		t.Errorf("%d files", n)
	}
	u.srv.Close()
	if n := files(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// The script of Every is for the targets without one of their own.
func TestUploadScripts(t *testing.T) {
	u := newUploader(t, 8)
	u.srv.Script(Every, UploadStatus(500))
	u.srv.Always(Every, UploadEdit(func(int, http.Header) int { return 501 }))
	u.srv.Script("/own", UploadWhen("PUT", UploadStatus(502)))
	for i, c := range []struct {
		path   string
		status int
	}{{"/own", 502}, {"/f", 500}, {"/g", 501}, {"/own", 501}} {
		if r := send(t, u.client, "PUT", u.srv.URL+c.path, nil, 0); r.status != c.status {
			t.Errorf("%d: %d, want %d", i, r.status, c.status)
		}
	}
}

// All bytes are no completion: a request that breaks after its last one has
// completed nothing.
func TestUploadCutAtItsEnd(t *testing.T) {
	for _, version := range versions {
		u := newUploader(t, version)
		u.srv.Script("/f", UploadCut(upload.Size))
		if r := u.create(upload.Size, true); r.err == nil {
			t.Fatalf("answered %d", r.status)
		}
		flag, no := u.flag(false)
		want(t, u.head("/uploads/1"), 204, "Upload-Offset", "300000", flag, no)
		want(t, u.patch(u.srv.URL+"/uploads/1", upload.Size, 0, true), 201)
		whole(t, u.srv)
	}
}
