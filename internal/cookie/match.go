package cookie

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// origin is what of a request's URL decides over cookies.
type origin struct {
	host   string // canonical; empty: a URL that has no cookies
	path   string
	secure bool
}

// originOf costs no allocation for a URL in the usual form.
func originOf(u *url.URL) origin {
	if u == nil || u.Scheme != "http" && u.Scheme != "https" {
		return origin{}
	}
	o := origin{host: canonicalHost(u.Hostname()), path: u.EscapedPath()}
	if !validDomain(o.host) {
		return origin{}
	}
	if !strings.HasPrefix(o.path, "/") {
		o.path = "/"
	}
	o.secure = u.Scheme == "https" || isLoopback(o.host)
	return o
}

// canonicalHost is a host's name in lower case and A-labels, without the dot of the root, or an address in its one form
// (the draft, section 5.1.2). Empty: it has none.
func canonicalHost(host string) string {
	host = strings.TrimSuffix(host, ".")
	for i := 0; i < len(host); i++ {
		if host[i] >= 0x80 {
			ascii, err := idna.Lookup.ToASCII(host) // as net/http does to reach it
			if err != nil {
				return ""
			}
			host = ascii
			break
		}
	}
	if strings.Contains(host, ":") {
		if a, err := netip.ParseAddr(host); err == nil {
			return strings.ToLower(a.String()) // a zone too
		}
	}
	return strings.ToLower(host)
}

// validDomain tells a name that has cookies: letters, digits, "-", "_" and dots, or an address. It has to stand in files
// and in messages.
func validDomain(domain string) bool {
	if domain == "" || len(domain) > maxDomain || domain[0] == '.' || domain[len(domain)-1] == '.' {
		return false
	}
	for i := 0; i < len(domain); i++ {
		switch c := domain[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		case c == ':':
			return isAddress(domain)
		default:
			return false
		}
	}
	return true
}

// isAddress tells an IP address, to which no domain but itself applies.
func isAddress(host string) bool {
	if !strings.Contains(host, ":") {
		label := host[strings.LastIndexByte(host, '.')+1:]
		if label == "" || strings.Trim(label, "0123456789") != "" {
			return false
		}
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// isLoopback tells the hosts to which a connection without TLS is as good as one with: it does not leave the machine.
// Names below localhost are not among them, since a resolver may ask the network for those.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	if !isAddress(host) {
		return false
	}
	a, _ := netip.ParseAddr(host)
	return a.IsLoopback()
}

// domainMatch tells whether host is domain or lies below it (the draft, section 5.1.3).
func domainMatch(host, domain string) bool {
	if host == domain {
		return true
	}
	n := len(host) - len(domain)
	return n > 0 && host[n-1] == '.' && host[n:] == domain && !isAddress(host)
}

// pathMatch tells whether a request's path lies at or below a cookie's (the draft, section 5.1.4).
func pathMatch(request, path string) bool {
	return strings.HasPrefix(request, path) &&
		(len(request) == len(path) || strings.HasSuffix(path, "/") || request[len(path)] == '/')
}

// defaultPath is the folder of a request's path (the draft, section 5.1.4).
func defaultPath(request string) string {
	if i := strings.LastIndexByte(request, '/'); i > 0 {
		return request[:i]
	}
	return "/"
}

// isPublicSuffix tells a domain below which anybody can have a name, by registration (co.uk) or by hosting (github.io).
// A name without a dot is one.
func isPublicSuffix(domain string) bool {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix == domain
}

// siteOf is the domain that somebody registered, whose hosts share one allowance of cookies; the host itself where there
// is none.
func siteOf(domain string) string {
	if isAddress(domain) {
		return domain
	}
	if site, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return site
	}
	return domain
}
