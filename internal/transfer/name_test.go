package transfer

import (
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/urlsession/urlsession/internal/partial"
)

// Content-Disposition as servers send it, after the collection at greenbytes.de/tech/tc2231 and from the wild.
var dispositions = []struct{ field, want string }{
	{`attachment`, ``},
	{`inline; filename="foo.html"`, `foo.html`},
	{`attachment; filename="foo.html"`, `foo.html`},
	{`attachment; filename=foo.html`, `foo.html`},
	{`ATTACHMENT; FILENAME="foo.html"`, `foo.html`},
	{`attachment;filename="foo.html"`, `foo.html`},
	{`attachment; filename = "foo.html"`, `foo.html`},
	{`attachment; filename="f\oo.html"`, `foo.html`},
	{`attachment; filename="\"quoting\" tested.html"`, `"quoting" tested.html`},
	{`attachment; filename="Here's a semicolon;.html"`, `Here's a semicolon;.html`},
	{`attachment; foo="bar"; filename="foo.html"`, `foo.html`},
	{`attachment; foo="\"\\";filename="foo.html"`, `foo.html`},
	{`attachment; filename="a;b.html"; size=5`, `a;b.html`},
	{`attachment; filename='foo.bar'`, `'foo.bar'`},
	{`attachment; filename=foo bar.html`, `foo bar.html`},
	{`attachment; filename=foo.html ;`, `foo.html`},
	{`attachment; filename="foo.html`, `foo.html`},
	{`attachment; filename="foo.html"; filename="bar.html"`, `foo.html`},
	{`filename=foo.html`, `foo.html`},
	{`"foo.html"`, ``},
	{`; filename=foo.html`, `foo.html`},
	{`attachment; filename=`, ``},
	{`attachment; filename=""`, ``},
	{`attachment; xfilename=foo.html`, ``},
	{`attachment; filename="/foo.html"`, `/foo.html`}, // safeName takes the rest
	{`attachment; filename="foo-%41.html"`, `foo-%41.html`},
	{"attachment; filename=\"foo-\xe4.html\"", `foo-ä.html`}, // ISO-8859-1
	{`attachment; filename="foo-ä.html"`, `foo-ä.html`},      // UTF-8
	{`attachment; filename="=?ISO-8859-1?Q?foo-=E4.html?="`, `foo-ä.html`},
	{`attachment; filename="=?UTF-8?B?Zm9vLcOkLmh0bWw=?="`, `foo-ä.html`},
	{`attachment; filename="=?nonsense"`, `=?nonsense`},

	{`attachment; filename*=iso-8859-1''foo-%E4.html`, `foo-ä.html`},
	{`attachment; filename*=UTF-8''foo-%c3%a4-%e2%82%ac.html`, `foo-ä-€.html`},
	{`attachment; filename*=utf-8'en'foo.html`, `foo.html`},
	{`attachment; filename*=UTF-8''foo-a%cc%88.html`, "foo-a\u0308.html"},
	{`attachment; filename="foo-ae.html"; filename*=UTF-8''foo-%c3%a4.html`, `foo-ä.html`},
	{`attachment; filename*=UTF-8''foo-%c3%a4.html; filename="foo-ae.html"`, `foo-ä.html`},
	{`attachment; filename*="UTF-8''foo-%c3%a4.html"`, `foo-ä.html`},
	{`attachment; filename *=UTF-8''foo.html`, ``}, // not the parameter filename*
	{`attachment; filename*= UTF-8''foo.html`, `foo.html`},
	{`attachment; filename*=UTF-8''A-%2541.html`, `A-%41.html`},
	{`attachment; filename*=UTF-8''%5cfoo.html`, `\foo.html`},
	// Broken ones leave it to filename.
	{`attachment; filename*=foo.html; filename=bar.html`, `bar.html`},
	{`attachment; filename*=UTF-8''foo%; filename=bar.html`, `bar.html`},
	{`attachment; filename*=UTF-8''f%oo.html; filename=bar.html`, `bar.html`},
	{`attachment; filename*=UTF-8''%e4.html; filename=bar.html`, `bar.html`},
	{`attachment; filename*=koi8-r''foo.html; filename=bar.html`, `bar.html`},

	// RFC 2231's continuations.
	{`attachment; filename*0="foo."; filename*1="html"`, `foo.html`},
	{`attachment; filename*1="html"; filename*0="foo."`, `foo.html`},
	{`attachment; filename*0*=UTF-8''foo-%c3%a4; filename*1=".html"`, `foo-ä.html`},
	{`attachment; filename*0*=UTF-8''a%2F; filename*1*=%2e%2e; filename=b`, `a/..`},
	{`attachment; filename*0="foo"; filename*2="bar"`, `foo`},
	{`attachment; filename*1="foo."; filename*2="html"`, ``},
	{`attachment; filename*0="foo-"; filename*=UTF-8''bar`, `bar`},
	{`attachment; filename="c"; filename*0="foo"`, `foo`},
	{`attachment; filename*x="foo"; filename*-1="x"; filename*999999999999=z; filename=c`, `c`},
}

func TestDispositions(t *testing.T) {
	for _, c := range dispositions {
		if got := dispositionName(http.Header{"Content-Disposition": {c.field}}); got != c.want {
			t.Errorf("%s: %q, want %q", c.field, got, c.want)
		}
	}
	two := http.Header{"Content-Disposition": {"attachment", "attachment; filename=b"}}
	if got := dispositionName(two); got != "b" {
		t.Errorf("two fields: %q", got)
	}
}

func TestSafeNames(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain.txt", "plain.txt"},
		{"ünïcödé – 文件.txt", "ünïcödé – 文件.txt"},
		{"../../etc/passwd", "passwd"},
		{`..\..\x`, "x"},
		{`C:\dir\file.txt`, "file.txt"},
		{"/etc/passwd", "passwd"},
		{"dir/", ""}, {"..", ""}, {".", ""}, {"", ""}, {"...", ""}, {" . . ", ""}, {`\`, ""},
		{".bashrc", "bashrc"}, {"..hidden", "hidden"}, {". .x", "x"},
		{"a\x00.txt", "a.txt"}, {"a\nb\r\tc\x7f\u0085.txt", "abc.txt"},
		{"evil\u202Etxt.exe", "eviltxt.exe"}, {"\u2066a\u2069\u200f\u061cb", "ab"}, {"\ufeffa\u200b", "a"}, {"a\u2028b", "ab"},
		{"trailing. . ", "trailing"}, {" leading", "leading"}, {"a\u00a0b", "a b"},
		{"CON", "_CON"}, {"nul.txt", "_nul.txt"}, {"Com1.tar.gz", "_Com1.tar.gz"}, {"LPT¹", "_LPT¹"}, {"aux .x", "_aux .x"},
		{"CONIN$", "_CONIN$"}, {"COM10", "COM10"}, {"console", "console"}, {"COM", "COM"},
		{"a.zip.0123abcd.part", "a.zip.0123abcd_part"}, {"a.0123ABCD.Part.json", "a.0123ABCD.Part_json"},
		{"a.0123abcd.part.json.tmp.", "a.0123abcd.part.json_tmp"}, {"a.0123abcd.part.mismatch", "a.0123abcd.part_mismatch"},
		{"a.part", "a.part"},
		{`a<b>c:d"e|f?g*h`, "a_b_c_d_e_f_g_h"},
		{"e\u0301.txt", "\u00e9.txt"},
		{"bad\xff\xfeutf", "bad_utf"},
		{strings.Repeat("a", 300) + ".tar", strings.Repeat("a", 251) + ".tar"},
		{strings.Repeat("ä", 10<<10) + ".pdf", strings.Repeat("ä", 125) + ".pdf"},
		{strings.Repeat("a", 300), strings.Repeat("a", 255)},
		{"x." + strings.Repeat("e", 300), "x." + strings.Repeat("e", 253)},
		{strings.Repeat("../", 100<<10) + "x", "x"},
	} {
		if got := safeName(c.in); got != c.want {
			t.Errorf("%.60q: %q, want %q", c.in, got, c.want)
		}
	}
}

// isSafe says what about a name is not.
func isSafe(t *testing.T, name string) {
	t.Helper()
	switch {
	case name == "", len(name) > 255, !utf8.ValidString(name), !norm.NFC.IsNormalString(name):
		t.Fatalf("%q", name)
	case strings.ContainsAny(name, `/\<>:"|?*`), name[0] == '.', strings.HasSuffix(name, "."), strings.HasSuffix(name, " "):
		t.Fatalf("%q", name)
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		t.Fatalf("%q", name)
	case partial.Owns(name):
		t.Fatalf("%q is a part file's", name)
	case reserved(name):
		t.Fatalf("%q is a device", name)
	case safeName(name) != name:
		t.Fatalf("%q becomes %q", name, safeName(name))
	}
}

func FuzzFileName(f *testing.F) {
	for _, c := range dispositions {
		f.Add(c.field, "http://example.com/a/b")
	}
	f.Add("attachment; filename=\"\x00\u202e..\\/\"", "http://example.com/%2e%2e%2f%00")
	f.Add("attachment; filename=\"CON .\xcc\x81\"", "::")
	f.Fuzz(func(t *testing.T, disposition, url string) {
		name := dispositionName(http.Header{"Content-Disposition": {disposition}})
		isSafe(t, fileName(name, url))
		isSafe(t, fileName(disposition, url))
	})
}
