package cookie

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// What curl, wget, Python and browsers' extensions write.
const netscapeFiles = "\ufeff# Netscape HTTP Cookie File\r\n" +
	"# https://curl.se/docs/http-cookies.html\r\n" +
	"\r\n" +
	"#HttpOnly_.example.org\tTRUE\t/\tTRUE\t4102444800\tcurl\tv\r\n" +
	"example.org\tFALSE\t/p\tFALSE\t0\tsession\tv w\n" +
	"host.example:8080\tFALSE\t/\tFALSE\t4102444800\twget\tv\n" +
	".example.org\tTRUE\t/\tFALSE\t4102444800\tempty\n" +
	".example.org\tTRUE\tFALSE\t4102444800\tnopath\tv\n" +
	".example.org\tTRUE\t/\tFALSE\t\tpython\tv\n" +
	".example.org\tTRUE\t/\tFALSE\t4102444800\t\tnameless\n" +
	".example.org\ttrue\t/\tfalse\t4102444800.5\tfraction\tv\n" +
	"   \n" +
	"#a comment\n" +
	"192.0.2.1\tTRUE\t/\tFALSE\t4102444800\taddress\tv\n" +
	"EXAMPLE.org\tTRUE\tp\tFALSE\t99999999999999999999\tforever\tv\n" +
	"example.org\tTRUE\t/\tFALSE\t-5\tpast\ta\tb"

func TestReadNetscape(t *testing.T) {
	cookies, bad, err := ReadNetscape(strings.NewReader(netscapeFiles))
	if err != nil || len(bad) != 0 {
		t.Fatal(bad, err)
	}
	var got strings.Builder
	for _, c := range cookies {
		expires := int64(0)
		if !c.session() {
			expires = c.Expires.Unix()
		}
		fmt.Fprintf(&got, "%s %v %s %v %v %d %q=%q\n", c.Domain, c.HostOnly, c.Path, c.Secure, c.HTTPOnly, expires, c.Name, c.Value)
	}
	const want = `example.org false / true true 4102444800 "curl"="v"
example.org true /p false false 0 "session"="v w"
host.example true / false false 4102444800 "wget"="v"
example.org false / false false 4102444800 "empty"=""
example.org false / false false 4102444800 "nopath"="v"
example.org false / false false 0 "python"="v"
example.org false / false false 4102444800 ""="nameless"
example.org false / false false 4102444800 "fraction"="v"
192.0.2.1 true / false false 4102444800 "address"="v"
example.org false / false false 253402300799 "forever"="v"
example.org false / false false 1 "past"="a\tb"
`
	if got.String() != want {
		t.Errorf("read\n%s", got.String())
	}
	s := New()
	for _, c := range cookies {
		if err := s.Set(c); err != nil {
			t.Error(err)
		}
	}
	if got := len(s.All()); got != 10 {
		t.Errorf("%d were kept: all but the one that has passed", got)
	}
}

func TestReadNetscapeBadLines(t *testing.T) {
	const secret = "S3CRET"
	in := "example.org FALSE / FALSE 0 k " + secret + "\n" +
		"example.org\tFALSE\t/\tFALSE\t0\n" +
		"example.org\tFALSE\t/\tperhaps\t0\tk\t" + secret + "\n" +
		"example.org\tFALSE\t/\tFALSE\tsoon\tk\t" + secret + "\n" +
		"a b\tFALSE\t/\tFALSE\t0\tk\t" + secret + "\n" +
		"example.org\tFALSE\t/\tFALSE\t0\tk\t" + strings.Repeat(secret, 10000) + "\n" +
		"[::1]:8080\tFALSE\t/\tFALSE\t0\tk\t" + secret + "\n" +
		"example.org\tFALSE\t/\tFALSE\t0\tgood\tv\n"
	cookies, bad, err := ReadNetscape(strings.NewReader(in))
	if err != nil || len(cookies) != 1 || cookies[0].Name != "good" || len(bad) != 7 {
		t.Fatalf("%v, %v, %v", cookies, bad, err)
	}
	for i, err := range bad {
		var line *LineError
		if !errors.As(err, &line) || line.Line != i+1 || strings.Contains(err.Error(), secret) {
			t.Errorf("line %d: %v", i+1, err)
		}
	}
	if _, _, err := ReadNetscape(io.MultiReader(strings.NewReader(in), iotest.ErrReader(io.ErrUnexpectedEOF))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reader that fails: %v", err)
	}
}

func TestWriteNetscape(t *testing.T) {
	end := time.Unix(4102444800, 0)
	cookies := []Cookie{
		{Name: "a", Value: "v", Domain: "example.org", Path: "/", Secure: true, HTTPOnly: true, Expires: end},
		{Name: "b", Value: "tab\tbed", Domain: "example.org", Path: "/"},
		{Name: "", Value: "c", Domain: "h.example.org", HostOnly: true, Path: "/p"},
		{Name: "d", Value: "", Domain: "192.0.2.1", HostOnly: true, Path: "/", Expires: time.Unix(0, 5)},
	}
	var b bytes.Buffer
	err := WriteNetscape(&b, cookies)
	if !refusedWith(err, `"b"`) || strings.Contains(err.Error(), "bed") {
		t.Errorf("the one with a TAB: %v", err)
	}
	want := netscapeHeader +
		"#HttpOnly_.example.org\tTRUE\t/\tTRUE\t4102444800\ta\tv\n" +
		"h.example.org\tFALSE\t/p\tFALSE\t0\t\tc\n" +
		"192.0.2.1\tFALSE\t/\tFALSE\t1\td\t\n"
	if b.String() != want {
		t.Errorf("wrote\n%s", b.String())
	}
	if err := WriteNetscape(failingWriter{}, cookies); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// curl reads what we write, and we read what it writes from that.
func TestNetscapeByCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is missing: install it (Debian: curl)")
	}
	end := time.Unix(time.Now().Unix()+1e6, 0)
	cookies := []Cookie{
		{Name: "a", Value: "v w", Domain: "example.org", Path: "/p", HTTPOnly: true, Expires: end},
		{Name: "b", Value: `"q"`, Domain: "h.example.org", HostOnly: true, Path: "/", Secure: true, Expires: end},
	}
	var ours bytes.Buffer
	if err := WriteNetscape(&ours, cookies); err != nil {
		t.Fatal(err)
	}
	// A request that needs no network: only then does curl read its jar and write it.
	cmd := exec.CommandContext(t.Context(), curl, "-q", "-s", "-m", "10", "-b", "-", "-c", "-", "-o", "/dev/null", "file:///dev/null")
	cmd.Stdin = &ours
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("this curl does not read a jar from its input: %v", err)
	}
	read, bad, err := ReadNetscape(bytes.NewReader(out))
	if err != nil || len(bad) != 0 || len(read) != len(cookies) {
		t.Fatalf("curl wrote\n%s\n%v %v", out, bad, err)
	}
	for _, c := range read {
		if c != cookies[0] && c != cookies[1] {
			t.Errorf("curl made it %#v", c)
		}
	}
}

func FuzzNetscape(f *testing.F) {
	f.Add([]byte(netscapeFiles))
	f.Add([]byte("\t\t\t\t\t\t"))
	f.Add([]byte("#HttpOnly_\n#HttpOnly_a\tTRUE\t/\tTRUE\t-1\t\t"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cookies, _, err := ReadNetscape(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		s := New()
		for _, c := range cookies {
			s.Set(c)
		}
		// What was kept is written and read the same, but for what the format cannot hold.
		var b bytes.Buffer
		WriteNetscape(&b, s.All())
		again, bad, err := ReadNetscape(&b)
		if err != nil || len(bad) != 0 {
			t.Fatalf("%v %v", bad, err)
		}
		copied := New()
		for _, c := range again {
			if err := copied.Set(c); err != nil && c.Expires.After(time.Now()) {
				t.Errorf("%#v: %v", c, err)
			}
		}
		for _, c := range s.All() {
			if !strings.Contains(c.Name+c.Value+c.Path, "\t") && !strings.Contains(summary(copied), fmt.Sprintf("%s%s %s=%s\n", c.Domain, c.Path, c.Name, c.Value)) &&
				(c.session() || time.Until(c.Expires) > time.Minute) {
				t.Errorf("lost: %#v", c)
			}
		}
	})
}
