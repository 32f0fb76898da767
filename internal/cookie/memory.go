// Package cookie keeps cookies: what a transport asks for those to send, and gives those that came.
package cookie

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync/atomic"

	"golang.org/x/net/publicsuffix"
)

// Memory is net/http's jar, in memory, with a way to empty it. Use NewMemory. Its methods may be called from any goroutine.
type Memory struct {
	jar  atomic.Pointer[cookiejar.Jar]
	used atomic.Bool // it may hold some: an empty jar is not looked at, which costs more than a task's own work
}

// NewMemory is an empty jar.
func NewMemory() *Memory {
	m := new(Memory)
	m.Reset()
	return m
}

// SetCookies is http.CookieJar's.
func (m *Memory) SetCookies(u *url.URL, set []*http.Cookie) {
	m.used.Store(true)
	m.jar.Load().SetCookies(u, set)
}

// Cookies is http.CookieJar's.
func (m *Memory) Cookies(u *url.URL) []*http.Cookie {
	if !m.used.Load() {
		return nil
	}
	return m.jar.Load().Cookies(u)
}

// Reset removes all cookies.
func (m *Memory) Reset() error {
	jar, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
	if err != nil {
		return err
	}
	m.jar.Store(jar)
	return nil
}
