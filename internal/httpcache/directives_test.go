package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDirectives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []string
		want directives
	}{
		{[]string{""}, nil},
		{[]string{", ,"}, nil},
		{[]string{"No-Cache"}, directives{{"no-cache", ""}}},
		{[]string{"max-age=5,no-store", "public"}, directives{{"max-age", "5"}, {"no-store", ""}, {"public", ""}}},
		{[]string{`max-age = "5" , x`}, directives{{"max-age", "5"}, {"x", ""}}},
		{[]string{`no-cache="a, b", private`}, directives{{"no-cache", "a, b"}, {"private", ""}}},
		{[]string{`no-cache="a", no-cache`}, directives{{"no-cache", ""}}},
		{[]string{`no-cache="a"`, `no-cache="b"`}, directives{{"no-cache", "a,b"}}},
		{[]string{`x="a\"b`}, directives{{"x", `a"b`}}},
		{[]string{"max-age=5, max-age=5"}, directives{{"max-age", "5"}}},
		{[]string{"max-age=5, max-age=6"}, directives{{"max-age", invalid}}},
		{[]string{"max-stale="}, directives{{"max-stale", invalid}}},
		{[]string{"two words, no-store"}, directives{{"no-store", ""}}},
		{[]string{"=5, no-store"}, directives{{"no-store", ""}}},
	} {
		if got := parseDirectives(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.in, got, c.want)
		}
	}
}

// A header of a megabyte costs no more than its length, and what it may forbid at its end is not overlooked.
func TestTooManyDirectives(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("x" + strconv.Itoa(i) + ",")
		}
		return b.String()
	}
	if cc := parseDirectives([]string{many(maxDirectives-1) + "x0,max-age=5"}); len(cc) != maxDirectives || cc.has("no-store") || !cc.has("max-age") {
		t.Errorf("%d are read as %d", maxDirectives, len(cc))
	}
	for _, n := range []int{maxDirectives + 1, 200_000} {
		if cc := parseDirectives([]string{many(n) + "max-age=5"}); !cc.always("no-store") || !cc.always("no-cache") || cc.has("max-age") {
			t.Fatalf("of %d there are %d left, and they do not forbid", n, len(cc))
		}
	}
}

func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{
		"", "no-cache", `no-cache="a, b"`, "max-age=60, must-revalidate", `max-age="60`, "max-stale", "a=b=c,,\\,=", `x="\`, "max-age=99999999999999999999",
		"stale-while-revalidate=5, stale-if-error=5, immutable, public, private, no-store, must-understand",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, response, request string) {
		h := &head{Status: 200, Header: http.Header{"Cache-Control": {response}}, Received: time.Unix(1e9, 0), Requested: time.Unix(1e9, 0)}
		for _, d := range parseDirectives([]string{response}) {
			name := d.name
			for i := range len(name) {
				if !isToken(name[i]) || 'A' <= name[i] && name[i] <= 'Z' {
					t.Errorf("%q is a directive's name", name)
				}
			}
		}
		if h.lifetime() < 0 || h.lifetime() > maxSeconds*time.Second {
			t.Errorf("lifetime %v", h.lifetime())
		}
		q := &query{req: &http.Request{Header: http.Header{}}, cc: requestDirectives(http.Header{"Cache-Control": {request}})}
		q.insteadOfError(h, time.Unix(1e9+100, 0))
		if v := q.judge(h, time.Unix(1e9+100, 0)); v != validate && responseDirectives(h.Header).always("no-cache") {
			t.Errorf("no-cache is %d", v)
		}
		storedFields(h.Header)
	})
}

func FuzzVary(f *testing.F) {
	f.Add("Accept-Encoding", "gzip, br", "gzip ,br")
	f.Add("accept-encoding,, Accept-Language", "", ",")
	f.Add("*", "a", "b")
	f.Add("Authorization", "Basic x", "Basic y")
	f.Fuzz(func(t *testing.T, vary, a, b string) {
		h := &head{ID: []byte("id"), Header: http.Header{"Vary": {vary}}}
		with := func(v string) http.Header {
			return http.Header{"Accept-Encoding": {v}, "Accept-Language": {v}, "Authorization": {v}}
		}
		if !h.selectBy(with(a)) {
			return
		}
		if !h.selects(with(a)) {
			t.Error("it does not select what it was for")
		}
		if normalize([]string{a}) != normalize([]string{b}) && h.selects(with(b)) {
			t.Error("Authorization is always among what selects")
		}
		if normalize([]string{a}) == normalize([]string{b}) != h.selects(with(b)) {
			t.Error("equal lists are not equal")
		}
		if h.selects(http.Header{}) {
			t.Error("an empty field is none")
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=1-0", "bytes=0-0,2-", "bytes=99999999999999999999-", "=", "bytes=-", "bytes= 1 - 2"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, spec string, length int64) {
		if length < 0 {
			return
		}
		h := &head{Header: http.Header{}, Length: length}
		first, n, kind := h.rangeFor(http.Header{"Range": {spec}})
		if kind == satisfiable && (first < 0 || n <= 0 || first+n > length || first+n < first) {
			t.Errorf("%q of %d: %d bytes from %d", spec, length, n, first)
		}
	})
}
