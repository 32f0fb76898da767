package urlsession

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urlsession/urlsession/internal/credential"
)

// The words of authentication, here and in internal/credential.

// storable are the methods by which a stored credential proves; empty is all of them.
var storable = []AuthMethod{"", AuthBasic, AuthDigest, AuthBearer, AuthNTLM, AuthNegotiate}

// spaceOf is a space as the internal packages have it, in canonical form; why is what is wrong with it as a place of
// credentials, "": nothing.
func spaceOf(p ProtectionSpace) (s credential.Space, why string) {
	s = credential.Space{
		Proxy: p.Proxy, Scheme: p.Scheme, Host: strings.TrimSuffix(strings.TrimPrefix(p.Host, "["), "]"), Port: p.Port,
		Realm: p.Realm, Method: credential.Method(p.Method),
	}.Canonical()
	switch {
	case s.Scheme != "http" && s.Scheme != "https" && !(s.Proxy && s.Scheme == "socks5"):
		why = fmt.Sprintf("the space's scheme is %q: it is http or https, of a proxy also socks5", p.Scheme)
	case s.Host == "" || strings.ContainsAny(s.Host, "/@ "):
		why = fmt.Sprintf("the space's host is %q: it is a name or an address, without a port", p.Host)
	case s.Port < 1 || s.Port > 65535:
		why = fmt.Sprintf("the space's port is %d", p.Port)
	case !slices.Contains(storable, p.Method):
		why = fmt.Sprintf("the space's method is %q: credentials are stored for %s, %s, %s, %s, %s, or none for all of them", p.Method,
			AuthBasic, AuthDigest, AuthBearer, AuthNTLM, AuthNegotiate)
	}
	return s, why
}

func publicSpace(s credential.Space) ProtectionSpace {
	return ProtectionSpace{Proxy: s.Proxy, Scheme: s.Scheme, Host: s.Host, Port: s.Port, Realm: s.Realm, Method: AuthMethod(s.Method)}
}

var persistences = [...]credential.Persistence{
	PersistenceNone:       credential.None,
	PersistenceForSession: credential.Session,
	PersistencePermanent:  credential.Permanent,
}

// credentialOf is c without its certificate, which is TLS's. A persistence that is none of the constants is none.
func credentialOf(c Credential) credential.Credential {
	out := credential.Credential{User: c.User, Password: credential.NewSecret(c.Password), Token: credential.NewSecret(c.Token)}
	if c.Persistence >= 0 && int(c.Persistence) < len(persistences) {
		out.Persistence = persistences[c.Persistence]
	}
	return out
}

func publicCredential(c credential.Credential) Credential {
	return Credential{
		User: c.User, Password: c.Password.Reveal(), Token: c.Token.Reveal(),
		Persistence: Persistence(slices.Index(persistences[:], c.Persistence)),
	}
}
