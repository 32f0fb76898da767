package cookie

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSetAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		set := func(c Cookie) {
			t.Helper()
			if err := s.Set(c); err != nil {
				t.Fatal(err)
			}
		}
		set(Cookie{Name: "k", Value: "1", Domain: ".Example.ORG", Path: "/p", Expires: time.Now().Add(9000 * time.Hour * 24)})
		set(Cookie{Name: "h", Value: "1", Domain: "a.example.org", HostOnly: true})
		set(Cookie{Name: "i", Value: "1", Domain: "192.0.2.1"})
		set(Cookie{Name: "l", Value: "1", Domain: "localhost", Secure: true, SameSite: http.SameSiteNoneMode})
		set(Cookie{Name: "b", Value: "1", Domain: "bücher.example", Created: time.Unix(1e9, 0)})
		if got, want := summary(s), "192.0.2.1/ i=1\na.example.org/ h=1\nexample.org/p k=1\nlocalhost/ l=1\nxn--bcher-kva.example/ b=1\n"; got != want {
			t.Errorf("kept\n%s", got)
		}
		all := s.All()
		if !all[0].HostOnly || all[2].HostOnly || !all[3].HostOnly || all[4].Created.Unix() != 1e9 {
			t.Errorf("kept %#v", all)
		}
		if left := time.Until(all[2].Expires); left != maxAge {
			t.Errorf("k ends in %v", left)
		}
		if got := sent(t, s, "http://b.a.example.org/p/q"); got != "k=1" {
			t.Errorf("sent %q", got)
		}
		// A replacement, and an expiry that removes.
		created := all[2].Created
		time.Sleep(time.Minute)
		set(Cookie{Name: "k", Value: "2", Domain: "example.org", Path: "/p"})
		if c := s.All()[2]; c.Value != "2" || !c.Created.Equal(created) || !c.session() {
			t.Errorf("replaced by %#v", c)
		}
		set(Cookie{Name: "k", Value: "3", Domain: "example.org", Path: "/p", Expires: time.Now()})
		set(Cookie{Name: "none", Value: "3", Domain: "example.org", Path: "/p", Expires: time.Now()})
		if strings.Contains(summary(s), "/p") {
			t.Errorf("kept\n%s", summary(s))
		}
		// Removal.
		if s.Remove(Cookie{Name: "h", Domain: "a.example.org", Path: "/"}) || !s.Remove(all[1]) || s.Remove(all[1]) {
			t.Error("removal goes by name, domain, host-only and path")
		}
		mustReceive(t, s, "http://a.example.org/", "x=1", "y=1; Domain=example.org")
		mustReceive(t, s, "http://notexample.org/", "z=1")
		if n := s.RemoveDomain(".EXAMPLE.org"); n != 2 {
			t.Errorf("%d removed", n)
		}
		if n := s.RemoveDomain("example.org"); n != 0 {
			t.Errorf("%d removed again", n)
		}
		if n := s.RemoveDomain("2.1"); n != 0 {
			t.Errorf("%d addresses removed by their end", n)
		}
		if err := s.Reset(t.Context()); err != nil || s.All() != nil {
			t.Errorf("%v, left\n%s", err, summary(s))
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestSetRefuses(t *testing.T) {
	s := New()
	for reason, c := range map[string]Cookie{
		"neither":       {Domain: "h.example"},
		"4096":          {Name: "k", Value: strings.Repeat("x", 4096), Domain: "h.example"},
		"ends a name":   {Name: "a=b", Value: "v", Domain: "h.example"},
		"ends a name ":  {Name: "k", Value: "a;b", Domain: "h.example"},
		"control":       {Name: "k", Value: "a\nb", Domain: "h.example"},
		"space":         {Name: "k", Value: " v", Domain: "h.example"},
		"/":             {Name: "k", Value: "v", Domain: "h.example", Path: "p"},
		"path":          {Name: "k", Value: "v", Domain: "h.example", Path: "/" + strings.Repeat("x", 5000)},
		"host":          {Name: "k", Value: "v"},
		"host's":        {Name: "k", Value: "v", Domain: "a b"},
		"host's name":   {Name: "k", Value: "v", Domain: "h.example:80"},
		"host's name ":  {Name: "k", Value: "v", Domain: strings.Repeat("x", 256)},
		"many":          {Name: "k", Value: "v", Domain: "co.uk"},
		"needs Secure":  {Name: "k", Value: "v", Domain: "h.example", SameSite: http.SameSiteNoneMode},
		"prefix needs":  {Name: "__Host-k", Value: "v", Domain: "h.example", Secure: true},
		"prefix needs ": {Name: "__secure-k", Value: "v", Domain: "h.example"},
	} {
		if err := s.Set(c); !refusedWith(err, strings.TrimSpace(reason)) {
			t.Errorf("%.80v: %v; want a reason with %q", c, err, reason)
		}
	}
	if got := summary(s); got != "" {
		t.Errorf("kept\n%s", got)
	}
}

func TestLookingIsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		mustReceive(t, s, "https://www.example.org/a/b", "a=1", "b=2; Path=/", "c=3; Domain=example.org; Path=/", "d=4; Path=/other")
		mustReceive(t, s, "https://example.com/", "e=5")
		time.Sleep(time.Minute)
		u := parseURL(t, "https://www.example.org/a/c")
		names := func(cookies []Cookie) (all string) {
			for _, c := range cookies {
				all += c.Name
				if time.Since(c.Accessed) != time.Minute {
					t.Errorf("%v was used %v ago", c, time.Since(c.Accessed))
				}
			}
			return all
		}
		if got := names(s.For(u)); got != "abc" {
			t.Errorf("for %v: %s", u, got)
		}
		if got := names(s.OfDomain(".Example.ORG")) + " " + names(s.OfDomain("www.example.org")) + " " + names(s.OfDomain("")) + names(s.OfDomain("ample.org")); got != "cbad bad " {
			t.Errorf("of the domains: %s", got)
		}
		s.Cookies(u)
		if c := s.For(u)[0]; time.Since(c.Accessed) != 0 {
			t.Error("to send it is no use")
		}
	})
}

func TestRemoveSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		mustReceive(t, s, "https://example.org/", "old=1", "again=1")
		time.Sleep(time.Minute)
		since := time.Now()
		mustReceive(t, s, "https://example.org/", "again=2", "new=1")
		if n := s.RemoveSince(since.Add(1)); n != 0 {
			t.Errorf("%d are removed that are older", n)
		}
		if n := s.RemoveSince(since); n != 2 || summary(s) != "example.org/ old=1\n" {
			t.Errorf("%d are removed, and there are\n%s", n, summary(s))
		}
	})
}

func TestCookiesAreNotShownByAccident(t *testing.T) {
	c := Cookie{Name: "k", Value: "S3CRET", Domain: "example.org", Path: "/p"}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %s", &c, []Cookie{c}), string(text)} {
		if strings.Contains(shown, "S3CRET") || !strings.Contains(shown, "example.org") {
			t.Errorf("shown as %s", shown)
		}
	}
}
