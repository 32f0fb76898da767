package cookie

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestReplacementKeepsTheCreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		mustReceive(t, s, "http://h.example/", "first=1", "second=1")
		created := s.All()[0].Created
		time.Sleep(time.Hour)
		mustReceive(t, s, "http://h.example/", "first=2")
		if got := sent(t, s, "http://h.example/"); got != "first=2; second=1" {
			t.Errorf("sent %q: the replaced one keeps its place", got)
		}
		if c := s.All()[0]; !c.Created.Equal(created) || c.Updated.Sub(created) < time.Hour {
			t.Errorf("created %v, then %v; updated %v", created, c.Created, c.Updated)
		}
		// Removed and set again, it is a new one.
		mustReceive(t, s, "http://h.example/", "first=; Max-Age=0", "first=3")
		if got := sent(t, s, "http://h.example/"); got != "second=1; first=3" {
			t.Errorf("sent %q", got)
		}
		// A host-only cookie and one for the domain are two.
		mustReceive(t, s, "http://h.example/", "second=2; Domain=h.example")
		if got := sent(t, s, "http://h.example/"); got != "second=1; first=3; second=2" {
			t.Errorf("sent %q", got)
		}
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		u := "http://h.example/"
		mustReceive(t, s, u, "short=1; Max-Age=10", "session=1", "forever=1; Max-Age=999999999999",
			"date=1; Expires="+time.Now().Add(20*time.Second).UTC().Format(http.TimeFormat), "far=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT")
		for _, step := range []struct {
			after time.Duration
			want  string
		}{
			{0, "short=1; session=1; forever=1; date=1; far=1"},
			{10*time.Second - 1, "short=1; session=1; forever=1; date=1; far=1"},
			{1, "session=1; forever=1; date=1; far=1"},
			{10 * time.Second, "session=1; forever=1; far=1"},
			{maxAge - 20*time.Second - 1, "session=1; forever=1; far=1"},
			{1, "session=1"}, // 400 days are the most
			{10 * maxAge, "session=1"},
		} {
			time.Sleep(step.after)
			if got := sent(t, s, u); got != step.want {
				t.Errorf("sent %q, want %q", got, step.want)
			}
		}
		if got := len(s.All()); got != 1 {
			t.Errorf("%d cookies are listed", got)
		}
	})
}

// An expired cookie that is still in memory is none: what takes its place is new, and nobody counts it.
func TestExpiredCookiesAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		u := "https://h.example/"
		mustReceive(t, s, u, "a=1; Max-Age=10", "b=1; Max-Age=10", "c=1")
		time.Sleep(10 * time.Second)
		mustReceive(t, s, u, "a=2")
		if err := s.Set(Cookie{Name: "b", Value: "2", Domain: "h.example", HostOnly: true}); err != nil {
			t.Fatal(err)
		}
		if got := sent(t, s, u); got != "c=1; a=2; b=2" {
			t.Errorf("sent %q", got)
		}
		mustReceive(t, s, u, "d=1; Max-Age=10", "e=1; Max-Age=10", "f=1; Max-Age=10")
		d, since := s.For(parseURL(t, u))[3], time.Now()
		time.Sleep(10 * time.Second)
		if s.Remove(d) || s.RemoveSince(since.Add(1)) != 0 || s.RemoveSince(since) != 2 || s.RemoveDomain("h.example") != 1 {
			t.Error("one that has expired is counted")
		}
	})
}

func TestSecureCookiesAreLeftAlone(t *testing.T) {
	const plain, tls = "http://a.example.org/x/y/f", "https://a.example.org/x/y/f"
	for _, c := range []struct {
		secure, field string // set with TLS, then this without
		refused       bool
	}{
		{"k=1; Secure; Path=/", "k=2; Path=/", true},
		{"k=1; Secure; Path=/", "k=2; Path=/x/y", true},              // it would be sent before the other
		{"k=1; Secure; Path=/x", "k=2; Path=/xx", false},             // never where the other is
		{"k=1; Secure; Path=/x", "k=2; Path=/", false},               // sent after it
		{"k=1; Secure; Domain=example.org", "k=2", true},             // above
		{"k=1; Secure", "k=2; Domain=example.org; Path=/x/y", true},  // below
		{"k=1; Secure; Path=/", "k=; Path=/; Max-Age=0", true},       // nor removed
		{"k=1; Path=/", "k=2; Path=/", false},                        // it is not secure
		{"k=1; Secure; Path=/", "l=2; Path=/", false},                // another name
		{"k=1; Secure; Path=/; Max-Age=0", "k=2; Path=/", false},     // it is gone
		{"k=1; Secure; Path=/", "k=2; Path=/; Domain=b.other", true}, // not for its domain in any case
	} {
		s := New()
		mustReceive(t, s, tls, c.secure)
		before := summary(s)
		err := receive(t, s, plain, c.field)
		if c.refused != (err != nil) || c.refused && summary(s) != before {
			t.Errorf("%q after %q: %v\n%s", c.field, c.secure, err, summary(s))
		}
	}
	s := New()
	mustReceive(t, s, tls, "k=1; Secure", "k=2")
	if got := sent(t, s, tls); got != "k=2" {
		t.Errorf("with TLS a cookie that is not secure may replace one that is: sent %q", got)
	}
}

func TestEvictionOfASite(t *testing.T) {
	s := New()
	u := "https://www.example.org/"
	mustReceive(t, s, u, "expired=1; Max-Age=1000", "secure=1; Secure", "used=1")
	mustReceive(t, s, "https://other.example/", "alien=1")
	for i := range maxPerSite - 3 {
		// As many hosts as it likes: they are one site.
		mustReceive(t, s, fmt.Sprintf("https://h%d.example.org/", i%7), fmt.Sprintf("k%d=1", i))
	}
	old := s.find(key{"expired", "www.example.org", "/", true})
	old.Expires = time.Unix(1, 0)
	sent(t, s, u) // secure and used are used now
	names := func() string {
		var b strings.Builder
		for _, c := range s.All() {
			if !strings.HasPrefix(c.Name, "k") {
				b.WriteString(c.Name + " ")
			}
		}
		return b.String()
	}
	if got := s.count.Load(); got != maxPerSite+1 {
		t.Fatalf("%d cookies", got)
	}
	mustReceive(t, s, u, "new=1")
	if s.find(old.key()) != nil || s.count.Load() != maxPerSite+1 {
		t.Error("the expired one did not go first")
	}
	for i := range 2 * maxPerSite {
		mustReceive(t, s, u, fmt.Sprintf("new%d=1", i))
		sent(t, s, "https://other.example/")
	}
	if got := s.sites["example.org"]; got != maxPerSite {
		t.Errorf("the site has %d cookies", got)
	}
	if got := names(); !strings.Contains(got, "secure ") || strings.Contains(got, "used ") || !strings.Contains(got, "alien ") {
		t.Errorf("left: %s", got)
	}
	if last := fmt.Sprintf("new%d=1", 2*maxPerSite-1); !strings.Contains(sent(t, s, u), last) {
		t.Error("the newest went itself")
	}
}

func TestEvictionOfAll(t *testing.T) {
	s := New()
	// One site with little, the first; then crowded ones.
	for i := range keepPerSite {
		mustReceive(t, s, "https://small.example/", fmt.Sprintf("k%d=1", i))
	}
	for i := range maxInAll {
		mustReceive(t, s, fmt.Sprintf("https://crowded%d.example/", i%30), fmt.Sprintf("k%d=1", i))
	}
	if s.count.Load() != maxInAll || s.sites["small.example"] != keepPerSite {
		t.Errorf("%d cookies, of the small site %d", s.count.Load(), s.sites["small.example"])
	}
	// Once nobody has more than a share, the one that was used longest ago goes.
	s = New()
	for i := range maxInAll + 1 {
		if i == maxInAll {
			sent(t, s, "https://h0.example/")
		}
		mustReceive(t, s, fmt.Sprintf("https://h%d.example/", i/10), fmt.Sprintf("k%d=1", i%10))
	}
	if s.count.Load() != maxInAll || s.sites["h0.example"] != 10 || s.sites["h1.example"] != 9 {
		t.Errorf("%d cookies, of the first site %d, of the second %d", s.count.Load(), s.sites["h0.example"], s.sites["h1.example"])
	}
}

func TestNothingCostsNothing(t *testing.T) {
	empty, other, file := New(), New(), open(t, jarPath(t))
	mustReceive(t, file, "https://example.org/", "k=v; Domain=example.org")
	mustReceive(t, other, "https://example.org/", "k=v; Domain=example.org")
	for name, c := range map[string]struct {
		s *Storage
		u string
	}{
		"empty":             {empty, "https://www.example.com/a/b?c"},
		"of a file":         {file, "https://www.example.com/a/b?c"},
		"other site":        {other, "https://www.example.com/a/b?c"},
		"other domain":      {other, "https://example.com/"},
		"address":           {other, "http://192.0.2.1/"},
		"without TLS":       {other, "http://a.b.c.d.example.com/"},
		"another's path":    {other, "https://org/"},
		"one that is not u": {other, "https://notexample.org/"},
	} {
		u := parseURL(t, c.u)
		if c.s.file != nil {
			c.s.file.look.Store(time.Now().Add(lookDelay).UnixNano()) // not at a moment at which it looks
		}
		if n := testing.AllocsPerRun(100, func() {
			if c.s.Cookies(u) != nil {
				t.Fatal("there are some")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What net/http writes of the face's cookies is what was received, where it can write it.
func TestFaceOfNetHTTP(t *testing.T) {
	s := New()
	u := parseURL(t, "http://h.example/")
	for field, want := range map[string]string{`k="v w"`: `k="v w"`, `k=v`: `k=v`, `k=""`: `k=""`} {
		mustReceive(t, s, "http://h.example/", field)
		req := &http.Request{Header: http.Header{}}
		for _, c := range s.Cookies(u) {
			req.AddCookie(c)
		}
		if got := req.Header.Get("Cookie"); got != want {
			t.Errorf("%s is sent as %s", field, got)
		}
		if got := FieldValue(s.Cookies(u)); got != field {
			t.Errorf("%s is sent by FieldValue as %s", field, got)
		}
	}
}

func TestManyGoroutines(t *testing.T) {
	s := New()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				u := fmt.Sprintf("http://h%d.example/", i%5)
				receive(t, s, u, fmt.Sprintf("k%d=%d", g, i))
				sent(t, s, u)
				switch i % 50 {
				case 10:
					s.All()
				case 20:
					s.RemoveDomain("h1.example")
				case 30:
					s.Remove(Cookie{Name: "k1", Domain: "h2.example", HostOnly: true, Path: "/"})
				case 40:
					s.Reset(t.Context())
				}
			}
		})
	}
	wg.Wait()
	if got, want := len(s.All()), int(s.count.Load()); got != want {
		t.Errorf("%d cookies, %d counted", got, want)
	}
}

// hosts, paths and fields of the random tests: few, so that they meet.
var (
	someHosts  = []string{"example.org", "a.example.org", "b.a.example.org", "example.com", "192.0.2.1", "localhost"}
	somePaths  = []string{"/", "/a", "/a/", "/a/b", "/ab"}
	someSuffix = []string{"", "; Path=/", "; Path=/a", "; Path=/a/b", "; Domain=example.org", "; Domain=a.example.org", "; Secure", "; Max-Age=1000", "; Max-Age=0", "; Max-Age=10; Secure; Path=/"}
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func randomURL(r *rand.Rand) *url.URL {
	return &url.URL{Scheme: pick(r, []string{"http", "https"}), Host: pick(r, someHosts), Path: pick(r, somePaths)}
}

func randomField(r *rand.Rand) string {
	return fmt.Sprintf("%s=%d%s%s", pick(r, []string{"k", "l", "", "__Secure-k", "__Host-k"}), r.IntN(1000), pick(r, someSuffix), pick(r, someSuffix))
}

// Whatever is received, what is sent is what a plain reading of the rules finds in what is listed, in its order.
func TestSentIsWhatTheRulesSay(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := New()
		for range 120 {
			s.Receive(randomURL(r), []string{randomField(r), randomField(r)})
			u := randomURL(r)
			all := s.All()
			seen := map[key]bool{}
			for _, c := range all {
				if c.check() != nil || seen[c.key()] {
					t.Fatalf("seed %d: kept %#v", seed, c)
				}
				seen[c.key()] = true
			}
			all = slices.DeleteFunc(all, func(c Cookie) bool {
				host := c.Domain == u.Host || !c.HostOnly && strings.HasSuffix(u.Host, "."+c.Domain)
				path := c.Path == u.Path || strings.HasPrefix(u.Path, strings.TrimSuffix(c.Path, "/")+"/")
				return !host || !path || c.Secure && u.Scheme != "https" && u.Host != "localhost"
			})
			slices.SortFunc(all, func(a, b Cookie) int {
				if len(a.Path) != len(b.Path) {
					return len(b.Path) - len(a.Path)
				}
				return a.Created.Compare(b.Created)
			})
			var want []string
			for _, c := range all {
				want = append(want, strings.TrimPrefix(c.Name+"="+c.Value, "="))
			}
			if got := FieldValue(s.Cookies(u)); got != strings.Join(want, "; ") {
				t.Fatalf("seed %d: %v is sent %q, want %q", seed, u, got, want)
			}
		}
		n := 0
		for _, count := range s.sites {
			n += count
		}
		if n != int(s.count.Load()) || n != len(s.entries()) {
			t.Fatalf("seed %d: %d by site, %d counted, %d there", seed, n, s.count.Load(), len(s.entries()))
		}
	}
}
