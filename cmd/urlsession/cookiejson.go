package main

import (
	"net/http"
	"time"

	"github.com/urlsession/urlsession"
)

var sameSites = map[http.SameSite]string{http.SameSiteLaxMode: "lax", http.SameSiteStrictMode: "strict", http.SameSiteNoneMode: "none"}

// cookieJSON is a cookie in JSON; its value is in it where it is asked for.
func cookieJSON(c urlsession.Cookie, withValue bool) any {
	j := struct {
		Domain   string    `json:"domain"`
		HostOnly bool      `json:"hostOnly"`
		Path     string    `json:"path"`
		Name     string    `json:"name"`
		Value    *string   `json:"value,omitempty"`
		Secure   bool      `json:"secure"`
		HTTPOnly bool      `json:"httpOnly"`
		SameSite string    `json:"sameSite,omitempty"`
		Expires  time.Time `json:"expires,omitzero"`
		Created  time.Time `json:"created,omitzero"`
		Updated  time.Time `json:"updated,omitzero"`
		Accessed time.Time `json:"accessed,omitzero"`
	}{
		Domain: c.Domain, HostOnly: c.HostOnly, Path: c.Path, Name: c.Name, Secure: c.Secure, HTTPOnly: c.HTTPOnly,
		SameSite: sameSites[c.SameSite], Expires: c.Expires, Created: c.Created, Updated: c.Updated, Accessed: c.Accessed,
	}
	if withValue {
		j.Value = &c.Value
	}
	return j
}
