//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/urlsession/urlsession"
)

// overhead-storages is overhead with all that a session remembers: a jar with cookies for the host and for others, of which it
// sends three; a credential whose space the first answer names, sent unasked from then on; a cache that is asked for each
// request and each answer, and may keep none of them, so that as many go over the wire. The bare client says the same two fields
// of its own, which is the least.
const (
	benchUser, benchPassword = "user", "password"
	benchCookies             = "session=0123456789abcdef; theme=dark; seen=1"
	otherHosts               = 100
)

// serveStoring is a child as serve, of which a request without the cookies is refused, and one without the password asked for it.
func serveStoring(args []string) error {
	return serveWith(args, func(w http.ResponseWriter, r *http.Request, body []byte) {
		user, password, _ := r.BasicAuth()
		switch {
		case user != benchUser || password != benchPassword:
			w.Header().Set("WWW-Authenticate", `Basic realm="bench"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("Cookie") != benchCookies:
			w.WriteHeader(http.StatusForbidden)
		default:
			w.Header().Set("Cache-Control", "no-store")
			w.Write(body)
		}
	})
}

func byStoringSession(rawURL string, count, size int) error {
	c := urlsession.Ephemeral()
	if c.URLCache == nil || c.CredentialStorage == nil {
		return errors.New("an ephemeral configuration lacks a storage, and the figure would be of less than it says")
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	cookies := urlsession.NewCookieStorage()
	c.CookieStorage = cookies
	all, err := http.ParseCookie(benchCookies)
	if err != nil {
		return err
	}
	for i := range otherHosts {
		for _, cookie := range all {
			host := net.IPv4(192, 0, 2, byte(i)).String()
			if err := cookies.Set(urlsession.Cookie{Name: cookie.Name, Value: cookie.Value, Domain: host}); err != nil {
				return err
			}
		}
	}
	for _, cookie := range all {
		if err := cookies.Set(urlsession.Cookie{Name: cookie.Name, Value: cookie.Value, Domain: u.Hostname()}); err != nil {
			return err
		}
	}
	space, err := urlsession.SpaceOf(rawURL)
	if err != nil {
		return err
	}
	login := urlsession.Credential{User: benchUser, Password: benchPassword, Persistence: urlsession.PersistenceForSession}
	if err := c.CredentialStorage.Set(context.Background(), space, login); err != nil {
		return err
	}
	return repeatBySession(c, rawURL, count, size)
}

func byStoringNetHTTP(url string, count, size int) error {
	return repeatByNetHTTP(url, count, size, func(r *http.Request) {
		r.SetBasicAuth(benchUser, benchPassword)
		r.Header.Set("Cookie", benchCookies)
	})
}
