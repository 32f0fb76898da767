package urlsessiontest_test

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

func TestHonestAnswers(t *testing.T) {
	modified := time.Date(2020, 1, 2, 3, 4, 5, 600, time.UTC)
	small := Bytes("0123456789")
	res := Resource{Content: small, ETag: `"v1"`, LastModified: modified,
		ContentType: "text/x", ContentDisposition: `attachment; filename="a b"`,
		Header: http.Header{"x-extra": {"1"}}}
	const date = "Thu, 02 Jan 2020 03:04:05 GMT"
	const before, after = "Thu, 02 Jan 2020 03:04:04 GMT", "Thu, 02 Jan 2020 03:04:06 GMT"
	weakDate, weakTag, none := res, res, res
	weakDate.Date = modified
	weakTag.ETag = `W/"v1"`
	none.NoRanges = true

	for name, c := range map[string]struct {
		res    Resource
		lines  []string
		status string
		head   []string
		body   string
	}{
		"whole": {res, nil, "200 OK", []string{`ETag: "v1"`, "Last-Modified: " + date, "Content-Length: 10", "Content-Type: text/x",
			"Accept-Ranges: bytes", `Content-Disposition: attachment; filename="a b"`, "X-Extra: 1", "Connection: close"}, "0123456789"},
		"range":               {res, []string{"Range: bytes=2-4"}, "206 Partial Content", []string{"Content-Range: bytes 2-4/10", "Content-Length: 3", `ETag: "v1"`}, "234"},
		"open range":          {res, []string{"Range: bytes=7-"}, "206 Partial Content", []string{"Content-Range: bytes 7-9/10"}, "789"},
		"suffix":              {res, []string{"Range: bytes=-3"}, "206 Partial Content", []string{"Content-Range: bytes 7-9/10"}, "789"},
		"suffix of more":      {res, []string{"Range: bytes=-30"}, "206 Partial Content", []string{"Content-Range: bytes 0-9/10"}, "0123456789"},
		"past the end":        {res, []string{"Range: bytes=8-99999999999999999999"}, "206 Partial Content", []string{"Content-Range: bytes 8-9/10"}, "89"},
		"beyond":              {res, []string{"Range: bytes=10-"}, "416 Requested Range Not Satisfiable", []string{"Content-Range: bytes */10", "!ETag"}, "416 Requested Range Not Satisfiable\n"},
		"several":             {res, []string{"Range: bytes=0-1,3-4"}, "200 OK", []string{"!Content-Range"}, "0123456789"},
		"backwards":           {res, []string{"Range: bytes=4-2"}, "200 OK", nil, "0123456789"},
		"other unit":          {res, []string{"Range: lines=4-"}, "200 OK", nil, "0123456789"},
		"no ranges":           {none, []string{"Range: bytes=4-"}, "200 OK", []string{"!Accept-Ranges"}, "0123456789"},
		"if-range holds":      {res, []string{"Range: bytes=8-", `If-Range: "v1"`}, "206 Partial Content", nil, "89"},
		"if-range other":      {res, []string{"Range: bytes=8-", `If-Range: "v2"`}, "200 OK", nil, "0123456789"},
		"if-range weak":       {weakTag, []string{"Range: bytes=8-", `If-Range: W/"v1"`}, "200 OK", nil, "0123456789"},
		"if-range date":       {res, []string{"Range: bytes=8-", "If-Range: " + date}, "206 Partial Content", nil, "89"},
		"if-range later":      {res, []string{"Range: bytes=8-", "If-Range: " + after}, "200 OK", nil, "0123456789"},
		"if-range weak date":  {weakDate, []string{"Range: bytes=8-", "If-Range: " + date}, "200 OK", []string{"Date: " + date}, "0123456789"},
		"none match":          {res, []string{`If-None-Match: "x", W/"v1"`}, "304 Not Modified", []string{`ETag: "v1"`, "!Content-Length"}, ""},
		"none match, changed": {res, []string{`If-None-Match: "x"`, "If-Modified-Since: " + date}, "200 OK", nil, "0123456789"},
		"not modified":        {res, []string{"If-Modified-Since: " + date}, "304 Not Modified", nil, ""},
		"modified":            {res, []string{"If-Modified-Since: " + before}, "200 OK", nil, "0123456789"},
		"match":               {res, []string{`If-Match: "v1"`}, "200 OK", nil, "0123456789"},
		"match fails":         {res, []string{`If-Match: "v2"`}, "412 Precondition Failed", nil, "412 Precondition Failed\n"},
		"match weak":          {weakTag, []string{`If-Match: W/"v1"`}, "412 Precondition Failed", nil, "412 Precondition Failed\n"},
		"unmodified fails":    {res, []string{"If-Unmodified-Since: " + before}, "412 Precondition Failed", nil, "412 Precondition Failed\n"},
		"empty":               {Resource{}, nil, "200 OK", []string{"Content-Length: 0", "!ETag", "!Last-Modified"}, ""},
		"range of empty":      {Resource{}, []string{"Range: bytes=0-"}, "416 Requested Range Not Satisfiable", []string{"Content-Range: bytes */0"}, "416 Requested Range Not Satisfiable\n"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t)
			srv.Publish("/f", c.res)
			head, body := get(t, srv, c.lines...)
			has(t, head, append(c.head, "HTTP/1.1 "+c.status)...)
			same(t, body, c.body)
		})
	}
}

func TestMethods(t *testing.T) {
	srv := newServer(t)
	for _, c := range []struct{ method, path, status, body string }{
		{"HEAD", "/f", "200 OK", ""},
		{"HEAD", "/none", "404 Not Found", ""},
		{"GET", "/none", "404 Not Found", "404 Not Found\n"},
		{"POST", "/answer", "200 OK", "done"},
		{"POST", "/none", "404 Not Found", "404 Not Found\n"},
		{"PUT", "/f", "204 No Content", ""},
		{"PUT", "/new", "201 Created", "201 Created\n"},
		{"DELETE", "/f", "204 No Content", ""},
		{"BREW", "/f", "405 Method Not Allowed", "405 Method Not Allowed\n"},
	} {
		srv.Publish("/answer", Resource{Content: Bytes("done")})
		answer, err := exchange(t, srv, c.method+" "+c.path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := cutHead(answer)
		has(t, head, "HTTP/1.1 "+c.status)
		if body != c.body {
			t.Errorf("%s %s: body %q, want %q", c.method, c.path, body, c.body)
		}
		if c.method == "HEAD" && c.path == "/f" {
			has(t, head, "Content-Length: 200000", `ETag: "v1"`)
		}
	}
}

func TestDigests(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	all, part := []byte("0123456789"), []byte("234")
	s256, s512, m := sha256.Sum256(all), sha512.Sum512(all), md5.Sum(all)
	p256, pm := sha256.Sum256(part), md5.Sum(part)
	srv := newServer(t)
	srv.Publish("/f", Resource{Content: Bytes(all), Digests: []Digest{
		ReprDigest("sha-256"), ReprDigest("sha-512"), ContentDigest("sha-256"), LegacyDigest("md5"), ContentMD5()}})

	head, _ := get(t, srv)
	has(t, head,
		"Repr-Digest: sha-256=:"+b64(s256[:])+":, sha-512=:"+b64(s512[:])+":",
		"Content-Digest: sha-256=:"+b64(s256[:])+":",
		"Digest: MD5="+b64(m[:]), "Content-MD5: "+b64(m[:]))

	head, _ = get(t, srv, "Range: bytes=2-4")
	has(t, head,
		"Repr-Digest: sha-256=:"+b64(s256[:])+":, sha-512=:"+b64(s512[:])+":",
		"Content-Digest: sha-256=:"+b64(p256[:])+":",
		"Digest: MD5="+b64(m[:]), "Content-MD5: "+b64(pm[:]))

	s256[0] ^= 1
	srv.Publish("/f", Resource{Content: Bytes(all), Digests: []Digest{ReprDigest("sha-256").Wrong()}})
	for range 2 { // the remembered sum stays right
		head, _ = get(t, srv)
		has(t, head, "Repr-Digest: sha-256=:"+b64(s256[:])+":")
	}
}

func TestPublishFuncAndWithdraw(t *testing.T) {
	srv := newServer(t)
	srv.PublishFunc(func(path string) (Resource, bool) {
		return Resource{Content: Bytes(path)}, path != "/no"
	})
	for path, want := range map[string]string{"/a%20b?q": "/a b", "/no": "404 Not Found\n", "/f": content(file)} {
		_, body, err := fetch(srv.Client(), srv.URL+path)
		if err != nil {
			t.Fatal(err)
		}
		same(t, body, want)
	}
	srv.PublishFunc(nil)
	srv.Withdraw("/f")
	if resp, _, err := fetch(srv.Client(), srv.URL+"/f"); err != nil || resp.StatusCode != 404 {
		t.Errorf("withdrawn: %v, %v", resp, err)
	}
}
