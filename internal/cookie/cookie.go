package cookie

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Cookie is one cookie as it is kept (the draft, section 5.7). It is a value: what a Storage gives out is a copy.
type Cookie struct {
	// Name may be empty: such a cookie is sent as its value alone.
	Name string
	// Value as received, quotation marks included. It is a secret: neither String nor encoding/json shows it.
	Value string `json:"-"`
	// Domain in lower case, in A-labels, without a leading dot; or an IP address.
	Domain string
	// HostOnly says that the cookie goes to Domain itself and to no subdomain of it.
	HostOnly bool
	// Path that the paths of requests begin with, as it is written in URLs.
	Path     string
	Secure   bool
	HTTPOnly bool
	// SameSite is kept and shown; it decides nothing here, since no page asks for requests. 0: not said.
	SameSite http.SameSite
	// Expires is when the cookie ends. Zero: with the process (a session cookie), and it is never written to a file.
	Expires time.Time
	// Created survives a replacement by the same name, domain and path; Updated does not. Accessed is when it was last
	// sent.
	Created, Updated, Accessed time.Time
}

// What is taken at most (the draft, sections 5.6 and 5.7).
const (
	maxPair      = 4096                 // bytes of name and value together; more: the cookie is refused
	maxAttribute = 1024                 // bytes of an attribute's value; more: the attribute is ignored
	maxPath      = maxAttribute         // bytes of a path, which comes from the URL where there is no attribute
	maxDomain    = 255                  // bytes of a host's name
	maxAge       = 400 * 24 * time.Hour // a cookie lives no longer, whatever its server asks for
)

// key is what makes two cookies the same one: the newer replaces the older.
type key struct {
	name, domain, path string
	hostOnly           bool
}

// String names the cookie, for messages and logs.
func (c Cookie) String() string { return fmt.Sprintf("cookie %q of %s%s", c.Name, c.Domain, c.Path) }

func (c *Cookie) key() key { return key{c.Name, c.Domain, c.Path, c.HostOnly} }

// session says that the cookie ends with the process.
func (c *Cookie) session() bool { return c.Expires.IsZero() }

func (c *Cookie) expired(now time.Time) bool { return !c.session() && !c.Expires.After(now) }

// Refusal says why a cookie was not taken. It names the cookie and never its value.
type Refusal struct {
	Name   string
	Reason string
}

func (r *Refusal) Error() string {
	name := r.Name
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return fmt.Sprintf("cookie %q refused: %s", name, r.Reason)
}

func refuse(name, format string, args ...any) error {
	return &Refusal{name, fmt.Sprintf(format, args...)}
}

// check refuses what no Storage may hold, wherever it came from: a response, an app, a cookies.txt or our own file.
func (c *Cookie) check() error {
	switch {
	case c.Name == "" && c.Value == "":
		return refuse(c.Name, "it has neither a name nor a value")
	case len(c.Name)+len(c.Value) > maxPair:
		return refuse(c.Name, "name and value measure %d bytes; at most %d are taken", len(c.Name)+len(c.Value), maxPair)
	case strings.ContainsAny(c.Name, "=;") || strings.Contains(c.Value, ";"):
		return refuse(c.Name, "a character that ends a name or a value stands in it")
	case hasControl(c.Name) || hasControl(c.Value) || hasControl(c.Path):
		return refuse(c.Name, "it has a control character")
	case trimSpace(c.Name) != c.Name || trimSpace(c.Value) != c.Value:
		return refuse(c.Name, "name or value begins or ends with a space")
	case !strings.HasPrefix(c.Path, "/"):
		return refuse(c.Name, "its path does not begin with /")
	case len(c.Path) > maxPath:
		return refuse(c.Name, "its path measures %d bytes; at most %d are taken", len(c.Path), maxPath)
	case !validDomain(c.Domain):
		return refuse(c.Name, "%q is no host's name", c.Domain)
	case !c.HostOnly && (isAddress(c.Domain) || isPublicSuffix(c.Domain)):
		return refuse(c.Name, "%s belongs to many: a cookie for all of it is not taken", c.Domain)
	case c.SameSite == http.SameSiteNoneMode && !c.Secure:
		return refuse(c.Name, "SameSite=None needs Secure")
	}
	return c.checkPrefix()
}

// checkPrefix holds a name to what its prefix promises to its server (the draft, section 4.1.3, and 5.7 steps 20 to 22).
func (c *Cookie) checkPrefix() error {
	switch {
	case c.Name == "" && (foldPrefix(c.Value, "__Secure-") || foldPrefix(c.Value, "__Host-")):
		return refuse(c.Name, "it has no name, and a value that would be read as a prefixed one")
	case foldPrefix(c.Name, "__Secure-") && !c.Secure:
		return refuse(c.Name, "its prefix needs Secure")
	case foldPrefix(c.Name, "__Host-") && (!c.Secure || !c.HostOnly || c.Path != "/"):
		return refuse(c.Name, "its prefix needs Secure, Path=/ and no Domain")
	}
	return nil
}

func foldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// hasControl finds a control character other than TAB.
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// trimSpace cuts the draft's WSP, space and TAB, off both ends.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
