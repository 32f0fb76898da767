package urlsession

import (
	"fmt"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/cookie"
)

// Cookie is one cookie as a CookieStorage keeps it: NSHTTPCookie. It is a value: what a storage gives out is a copy. Value is a
// secret: a Cookie that is printed, by whatever verb, or encoded as JSON, does not show it.
type Cookie struct {
	// Name may be empty: such a cookie is sent as its value alone.
	Name string
	// Value as received, quotation marks included.
	Value string `json:"-"`
	// Domain in lower case, in A-labels, without a leading dot; or an IP address.
	Domain string
	// HostOnly says that the cookie goes to Domain itself and to no subdomain of it.
	HostOnly bool
	// Path that the paths of requests begin with, as it is written in URLs. For CookieStorage.Set empty is "/".
	Path     string
	Secure   bool
	HTTPOnly bool
	// SameSite is kept and shown, and decides nothing here. 0: not said.
	SameSite http.SameSite
	// Expires is when the cookie ends. Zero: with the process (of a background session the daemon's), and no sealed file holds it.
	Expires time.Time
	// Created survives a replacement by the same name, domain and path; Updated does not. Accessed is when it was last sent.
	// CookieStorage.Set takes Created, or now where it is zero, and Updated is now.
	Created, Updated, Accessed time.Time
}

// Format hides the value from every verb.
func (c Cookie) Format(w fmt.State, _ rune) { fmt.Fprint(w, cookie.Cookie(c).String()) }

func publicCookies(all []cookie.Cookie) []Cookie {
	public := make([]Cookie, len(all))
	for i, c := range all {
		public[i] = Cookie(c)
	}
	return public
}
