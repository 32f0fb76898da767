package credential

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Method is how a server wants proof: an authentication scheme of HTTP, or TLS's.
type Method string

// The methods, by the names of the IANA registry.
const (
	AnyMethod         Method = ""
	Basic             Method = "Basic"
	Digest            Method = "Digest"
	Bearer            Method = "Bearer"
	NTLM              Method = "NTLM"
	Negotiate         Method = "Negotiate"
	ClientCertificate Method = "ClientCertificate" // TLS's, no HTTP scheme
)

// methodOf is the Method of a scheme's name, which may be in any case; AnyMethod: one that is not known.
func methodOf(scheme string) Method {
	for _, m := range []Method{Basic, Digest, Bearer, NTLM, Negotiate} {
		if strings.EqualFold(scheme, string(m)) {
			return m
		}
	}
	return AnyMethod
}

// Space is a protection space (RFC 9110 §11.5, NSURLProtectionSpace): where one credential holds. A credential never leaves
// its origin, or its proxy.
//
// As the place of a stored credential, an empty Realm stands for all realms of the origin, an empty Method for all methods.
type Space struct {
	Proxy  bool   `json:"proxy,omitempty"` // the server is a proxy
	Scheme string `json:"scheme"`          // http, https; of a proxy also socks5
	Host   string `json:"host"`            // in lower case, A-labels; an IPv6 address without brackets
	Port   int    `json:"port"`
	Realm  string `json:"realm,omitempty"`
	Method Method `json:"method,omitempty"`
}

// Origin is the space of all realms and methods of u's origin.
func Origin(u *url.URL) Space {
	port, _ := strconv.Atoi(u.Port())
	return Space{Scheme: u.Scheme, Host: u.Hostname(), Port: port}.Canonical()
}

// Canonical is s as servers' are: scheme and host in lower case, the host as A-labels, and for port 0 the scheme's. A proxy's
// scheme is http where it has none, and socks5 for socks5h.
func (s Space) Canonical() Space {
	s.Scheme, s.Host = strings.ToLower(s.Scheme), canonicalHost(s.Host)
	if s.Proxy {
		switch s.Scheme {
		case "":
			s.Scheme = "http"
		case "socks5h":
			s.Scheme = "socks5"
		}
	}
	if s.Port == 0 {
		s.Port = defaultPort(s.Scheme)
	}
	return s
}

// Proxy is the space of all realms and methods of the proxy at u, as Origin.
func Proxy(u *url.URL) Space {
	port, _ := strconv.Atoi(u.Port())
	return Space{Proxy: true, Scheme: u.Scheme, Host: u.Hostname(), Port: port}.Canonical()
}

func defaultPort(scheme string) int {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	case "socks5", "socks5h":
		return 1080
	}
	return 0
}

func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if !strings.ContainsFunc(host, func(r rune) bool { return r > '~' }) {
		return host
	}
	if a, err := idna.Lookup.ToASCII(host); err == nil { // as net/http does to reach it
		return a
	}
	return host
}

// origin is s for all realms and methods.
func (s Space) origin() Space {
	s.Realm, s.Method = "", AnyMethod
	return s
}

// String is the space as users read it: https://example.com:443 "realm" (Digest).
func (s Space) String() string {
	text := s.Scheme + "://" + net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	if s.Proxy {
		text = "proxy " + text
	}
	if s.Realm != "" {
		text += " " + strconv.Quote(s.Realm)
	}
	if s.Method != AnyMethod {
		text += " (" + string(s.Method) + ")"
	}
	return text
}

// wider is list with the at most four spaces in which a credential for s may be stored, the narrowest first.
func (s Space) wider(list []Space) []Space {
	anyMethod, anyRealm := s, s
	anyMethod.Method = AnyMethod
	anyRealm.Realm = ""
	for _, w := range [...]Space{s, anyMethod, anyRealm, s.origin()} {
		if !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	return list
}
