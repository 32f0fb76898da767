package transfer

import (
	"net/http"
	"testing"
	"time"
)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestInteropFields(t *testing.T) {
	for v, want := range map[interop]http.Header{
		3: header("Upload-Draft-Interop-Version", "3", "Upload-Incomplete", "?0"),
		5: header("Upload-Draft-Interop-Version", "5", "Upload-Complete", "?1"),
		8: header("Upload-Draft-Interop-Version", "8", "Upload-Complete", "?1", "Upload-Length", "9"),
	} {
		h := http.Header{}
		v.create(h, 9, true)
		if len(h) != len(want) {
			t.Errorf("%d: %v", v, h)
		}
		for name := range want {
			if h.Get(name) != want.Get(name) {
				t.Errorf("%d: %v, want %v", v, h, want)
			}
		}
	}
	for _, c := range []struct {
		h              http.Header
		complete, said bool
	}{
		{header(), false, false},
		{header("Upload-Complete", "?1"), true, true},
		{header("Upload-Complete", "?0"), false, true},
		{header("Upload-Incomplete", "?0"), true, true}, // as swift-nio says it, in all versions
		{header("Upload-Incomplete", "?1"), false, true},
		{header("Upload-Complete", "?1;a=b"), true, true},
		{header("Upload-Complete", "1"), false, false},
		{header("Upload-Complete", "true"), false, false},
		{header("Upload-Complete", "?1", "Upload-Complete", "?1"), false, false},
	} {
		for _, v := range []interop{3, 6, 8} {
			if complete, said := v.complete(c.h, 0); complete != c.complete || said != c.said {
				t.Errorf("%d: %v: %v, %v", v, c.h, complete, said)
			}
		}
	}
	for value, want := range map[string]int64{"0": 0, "5": 5, "5;a=b": 5, "999999999999999": 999999999999999, "-1": -1, "1.0": -1, "1000000000000000": -1, `"5"`: -1, "": -1, "5, 6": -1} {
		n, ok := integer(header("Upload-Offset", value), "Upload-Offset")
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("offset %q: %d, %v", value, n, ok)
		}
	}
}

func TestInteropLimits(t *testing.T) {
	l := interop(8).limits(header("Upload-Limit", "max-size=10, max-append-size=4;a=b, max-age=60, min-size=0, unknown=x"))
	if left := time.Until(l.expires); l.maxSize != 10 || l.maxAppend != 4 || !l.creation || left < 50*time.Second || left > time.Minute {
		t.Errorf("%+v", l)
	}
	if l := interop(6).limits(header("Upload-Limit", "expires=60", "Upload-Limit", "max-size=3")); l.maxSize != 3 || l.creation || l.expires.IsZero() {
		t.Errorf("%+v", l)
	}
	if l := interop(8).limits(header("Upload-Limit", "max-size=10, max-append-size=?1")); l.maxSize != 0 || l.maxAppend != 0 {
		t.Errorf("a limit that is no number: %+v", l)
	}
	if l := interop(7).limits(header("Upload-Limit", "max-size=10, max-append-size=-1")); l.maxSize != 10 || l.maxAppend > 0 {
		t.Errorf("a limit below 0: %+v", l)
	}
}
