package cookie

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// vectors are what a server sets at one URL and what a request for another, by default the same, then sends. They go
// through the cases of the http-state suite and of the web platform tests, in our own words.
var vectors = []struct {
	name string
	at   string // default: http://home.example.org:8888/parser
	set  []string
	to   string // default: http://home.example.org:8888/result
	want string
}{
	// Pairs.
	{name: "a pair", set: []string{"k=v"}, want: "k=v"},
	{name: "no equals sign: a value", set: []string{"k"}, want: "k"},
	{name: "nothing before the equals sign: a value", set: []string{"=k"}, want: "k"},
	{name: "an empty value", set: []string{"k="}, want: "k="},
	{name: "neither", set: []string{"="}, want: ""},
	{name: "an empty field", set: []string{""}, want: ""},
	{name: "spaces alone", set: []string{"   "}, want: ""},
	{name: "attributes alone", set: []string{"; Path=/"}, want: ""},
	{name: "the last one without a name stays", set: []string{"one", "two"}, want: "two"},
	{name: "the same name again", set: []string{"k=1", "k=2"}, want: "k=2"},
	{name: "names differ in case", set: []string{"k=1", "K=2"}, want: "k=1; K=2"},
	{name: "several", set: []string{"z=1", "a=2", "m=3"}, want: "z=1; a=2; m=3"},
	{name: "one refused among others", set: []string{"a=1", "=", "b=2"}, want: "a=1; b=2"},
	{name: "space around", set: []string{"  k \t=\t v  ; x"}, want: "k=v"},
	{name: "space within", set: []string{"k k=v  v"}, want: "k k=v  v"},
	{name: "a TAB within", set: []string{"k=v\tw"}, want: "k=v\tw"},
	{name: "more equals signs", set: []string{"k== v=w"}, want: "k== v=w"},
	{name: "a comma is no separator", set: []string{"k=v, l=w"}, want: "k=v, l=w"},
	{name: "quotation marks stay", set: []string{`k="v w"`}, want: `k="v w"`},
	{name: "a semicolon in quotation marks ends all the same", set: []string{`k="v;w"`}, want: `k="v`},
	{name: "one quotation mark", set: []string{`k=v"w`}, want: `k=v"w`},
	{name: "quoted parts", set: []string{`k="a"  "b" ;`}, want: `k="a"  "b"`},
	{name: "a name in quotation marks", set: []string{`"k"=v`}, want: `"k"=v`},
	{name: "a name that is a value in quotation marks", set: []string{`"k\"l"; path=/`}, want: `"k\"l"`},
	{name: "UTF-8", set: []string{"k=größe", "ключ=значение"}, want: "k=größe; ключ=значение"},
	{name: "bytes that are no UTF-8", set: []string{"k=\xff\xfe"}, want: "k=\xff\xfe"},
	{name: "characters that are no token", set: []string{"k[0]=1", "a/b@c=2", "{}=3"}, want: "k[0]=1; a/b@c=2; {}=3"},
	{name: "a dollar sign", set: []string{"$Version=1"}, want: "$Version=1"},

	// Attributes.
	{name: "unknown ones", set: []string{`k=v; version=1; comment="x y"; a,b=c,d`}, want: "k=v"},
	{name: "empty ones", set: []string{"k=v;;; ;"}, want: "k=v"},
	{name: "Secure without TLS", set: []string{"k=v; Secure"}, want: ""},
	{name: "Secure in any case", set: []string{"k=v; sEcURe"}, want: ""},
	{name: "Secure with a value", set: []string{"k=v; Secure=no"}, want: ""},
	{name: "Secure with spaces", set: []string{"k=v;    Secure  =x ;"}, want: ""},
	{name: "Secure and more is another", set: []string{"k=v; Secure really"}, want: "k=v"},
	{name: "Secure in quotation marks is another", set: []string{`k=v; "Secure"`}, want: "k=v"},
	{name: "Secure after what looks quoted", set: []string{`k=v; x="a;b"; Secure`}, want: ""},
	{name: "HttpOnly", set: []string{"k=v; httponly"}, want: "k=v"},
	{name: "Partitioned is not looked at", at: "https://home.example.org/", set: []string{"k=v; Secure; Partitioned"}, to: "https://home.example.org/", want: "k=v"},
	{name: "SameSite=None without Secure", set: []string{"k=v; SameSite=None"}, want: ""},
	{name: "SameSite=Strict is sent", set: []string{"k=v; SameSite=Strict"}, want: "k=v"},
	{name: "an unknown SameSite", set: []string{"k=v; SameSite=Perhaps"}, want: "k=v"},
	{name: "the last SameSite", set: []string{"k=v; SameSite=None; SameSite=Lax"}, want: "k=v"},

	// Expiry.
	{name: "Expires to come", set: []string{"k=v; Expires=Fri, 07 Aug 2093 08:04:19 GMT"}, want: "k=v"},
	{name: "Expires gone by", set: []string{"k=v", "k=w; Expires=Fri, 07 Aug 2009 08:04:19 GMT"}, want: ""},
	{name: "Expires that does not parse", set: []string{"k=v; Expires=tomorrow"}, want: "k=v"},
	{name: "the last Expires that does", set: []string{"k=v; Expires=Fri, 07 Aug 2009 08:04:19 GMT; Expires=x"}, want: ""},
	{name: "Max-Age", set: []string{"k=v; max-age=10"}, want: "k=v"},
	{name: "Max-Age of none", set: []string{"k=v", "k=w; max-age=0"}, want: ""},
	{name: "a negative Max-Age", set: []string{"k=v", "k=w; max-age=-1"}, want: ""},
	{name: "Max-Age before Expires", set: []string{"k=v; max-age=10; Expires=Fri, 07 Aug 2009 08:04:19 GMT"}, want: "k=v"},
	{name: "Max-Age of none before Expires", set: []string{"k=v; Expires=Fri, 07 Aug 2093 08:04:19 GMT; max-age=0"}, want: ""},
	{name: "Max-Age with a comma", set: []string{"k=v; max-age=0,5"}, want: "k=v"},
	{name: "Max-Age with a plus sign", set: []string{"k=v; max-age=+0"}, want: "k=v"},
	{name: "Max-Age that is empty", set: []string{"k=v; max-age="}, want: "k=v"},
	{name: "Max-Age beyond all numbers", set: []string{"k=v; max-age=99999999999999999999999999"}, want: "k=v"},
	{name: "Max-Age below all numbers", set: []string{"k=v; max-age=-99999999999999999999999999"}, want: ""},

	// Paths.
	{name: "no Path: the folder", at: "http://h.example/a/b/c", set: []string{"k=v"}, to: "http://h.example/a/b/d", want: "k=v"},
	{name: "no Path: not above", at: "http://h.example/a/b/c", set: []string{"k=v"}, to: "http://h.example/a/", want: ""},
	{name: "no Path: below", at: "http://h.example/a/b/c", set: []string{"k=v"}, to: "http://h.example/a/b/c/d", want: "k=v"},
	{name: "no Path at the root's child", at: "http://h.example/a", set: []string{"k=v"}, to: "http://h.example/z", want: "k=v"},
	{name: "no path in the URL", at: "http://h.example", set: []string{"k=v"}, to: "http://h.example/z", want: "k=v"},
	{name: "an empty Path is as good as none", at: "http://h.example/a/b", set: []string{"k=v; Path="}, to: "http://h.example/c", want: ""},
	{name: "Path without a value", set: []string{"k=v; Path"}, want: "k=v"},
	{name: "a relative Path is as good as none", at: "http://h.example/a/b", set: []string{"k=v; Path=c"}, to: "http://h.example/a/c", want: "k=v"},
	{name: "a Path in quotation marks is relative", at: "http://h.example/a/b", set: []string{`k=v; Path="/"`}, to: "http://h.example/", want: ""},
	{name: "another Path", set: []string{"k=v; Path=/other"}, want: ""},
	{name: "another Path with spaces", set: []string{"k=v; Path =   /other   ;x"}, want: ""},
	{name: "Path itself", set: []string{"k=v; Path=/result"}, want: "k=v"},
	{name: "Path below", set: []string{"k=v; Path=/result/x"}, want: ""},
	{name: "Path ends where a segment does", set: []string{"k=v; Path=/res"}, want: ""},
	{name: "Path with a slash at its end", set: []string{"k=v; Path=/result/"}, want: ""},
	{name: "and what lies in it", set: []string{"k=v; Path=/result/"}, to: "http://home.example.org/result/x", want: "k=v"},
	{name: "the last Path", set: []string{"k=v; Path=/other; Path=/"}, want: "k=v"},
	{name: "the last Path is another", set: []string{"k=v; Path=/; Path=/other"}, want: ""},
	{name: "Path in another case", set: []string{"k=v; Path=/Result"}, want: ""},
	{name: "the query is no path", set: []string{"k=v; Path=/result"}, to: "http://home.example.org/result?/x", want: "k=v"},
	{name: "percent signs as they are written", at: "http://h.example/", set: []string{"k=v; Path=/a%2fb"}, to: "http://h.example/a%2Fb", want: ""},
	{name: "an escaped path", at: "http://h.example/", set: []string{"k=v; Path=/a%2Fb"}, to: "http://h.example/a%2Fb/c", want: "k=v"},
	{name: "longer paths first", at: "http://h.example/", set: []string{"a=1; Path=/", "b=2; Path=/x/y", "c=3; Path=/x", "d=4; Path=/x/y"}, to: "http://h.example/x/y", want: "b=2; d=4; c=3; a=1"},
	{name: "the same name at two paths", at: "http://h.example/", set: []string{"k=1; Path=/", "k=2; Path=/x"}, to: "http://h.example/x", want: "k=2; k=1"},

	// Domains.
	{name: "no Domain: not below", set: []string{"k=v"}, to: "http://a.home.example.org/", want: ""},
	{name: "no Domain: not above", set: []string{"k=v; path=/"}, to: "http://example.org/", want: ""},
	{name: "Domain of the host", set: []string{"k=v; Domain=home.example.org"}, want: "k=v"},
	{name: "Domain of the host: below", set: []string{"k=v; Domain=home.example.org; Path=/"}, to: "http://a.home.example.org/", want: "k=v"},
	{name: "Domain above", set: []string{"k=v; Domain=example.org; Path=/"}, to: "http://other.example.org/", want: "k=v"},
	{name: "a dot before it", set: []string{"k=v; Domain=.example.org"}, want: "k=v"},
	{name: "two dots before it", set: []string{"k=v; Domain=..example.org"}, want: ""},
	{name: "a dot after it", set: []string{"k=v; Domain=example.org."}, want: ""},
	{name: "a dot alone is none", set: []string{"k=v; Domain=."}, want: "k=v"},
	{name: "an empty Domain is none", set: []string{"k=v; Domain="}, want: "k=v"},
	{name: "an empty Domain after another", set: []string{"k=v; Domain=example.org; Domain=; Path=/"}, to: "http://example.org/", want: ""},
	{name: "Domain in another case", set: []string{"k=v; domain=EXAMPLE.Org"}, want: "k=v"},
	{name: "Domain below", set: []string{"k=v; Domain=a.home.example.org"}, want: ""},
	{name: "Domain beside", set: []string{"k=v; Domain=other.example.org"}, want: ""},
	{name: "Domain that is only the end of a label", set: []string{"k=v; Domain=ome.example.org"}, want: ""},
	{name: "the last Domain", set: []string{"k=v; Domain=other.org; Domain=example.org"}, want: "k=v"},
	{name: "the last Domain is another's", set: []string{"k=v; Domain=example.org; Domain=other.org"}, want: ""},
	{name: "Domain in quotation marks", set: []string{`k=v; Domain="example.org"`}, want: ""},
	{name: "Domain with a port", set: []string{"k=v; Domain=home.example.org:8888"}, want: ""},
	{name: "a top-level domain", set: []string{"k=v; Domain=org"}, want: ""},
	{name: "a public suffix of two labels", at: "http://shop.co.uk/", set: []string{"k=v; Domain=co.uk"}, to: "http://shop.co.uk/", want: ""},
	{name: "a private suffix", at: "http://me.github.io/", set: []string{"k=v; Domain=github.io"}, to: "http://me.github.io/", want: ""},
	{name: "a private suffix is its own host's", at: "http://github.io/", set: []string{"k=v; Domain=github.io"}, to: "http://github.io/", want: "k=v"},
	{name: "and no other's", at: "http://github.io/", set: []string{"k=v; Domain=github.io"}, to: "http://me.github.io/", want: ""},
	{name: "a wildcard suffix", at: "http://a.b.ck/", set: []string{"k=v; Domain=b.ck"}, to: "http://a.b.ck/", want: ""},
	{name: "and its exception", at: "http://www.ck/", set: []string{"k=v; Domain=www.ck"}, to: "http://a.www.ck/", want: "k=v"},
	{name: "a host of one label", at: "http://intranet/", set: []string{"k=v; Domain=intranet"}, to: "http://intranet/", want: "k=v"},
	{name: "a host in capitals with the root's dot", at: "http://HOME.example.ORG./", set: []string{"k=v"}, to: "http://home.example.org/", want: "k=v"},
	{name: "ports are not told apart", at: "http://h.example:1/", set: []string{"k=v"}, to: "http://h.example:2/", want: "k=v"},
	{name: "an IPv4 address", at: "http://192.0.2.1/", set: []string{"k=v; Domain=192.0.2.1"}, to: "http://192.0.2.1/", want: "k=v"},
	{name: "the end of an address is no domain", at: "http://192.0.2.1/", set: []string{"k=v; Domain=2.1"}, to: "http://192.0.2.1/", want: ""},
	{name: "an IPv6 address in two forms", at: "http://[2001:DB8::0:1]/", set: []string{"k=v"}, to: "http://[2001:db8::1]:80/", want: "k=v"},
	{name: "a host beyond ASCII", at: "http://bücher.example/", set: []string{"k=v; Domain=xn--bcher-kva.example"}, to: "http://a.bücher.example/", want: "k=v"},
	{name: "a Domain beyond ASCII", at: "http://bücher.example/", set: []string{"k=v; Domain=bücher.example"}, to: "http://bücher.example/", want: ""},
	{name: "no host", at: "http:///a", set: []string{"k=v"}, to: "http:///a", want: ""},
	{name: "another scheme", at: "ftp://h.example/", set: []string{"k=v"}, to: "ftp://h.example/", want: ""},

	// Security.
	{name: "Secure with TLS", at: "https://h.example/", set: []string{"k=v; Secure"}, to: "https://h.example/", want: "k=v"},
	{name: "Secure is not sent without", at: "https://h.example/", set: []string{"k=v; Secure", "l=w"}, to: "http://h.example/", want: "l=w"},
	{name: "localhost needs no TLS", at: "http://localhost:80/", set: []string{"k=v; Secure"}, to: "http://localhost/", want: "k=v"},
	{name: "nor do loopback addresses", at: "http://127.8.0.1/", set: []string{"k=v; Secure"}, to: "http://127.8.0.1/", want: "k=v"},
	{name: "below localhost it is needed", at: "http://a.localhost/", set: []string{"k=v; Secure"}, to: "http://a.localhost/", want: ""},
	{name: "__Secure-", at: "https://h.example/", set: []string{"__Secure-k=v; Secure", "__Secure-l=w"}, to: "https://h.example/", want: "__Secure-k=v"},
	{name: "__Secure- in any case", at: "https://h.example/", set: []string{"__sEcUrE-k=v"}, to: "https://h.example/", want: ""},
	{name: "__Secure- without TLS", at: "http://h.example/", set: []string{"__Secure-k=v; Secure"}, to: "https://h.example/", want: ""},
	{name: "__Host-", at: "https://h.example/", set: []string{"__Host-k=v; Secure; Path=/"}, to: "https://h.example/", want: "__Host-k=v"},
	{name: "__Host- in any case", at: "https://h.example/", set: []string{"__HOST-k=v; Path=/"}, to: "https://h.example/", want: ""},
	{name: "__Host- without Secure", at: "https://h.example/", set: []string{"__Host-k=v; Path=/"}, to: "https://h.example/", want: ""},
	{name: "__Host- without a Path", at: "https://h.example/", set: []string{"__Host-k=v; Secure"}, to: "https://h.example/", want: ""},
	{name: "__Host- with another Path", at: "https://h.example/", set: []string{"__Host-k=v; Secure; Path=/a"}, to: "https://h.example/a", want: ""},
	{name: "__Host- with a Domain", at: "https://h.example/", set: []string{"__Host-k=v; Secure; Path=/; Domain=h.example"}, to: "https://h.example/", want: ""},
	{name: "a value that reads as a prefixed name", at: "https://h.example/", set: []string{"=__Host-k=v; Secure; Path=/", "__secure-x; Secure"}, to: "https://h.example/", want: ""},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			s := New()
			at, to := v.at, v.to
			if at == "" {
				at = "http://home.example.org:8888/parser"
			}
			if to == "" {
				to = "http://home.example.org:8888/result"
			}
			receive(t, s, at, v.set...) // some are to be refused
			if got := sent(t, s, to); got != v.want {
				t.Errorf("%q at %s: %s is sent %q, want %q", v.set, at, to, got, v.want)
			}
		})
	}
}

func TestControlCharactersAreRefused(t *testing.T) {
	for c := range 0x100 {
		for _, field := range []string{"a" + string([]byte{byte(c)}) + "b=v", "k=a" + string([]byte{byte(c)}) + "b", "k=v; Path=/a" + string([]byte{byte(c)}) + "b"} {
			s := New()
			err := receive(t, s, "http://h.example/", field)
			if control := (c < 0x20 && c != '\t') || c == 0x7f; control != (err != nil) {
				t.Errorf("%q: %v", field, err)
			}
		}
	}
}

func TestLengths(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		field string
		want  string // the path of the cookie; "" refused
	}{
		{"k=" + long(4095), "/d"},
		{"k=" + long(4096), ""},
		{long(4095) + "=v", "/d"},
		{long(4096) + "=v", ""},
		{long(4096), "/d"},
		{long(4097), ""},
		{"k=" + strings.Repeat(" ", 5000) + "v", "/d"},
		{"k=v; Path=/" + long(1023), "/" + long(1023)},
		{"k=v; Path=/" + long(1024), "/d"},
		{"k=v; Path=/e; Path=/" + long(1024), "/e"},
		{"k=v; unknown=" + long(9000), "/d"},
		{"k=v; Max-Age=0" + long(1024), "/d"},
	} {
		s := New()
		err := receive(t, s, "http://h.example/d/f", c.field)
		got := ""
		if all := s.All(); len(all) == 1 {
			got = all[0].Path
		}
		if got != c.want || (c.want == "") != (err != nil) {
			t.Errorf("%.40q… of %d bytes: path %.40q, %v; want %.40q", c.field, len(c.field), got, err, c.want)
		}
	}
	s := New()
	if err := receive(t, s, "http://h.example/"+long(5000)+"/", "k=v"); !refusedWith(err, "path") {
		t.Errorf("a path that only the URL makes long: %v", err)
	}
}

func TestAttributesAreKept(t *testing.T) {
	s := New()
	before := time.Now()
	mustReceive(t, s, "https://a.example.org/d/f", "k=v; Domain=Example.org; Path=/p; Secure; HttpOnly; SameSite=strict; Max-Age=100")
	c := s.All()[0]
	if c.Name != "k" || c.Value != "v" || c.Domain != "example.org" || c.HostOnly || c.Path != "/p" || !c.Secure || !c.HTTPOnly || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("got %#v", c)
	}
	if left := c.Expires.Sub(before); left < 100*time.Second || left > 160*time.Second {
		t.Errorf("it ends in %v", left)
	}
	if !c.Created.Equal(c.Updated) || c.Created.Before(before.Round(0)) {
		t.Errorf("created %v, updated %v", c.Created, c.Updated)
	}
	for value, want := range map[string]http.SameSite{"LAX": http.SameSiteLaxMode, "None": http.SameSiteNoneMode, "x": 0, "": 0} {
		mustReceive(t, s, "https://a.example.org/", "s=v; Secure; SameSite="+value)
		for _, c := range s.All() {
			if c.Name == "s" && c.SameSite != want {
				t.Errorf("SameSite=%s is kept as %v", value, c.SameSite)
			}
		}
	}
}

func TestRefusalsSayWhyAndNotWhat(t *testing.T) {
	const secret = "S3CRET"
	for field, reason := range map[string]string{
		"k=" + secret + "; Domain=org":               "public suffix",
		"k=" + secret + "; Domain=else.example":      "not the domain",
		"k=" + secret + "; Domain=é.org":             "ASCII",
		"k=" + secret + "; Secure":                   "not",
		"k=" + secret + "\x01":                       "control",
		"k=" + secret + strings.Repeat("x", maxPair): "4096",
		"k=" + secret + "; SameSite=None":            "Secure",
		"__Host-k=" + secret:                         "prefix",
		"__Secure-" + secret:                         "prefixed",
		strings.Repeat("n", 4096) + "=" + secret:     "…",
	} {
		err := receive(t, New(), "http://www.example.org/", field)
		if err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), secret) || len(err.Error()) > 300 {
			t.Errorf("%.60q: %.400v; want a reason with %q", field, err, reason)
		}
	}
}

// The face that takes net/http's cookies gives the same as the one that takes fields.
func TestSetCookiesIsReceive(t *testing.T) {
	for _, field := range []string{
		"k=v", `k="v w"`, "k=v; Path=/d; Domain=example.org", "k=v; Max-Age=5", "k=v; Max-Age=0", "k=v; Max-Age=-3", "k=v; Secure; HttpOnly; SameSite=None",
		"k=v; Expires=Fri, 07 Aug 2093 08:04:19 GMT", "k=v; Expires=Fri, 07-Aug-2009 08:04:19 GMT", "k=v; Expires=7 aug 09 8:4:19",
		"k=v; Path=x", "k=v; Domain=.org", "k=v; SameSite=x", "k=v; Max-Age=99999999999", "__Host-k=v; Secure; Path=/",
	} {
		u := parseURL(t, "https://www.example.org/d/f")
		fields, parsed := New(), New()
		fields.Receive(u, []string{field})
		parsed.SetCookies(u, (&http.Response{Header: http.Header{"Set-Cookie": {field}}}).Cookies())
		a, b := fields.All(), parsed.All()
		if len(a) != len(b) {
			t.Errorf("%q: %d cookies and %d", field, len(a), len(b))
			continue
		}
		for i := range a {
			if d := a[i].Expires.Sub(b[i].Expires).Abs(); d > time.Minute {
				t.Errorf("%q: expiries differ by %v", field, d)
			}
			for _, c := range []*Cookie{&a[i], &b[i]} {
				c.Expires, c.Created, c.Updated, c.Accessed = time.Time{}, time.Time{}, time.Time{}, time.Time{}
			}
			if a[i] != b[i] {
				t.Errorf("%q: %#v and %#v", field, a[i], b[i])
			}
		}
	}
	s := New()
	s.SetCookies(parseURL(t, "http://h.example/"), []*http.Cookie{nil, {Name: "a;b", Value: "v"}, {Name: "k", Value: "a\nb"}, {Name: "k", Value: "a;b"}})
	if got := summary(s); got != "" {
		t.Errorf("made by hand: %s", got)
	}
}

func FuzzSetCookie(f *testing.F) {
	for _, v := range vectors {
		for _, field := range v.set {
			f.Add(field, v.at)
		}
	}
	f.Add("k=v; Expires=\x00", "https://[::1]/%zz")
	f.Fuzz(func(t *testing.T, field, at string) {
		u, err := parseAnyURL(at)
		if err != nil {
			return
		}
		s := New()
		s.Receive(u, []string{field, "other=1; Path=/"})
		now := time.Now()
		for _, c := range s.All() {
			if err := c.check(); err != nil {
				t.Errorf("kept: %v", err)
			}
			if c.Expires.After(now.Add(maxAge + time.Minute)) {
				t.Errorf("%q lives until %v", field, c.Expires)
			}
		}
		if value := FieldValue(s.Cookies(u)); hasControl(value) {
			t.Errorf("sent: %q", value)
		}
	})
}
