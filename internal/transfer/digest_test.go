package transfer

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

func TestUsersDigests(t *testing.T) {
	sum := file.SHA256()
	good := []string{
		fmt.Sprintf("sha-256=%x", sum), fmt.Sprintf("sha-512=%x", sha512.Sum512(file.Bytes())),
		fmt.Sprintf("MD5=%X", md5.Sum(file.Bytes())),
	}
	for _, resumed := range []bool{false, true} {
		srv, a := newFixture(t)
		a.Spec.Download.Digests = good
		if resumed {
			a = interrupt(t, srv, a, 100_000)
		}
		res, err := Run(t.Context(), a)
		wantFile(t, res, err, file)
		if res.Digest != good[1] {
			t.Errorf("digest %s, want the strongest", res.Digest)
		}
	}
	for _, resumed := range []bool{false, true} {
		srv, a := newFixture(t)
		wrong := "sha-256=" + strings.Repeat("ab", 32)
		a.Spec.Download.Digests = []string{good[2], wrong}
		if resumed {
			a = interrupt(t, srv, a, 100_000)
		}
		res, err := Run(t.Context(), a)
		wantCode(t, err, task.DigestMismatch)
		for _, value := range []string{strings.Repeat("ab", 32), fmt.Sprintf("%x", sum), ".part.mismatch"} {
			if !strings.Contains(err.Error(), value) {
				t.Errorf("%v does not name %s", err, value)
			}
		}
		wantNoFile(t, a)
		names := list(t, filepath.Dir(a.Spec.Download.Path))
		if res.ResumeData != nil || len(names) != 1 || !strings.HasSuffix(names[0], ".part.mismatch") {
			t.Errorf("folder has %v, resume data %v", names, res.ResumeData)
		}
		// The next try starts afresh.
		a.Spec.Download.Digests = nil
		if _, err := Run(t.Context(), again(a)); err != nil || !strings.HasSuffix(ranges(srv), "-") {
			t.Errorf("%v; asked for %s", err, ranges(srv))
		}
	}
	for _, bad := range []string{"", "sha-256", "sha-256=", "sha-256=zz", "crc32=00000000", "sha-256=" + strings.Repeat("ab", 31)} {
		srv, a := newFixture(t)
		a.Spec.Download.Digests = []string{bad}
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.DigestMismatch)
		if srv.Count("/f") != 0 {
			t.Errorf("%q was not refused before the network", bad)
		}
	}
}

func TestResponseDigests(t *testing.T) {
	for name, c := range map[string]struct {
		digests  []Digest
		fresh    bool // the fresh download succeeds
		resumed  bool // and the resumed one
		verified bool
	}{
		"repr":                {[]Digest{ReprDigest("sha-256")}, true, true, true},
		"repr wrong":          {[]Digest{ReprDigest("sha-256").Wrong()}, false, false, false},
		"repr 512":            {[]Digest{ReprDigest("sha-512")}, true, true, true},
		"legacy":              {[]Digest{LegacyDigest("sha-256")}, true, true, true},
		"legacy wrong":        {[]Digest{LegacyDigest("sha-512").Wrong()}, false, false, false},
		"legacy md5 wrong":    {[]Digest{LegacyDigest("md5").Wrong()}, false, false, false},
		"content":             {[]Digest{ContentDigest("sha-256")}, true, true, true},
		"content wrong":       {[]Digest{ContentDigest("sha-256").Wrong()}, false, true, false},
		"content-md5":         {[]Digest{ContentMD5()}, true, true, true},
		"content-md5 wrong":   {[]Digest{ContentMD5().Wrong()}, false, true, false},
		"right and wrong":     {[]Digest{ReprDigest("sha-256"), ContentMD5().Wrong()}, false, true, true},
		"two right of a kind": {[]Digest{ReprDigest("sha-256"), ReprDigest("sha-512")}, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, resumed := range []bool{false, true} {
				srv, a := newFixture(t)
				srv.Publish("/f", Resource{Content: file, ETag: `"v1"`, Digests: c.digests})
				want := c.fresh
				if resumed {
					want = c.resumed
					a = interrupt(t, srv, a, 100_000)
				}
				res, err := Run(t.Context(), a)
				if !want {
					wantCode(t, err, task.DigestMismatch)
					wantNoFile(t, a)
					continue
				}
				wantFile(t, res, err, file)
				if !resumed && (res.Digest != "") != c.verified {
					t.Errorf("digest %q", res.Digest)
				}
			}
		})
	}
}

func TestDigestsThatSayNothing(t *testing.T) {
	for _, h := range []http.Header{
		{"Repr-Digest": {"sha-256=:not base64:"}},
		{"Repr-Digest": {"crc32c=:AAAAAA==:, unixsum=:AAAA:"}},
		{"Repr-Digest": {"sha-256=:AAAA:"}},
		{"Repr-Digest": {"sha-256=(1 2)"}},
		{"Repr-Digest": {"sha-256"}},
		{"Repr-Digest": {`sha-256="AAAA"`}},
		{"Digest": {"sha-256, =, sha=AAAA, SHA-256=!"}},
		{"Content-Md5": {"AAAA"}},
		{"Content-Digest": {""}},
	} {
		srv, a := newFixture(t)
		srv.Publish("/f", Resource{Content: file, Header: h})
		res, err := Run(t.Context(), a)
		wantFile(t, res, err, file)
	}
}

// Digests of a message count in a 200 only, those of HEAD never.
func TestDigestsOfOtherMessages(t *testing.T) {
	wrong := http.Header{"Content-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}}
	srv, a := newFixture(t)
	srv.Publish("/f", Resource{Content: file, Header: wrong})
	srv.Script("/f", Respond(404, "text/plain", "nothing", SetHeader("Content-Digest", wrong.Get("Content-Digest"))))
	if _, err := Run(t.Context(), a); err != nil {
		t.Error(err)
	}
	srv, a = newFixture(t)
	srv.Publish("/f", Resource{Content: file, Digests: []Digest{ReprDigest("sha-256")}})
	a.Spec.Request.Method = "HEAD"
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, Body{})
}

func TestTrailerDigests(t *testing.T) {
	value := func(b Body) string {
		sum := b.SHA256()
		return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	for _, c := range []struct {
		of   Body
		code task.Code
	}{{file, 0}, {Body{Seed: 9, Size: 1}, task.DigestMismatch}} {
		srv, a := newFixture(t)
		body := file.Bytes()
		srv.Script("/f", Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Repr-Digest\r\n\r\n"+
			fmt.Sprintf("%x\r\n%s\r\n0\r\nRepr-Digest: %s\r\n\r\n", len(body), body, value(c.of))))
		res, err := Run(t.Context(), a)
		wantCode(t, err, c.code)
		if c.code == 0 {
			wantFile(t, res, err, file)
			if res.Digest == "" {
				t.Error("not verified")
			}
		}
	}
}

func TestDigestFile(t *testing.T) {
	sum := fmt.Sprintf("%x", file.SHA256())
	bad := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		content string
		code    task.Code
	}{
		"good":        {bad + "  other\n" + sum + "  file.bin\n", 0},
		"wrong":       {bad + "  file.bin\n", task.DigestMismatch},
		"no line":     {sum + "  other.bin\n" + sum + "  x\n", task.DigestMismatch},
		"bsd":         {"SHA256 (file.bin) = " + sum + "\n", 0},
		"bsd wrong":   {"SHA256 (file.bin) = " + bad + "\n", task.DigestMismatch},
		"digest only": {sum + "\n", 0},
	} {
		for _, folder := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/", folder), func(t *testing.T) {
				srv, a := newFixture(t)
				path := filepath.Join(t.TempDir(), "SUMS")
				write(t, path, c.content)
				a.Spec.Download.DigestFile = path
				if folder {
					srv.Publish("/f", Resource{Content: file, ETag: `"v1"`, ContentDisposition: "attachment; filename=file.bin"})
					a.Spec.Download.Path, a.Spec.Download.Folder = filepath.Dir(a.Spec.Download.Path), true
				}
				a = interruptUnless(t, srv, a, c.code)
				res, err := Run(t.Context(), a)
				wantCode(t, err, c.code)
				if c.code == 0 {
					wantFile(t, res, err, file)
					if res.Digest != "sha-256="+sum {
						t.Errorf("digest %s", res.Digest)
					}
				}
			})
		}
	}
	srv, a := newFixture(t)
	a.Spec.Download.DigestFile = filepath.Join(t.TempDir(), "missing")
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.FileDoesNotExist)
	a.Spec.Download.Path, a.Spec.Download.Folder = filepath.Dir(a.Spec.Download.Path), true
	_, err = Run(t.Context(), a)
	wantCode(t, err, task.FileDoesNotExist)
	if srv.Count("/f") != 0 {
		t.Error("it asked the server")
	}
}

func interruptUnless(t *testing.T, srv *Server, a *Attempt, code task.Code) *Attempt {
	if code != 0 {
		return a
	}
	return interrupt(t, srv, a, 100_000)
}

func TestParseChecksums(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	md := strings.Repeat("cd", 16)
	for _, c := range []struct {
		content, name string
		want          int
	}{
		{sum + "  f", "f", 1},
		{sum + " *f\r\n", "f", 1},
		{sum + "  dir/f", "f", 1},
		{sum + "  ./f\n" + sum + "  d/f", "f", 1}, // the nearer one alone
		{sum + "  f g", "f g", 1},
		{sum + "  g", "f", 0},
		{"\ufeff" + strings.ToUpper(sum) + "  f", "f", 1},
		{`\` + sum + `  a\nb\\c`, "a\nb\\c", 1},
		{"SHA256 (f) = " + sum + "\nMD5 (f) = " + md, "f", 2},
		{"SHA2-256(f)= " + sum, "f", 1},
		{"SHA256 (f (1).x) = " + sum, "f (1).x", 1},
		{"BLAKE2b (f) = " + strings.Repeat("ab", 64), "f", 0},
		{strings.Repeat("ab", 20) + "  f", "f", 0}, // SHA-1
		{"# comment\n\n" + sum + "\n", "f", 1},
		{sum + "\n" + sum + "\n", "f", 0},
		{sum + "\n" + sum + "  g\n", "f", 0},
		{"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + sum + "  f\n", "f", 1},
		{"", "f", 0},
	} {
		list, err := parseChecksums(strings.NewReader(c.content), c.name)
		if err != nil || len(list) != c.want {
			t.Errorf("%q: %d, %v, want %d", c.content, len(list), err, c.want)
		}
	}
}

func TestVerifierStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var v verifier
	e, err := parseDigest("md5=" + strings.Repeat("00", 16))
	if err != nil {
		t.Fatal(err)
	}
	v.want(e)
	if err := v.prepare(ctx, bytes.NewReader(make([]byte, 1<<20)), 1<<20); err != context.Canceled {
		t.Error(err)
	}
}
