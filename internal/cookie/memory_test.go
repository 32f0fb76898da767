package cookie

import (
	"net/http"
	"net/url"
	"testing"
)

func TestMemory(t *testing.T) {
	m := NewMemory()
	u := &url.URL{Scheme: "http", Host: "a.example.com", Path: "/"}
	if got := m.Cookies(u); got != nil {
		t.Errorf("a new jar has %v", got)
	}
	m.SetCookies(u, []*http.Cookie{{Name: "k", Value: "v"}, {Name: "wide", Value: "v", Domain: "com"}})
	if got := m.Cookies(u); len(got) != 1 || got[0].Name != "k" {
		t.Errorf("the jar has %v, want the host's own alone: com is a public suffix", got)
	}
	if err := m.Reset(); err != nil {
		t.Fatal(err)
	}
	if got := m.Cookies(u); len(got) != 0 {
		t.Errorf("an emptied jar has %v", got)
	}
}
