package transfer

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestParseContentRange(t *testing.T) {
	for s, want := range map[string]contentRange{
		"bytes 0-0/1":                   {0, 1, 1},
		"bytes 5-9/10":                  {5, 10, 10},
		" Bytes  5-9/* ":                {5, 10, -1},
		"bytes */0":                     {-1, -1, 0},
		"bytes */10":                    {-1, -1, 10},
		"bytes 0-4611686018427387902/*": {0, 4611686018427387903, -1},
	} {
		if c, ok := parseContentRange(s); !ok || c != want {
			t.Errorf("%q: %+v, %v", s, c, ok)
		}
	}
	for _, s := range []string{
		"", "bytes", "bytes ", "bytes 0-9", "bytes */*", "bytes=0-9/10", "bytes 0-10/10", "bytes 9-8/10", "bytes 10-10/10",
		"bytes -1-5/10", "bytes +0-5/10", "bytes 0-/10", "bytes -5/10", "bytes 0-5/", "bytes 0-5/-1", "lines 0-5/10",
		"bytes 0-5/10, 6-7/10", "bytes 0x0-5/10", "bytes 0-9223372036854775807/*", "bytes 0-5/99999999999999999999", "bytes 0 - 5/10",
	} {
		if c, ok := parseContentRange(s); ok {
			t.Errorf("%q: %+v", s, c)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 5-9/*", "bytes */10", "bytes 0-9223372036854775807/9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseContentRange(s)
		switch {
		case !ok:
			return
		case c.unsatisfied():
			if c.total < 0 {
				t.Fatalf("%q: %+v", s, c)
			}
			return
		case c.end <= c.first || c.total >= 0 && c.end > c.total:
			t.Fatalf("%q: %+v", s, c)
		}
		again := fmt.Sprintf("bytes %d-%d/*", c.first, c.end-1)
		if c.total >= 0 {
			again = fmt.Sprintf("bytes %d-%d/%d", c.first, c.end-1, c.total)
		}
		if d, ok := parseContentRange(again); !ok || d != c {
			t.Fatalf("%q: %+v, and as %q %+v", s, c, again, d)
		}
	})
}

// Whatever digest fields say, what is taken from them has the length of its algorithm.
func FuzzDigestFields(f *testing.F) {
	f.Add("sha-256=:AAAA:", "SHA-256=AAAA,md5=", "AAAA")
	f.Add("sha-512=:"+strings.Repeat("A", 86)+"==:, md5=:"+strings.Repeat("A", 22)+"==:", "md5="+strings.Repeat("A", 22)+"==", strings.Repeat("A", 22)+"==")
	f.Fuzz(func(t *testing.T, structured, legacy, md5 string) {
		h := http.Header{"Repr-Digest": {structured}, "Content-Digest": {structured}, "Digest": {legacy}, "Content-Md5": {md5}}
		for _, e := range append(representationDigests(h), messageDigests(h)...) {
			if len(e.sum) != e.algorithm.size || e.source == "" {
				t.Fatalf("%+v", e)
			}
		}
		if e, err := parseDigest(legacy); err == nil && len(e.sum) != e.algorithm.size {
			t.Fatalf("%+v", e)
		}
	})
}

func FuzzChecksumFile(f *testing.F) {
	sum := strings.Repeat("ab", 32)
	f.Add(sum+"  name\n"+sum+" *name", "name")
	f.Add(`\`+sum+`  a\nb`, "a\nb")
	f.Add("SHA256 (n) = "+sum+"\nSHA2-256(n)= "+sum, "n")
	f.Fuzz(func(t *testing.T, content, name string) {
		list, _ := parseChecksums(strings.NewReader(content), name)
		for _, e := range list {
			if len(e.sum) != e.algorithm.size {
				t.Fatalf("%+v", e)
			}
		}
	})
}
