package urlsessiontest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// What a client does wrong is refused as its version says, and changes nothing.
func TestUploadRefusals(t *testing.T) {
	for _, version := range versions {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			u := newUploader(t, version)
			location := u.create(100, false).header.Get("Location")
			flag, no := u.flag(false)
			_, yes := u.flag(true)
			r := u.patch(location, 50, 10, false)
			want(t, r, 409, "Upload-Offset", "100")
			problem := strings.Contains(r.body, `"https://iana.org/assignments/http-problem-types#mismatching-upload-offset"`) &&
				strings.Contains(r.body, `"expected-offset":100,"provided-offset":50`)
			if problem != (version >= 6) || problem != (r.header.Get("Content-Type") == "application/problem+json") {
				t.Errorf("%v %s", r.header, r.body)
			}
			for _, offset := range []string{"", "-1", "x", "1.0", "+100", "1000000000000000", `"100"`} {
				want(t, u.do("PATCH", location, strings.NewReader("x"), 1, flag, no, "Upload-Offset", offset, "Content-Type", "application/partial-upload"), 400)
			}
			if version >= 6 {
				want(t, u.do("PATCH", location, strings.NewReader("x"), 1, flag, no, "Upload-Offset", "100"), 415, "Accept-Patch", "application/partial-upload")
				want(t, u.do("PATCH", location, strings.NewReader("x"), 1, "Upload-Offset", "100", "Content-Type", "application/partial-upload"), 400)
			}
			asking := 204
			if version <= 6 {
				asking = 400
				want(t, u.create(1, true, "Upload-Offset", "0"), 400)
			}
			for _, name := range []string{"Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length"} {
				want(t, u.head(location, name, "?1"), asking)
			}
			want(t, u.do("POST", location, nil, 0), 405, "Allow", "DELETE, HEAD, PATCH")
			other := map[bool]string{true: "4", false: "3"}[version == 3]
			want(t, u.do("HEAD", location, nil, 0, "Upload-Draft-Interop-Version", other), 400)
			if version >= 6 {
				want(t, u.create(1, true, "Upload-Length", "2"), 400)
				want(t, u.patch(location, 100, 1, false, "Upload-Length", "200"), map[bool]int{true: 204, false: 201}[version >= 7])
				want(t, u.patch(location, 101, 1, true), 400)
				want(t, u.head(location), 204, "Upload-Length", "200", "Upload-Offset", "101")
				want(t, u.do("PATCH", location, io.NewSectionReader(upload, 101, 200), -1, flag, no, "Upload-Offset", "101", "Content-Type", "application/partial-upload"), 400)
				want(t, u.head(location), map[bool]int{true: 410, false: 204}[version == 8])
			}

			location = u.create(10, true).header.Get("Location")
			want(t, u.head(location), 204, "Upload-Offset", "10", flag, yes)
			content, empty := u.patch(location, 10, 1, true), u.patch(location, 10, 0, true)
			switch {
			case version <= 5:
				want(t, content, 409, "Upload-Offset", "10", flag, yes)
				want(t, empty, 409)
			case version <= 7:
				want(t, content, 400)
				want(t, empty, 400)
			default:
				want(t, content, 400)
				want(t, empty, 410)
			}
			if kind := map[bool]string{true: "completed-upload", false: "mismatching"}[version >= 6]; version >= 6 && !strings.Contains(empty.body, kind) {
				t.Error(empty.body)
			}
		})
	}
}

// Before version 6 an append that says nothing is the last one.
func TestUploadAppendWithoutAWord(t *testing.T) {
	for _, version := range []int{3, 4, 5} {
		u := newUploader(t, version)
		location := u.create(100, false).header.Get("Location")
		want(t, u.do("PATCH", location, io.NewSectionReader(upload, 100, upload.Size-100), upload.Size-100, "Upload-Offset", "100"), 201, "Upload-Offset", "300000")
		whole(t, u.srv)
	}
}

func TestUploadProgress(t *testing.T) {
	for _, version := range versions {
		u := newUploader(t, version, UploadProgress(100_000))
		r := u.create(upload.Size, true)
		want(t, r, 201)
		if n := len(r.interims); version < 5 && n != 1 || version >= 5 && (n < 3 || n > 4) {
			t.Fatalf("version %d: %d 104s", version, n)
		}
		last := int64(0)
		for _, h := range r.interims[1:] {
			n, err := strconv.ParseInt(h.Get("Upload-Offset"), 10, 64)
			if err != nil || n < last+100_000 || h.Get("Location") != "" || h.Get("Upload-Draft-Interop-Version") != strconv.Itoa(version) {
				t.Errorf("after %d: %v", last, h)
			}
			last = n
		}
	}
}

func TestUploadLimit(t *testing.T) {
	limit := UploadLimit{MaxSize: 200_000, MinSize: 5, MaxAppendSize: 50_000, MinAppendSize: 10, MaxAge: time.Hour}
	for _, version := range versions {
		u := newUploader(t, version, UploadLimits(limit))
		told := map[int]string{6: "max-size=200000, min-size=5, max-append-size=50000, min-append-size=10, expires=3600",
			7: "max-size=200000, min-size=5, max-append-size=50000, min-append-size=10, max-age=3600"}
		told[8] = told[7]
		want(t, u.do("OPTIONS", "/f", nil, 0), 204, "Upload-Limit", told[version], "Accept-Patch", map[int]string{8: "application/partial-upload"}[version])
		want(t, u.create(200_001, true), 413, "Upload-Limit", told[version])
		want(t, u.create(4, true), 400)
		r := u.create(100, false)
		want(t, r, 201)
		location := r.header.Get("Location")
		for _, l := range []string{r.header.Get("Upload-Limit"), r.interims[0].Get("Upload-Limit"), u.head(location).header.Get("Upload-Limit")} {
			if prefix, _, _ := strings.Cut(told[version], "=3"); !strings.HasPrefix(l, prefix) || (l == "") != (version < 6) {
				t.Errorf("version %d: limit %q", version, l)
			}
		}
		if version >= 6 {
			flag, no := u.flag(false)
			want(t, u.patch(location, 100, 50_001, false), 413, "Upload-Limit", told[version])
			want(t, u.do("PATCH", location, io.NewSectionReader(upload, 100, 60_000), -1, flag, no, "Upload-Offset", "100", "Content-Type", "application/partial-upload"), 413)
			offset := u.head(location).header.Get("Upload-Offset")
			if n, _ := strconv.ParseInt(offset, 10, 64); n < 100 || n > 50_100 {
				t.Errorf("the offset is %s", offset)
			}
			n, _ := strconv.ParseInt(offset, 10, 64)
			want(t, u.patch(location, n, 9, false), 400)
			want(t, u.patch(location, n, 9, true), 201)
		}
		want(t, u.create(60_000, false), map[bool]int{true: 413, false: 201}[version == 8])
	}
	u := newUploader(t, 7)
	want(t, u.do("OPTIONS", "/f", nil, 0), 204, "Upload-Limit", "min-size=0", "Accept-Patch", "")
	want(t, send(t, u.client, "OPTIONS", u.srv.URL+"/f", nil, 0), 204, "Accept-Patch", "application/partial-upload")
}

func TestUploadExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewUploadServer(UploadsInMemory(), UploadLimits(UploadLimit{MaxAge: time.Minute}))
		defer srv.Close()
		u := &uploader{t, srv, srv.Client(), 8}
		location := u.create(10, false).header.Get("Location")
		time.Sleep(59 * time.Second)
		want(t, u.head(location), 204, "Upload-Limit", "max-age=1")
		time.Sleep(time.Second)
		want(t, u.head(location), 410)
	})
}

func TestUploadDigests(t *testing.T) {
	digest := func(p []byte) string {
		sum := sha256.Sum256(p)
		return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	all := upload.Bytes()
	u := newUploader(t, 8)
	r := u.create(100, false, "Repr-Digest", digest(all)+", sha-1=:x:", "Want-Repr-Digest", "sha-256=10, md5=1, sha-1=19", "Content-Digest", digest(all[:100]))
	want(t, r, 201)
	location := r.header.Get("Location")
	want(t, u.patch(location, 100, 100, false, "Content-Digest", digest(all[:100])), 400)
	want(t, u.head(location), 204, "Upload-Offset", "100", "Repr-Digest", "")
	want(t, u.patch(location, 100, upload.Size-100, true, "Content-Digest", digest(all[100:])), 201, "Repr-Digest", digest(all))
	want(t, u.head(location), 204, "Repr-Digest", digest(all))
	whole(t, u.srv)

	location = u.create(100, false, "Repr-Digest", digest(all[1:])).header.Get("Location")
	want(t, u.patch(location, 100, upload.Size-100, true), 400, "Upload-Complete", "?1")
	want(t, u.head(location), 410)
	if up := u.srv.Uploads()[1]; up.Complete {
		t.Errorf("%+v", up)
	}
	want(t, send(t, u.client, "PUT", u.srv.URL+"/f", strings.NewReader("x"), 1, "Repr-Digest", digest(nil)), 400)
}

// No field, however malformed, keeps the server from an answer.
func FuzzUploadFields(f *testing.F) {
	srv := NewUploadServer(UploadsInMemory())
	f.Cleanup(srv.Close)
	client := srv.Client()
	f.Add("8", "?1", "0", "5", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")
	f.Add("3", "?0;a=b", " 7 ", "1e3", "sha-256=:=:, md5=::")
	f.Add("6;x", "1", "-0", "99999999999999999999", "=,=:")
	f.Fuzz(func(t *testing.T, version, complete, offset, length, digest string) {
		for _, method := range []string{"POST", "PATCH", "HEAD", "DELETE"} {
			path := "/f"
			if method != "POST" {
				path = "/uploads/1"
			}
			req, err := http.NewRequest(method, srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"Upload-Draft-Interop-Version": version, "Upload-Complete": complete, "Upload-Incomplete": complete,
				"Upload-Offset": offset, "Upload-Length": length, "Repr-Digest": digest, "Content-Digest": digest, "Want-Repr-Digest": digest,
				"Content-Type": "application/partial-upload"} {
				if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Skip("net/http does not send it")
				}
				req.Header.Set(name, value)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode >= 500 {
				t.Error(fmt.Sprint(method, resp.Status))
			}
			if n := resp.Header.Get("Upload-Offset"); n != "" {
				if v, err := strconv.ParseInt(n, 10, 64); err != nil || v < 0 {
					t.Errorf("%s: offset %s", method, n)
				}
			}
		}
	})
}
