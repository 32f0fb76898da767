package transport

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
)

// pin is the SHA-256 of a SubjectPublicKeyInfo (RFC 7469 §2.4).
type pin [sha256.Size]byte

func pinOf(c *x509.Certificate) pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// String is the pin as it is written.
func (p pin) String() string { return "sha256//" + base64.StdEncoding.EncodeToString(p[:]) }

func parsePin(text string) (pin, error) {
	digest, ok := strings.CutPrefix(text, "sha256/")
	digest = strings.TrimPrefix(digest, "/")
	b, err := base64.StdEncoding.DecodeString(digest)
	if !ok || err != nil || len(b) != sha256.Size || base64.StdEncoding.EncodeToString(b) != digest {
		return pin{}, fmt.Errorf("%q is no pin: that is sha256// and 44 characters of base64, the SHA-256 of a public key", text)
	}
	return pin(b), nil
}

// pins are TLS.Pins, parsed.
type pins map[string][]pin

// CheckPins finds what TLS.Pins cannot have. The error names the host.
func CheckPins(texts map[string][]string) error {
	_, err := parsePins(texts)
	return err
}

func parsePins(texts map[string][]string) (pins, error) {
	parsed := make(pins, len(texts))
	for _, host := range slices.Sorted(maps.Keys(texts)) {
		if why := checkPinned(host); why != "" {
			return nil, fmt.Errorf("of the host %q: %s", host, why)
		}
		if len(texts[host]) == 0 {
			return nil, fmt.Errorf("of the host %q: there is none; leave the host out, which binds it to none", host)
		}
		for _, text := range texts[host] {
			p, err := parsePin(text)
			if err != nil {
				return nil, fmt.Errorf("of the host %q: %w", host, err)
			}
			parsed[host] = append(parsed[host], p)
		}
	}
	return parsed, nil
}

// checkPinned says why a name cannot be pinned; empty: it can.
func checkPinned(name string) string {
	if isAddress(name) {
		if canonical := pinnedName(name); canonical != name {
			return "write the address as " + canonical
		}
		return ""
	}
	const is = "a name is of lower-case ASCII, without a port and brackets, such as example.com, *.example.com, 192.0.2.1, ::1 or *"
	switch host := strings.TrimPrefix(name, "*."); {
	case name == "*":
		return ""
	case host == "", strings.HasPrefix(host, "."), strings.HasSuffix(host, "."), strings.Contains(host, ".."):
		return is
	case strings.ContainsFunc(host, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
	}):
		return is
	}
	return ""
}

// pinnedName is a host as pins name it.
func pinnedName(host string) string {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return a.WithZone("").Unmap().String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// of are the pins of a host, by the closest of the names that stand for it; nil: it is bound to none.
func (p pins) of(host string) []pin {
	host = pinnedName(host)
	if list, ok := p[host]; ok {
		return list
	}
	if _, parent, ok := strings.Cut(host, "."); ok && !isAddress(host) {
		if list, ok := p["*."+parent]; ok {
			return list
		}
	}
	return p["*"]
}

// check is nil where one of the host's pins is that of a certificate in one of the chains, or where there are none of the leaf.
func (p pins) check(host string, leaf *x509.Certificate, chains [][]*x509.Certificate) error {
	wanted := p.of(host)
	if wanted == nil {
		return nil
	}
	if len(chains) == 0 {
		chains = [][]*x509.Certificate{{leaf}}
	}
	for _, chain := range chains {
		for _, c := range chain {
			if slices.Contains(wanted, pinOf(c)) {
				return nil
			}
		}
	}
	return fault(task.CertificateUntrusted, "%s shows none of the public keys that it is pinned to, but %s: somebody may be on the way; "+
		"where its owner says that its key was changed, pin that one", host, pinOf(leaf))
}
