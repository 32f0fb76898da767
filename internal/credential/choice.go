package credential

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// source is where a credential is from, in the order in which they are tried.
type source int

const (
	fromURL source = iota
	fromStorage
	fromNetrc
	fromAnswer
)

// The strength of methods. A credential that a stronger one has failed with is not given to a weaker one.
const (
	strengthBasic = iota + 1
	strengthMD5
	strengthNTLM
	strengthNegotiate
	strengthSHA256
	strengthSHA512
	strengthBearer // first where there is a token, which says more than a password
)

// choice is an Offer that can be answered.
type choice struct {
	offer    Offer
	space    Space
	strength int
}

// choose finds what can be answered, the strongest first.
func (e *Exchange) choose(offers []Offer) []choice {
	var list []choice
	for _, o := range offers {
		c := choice{offer: o, space: e.origin}
		c.space.Method = methodOf(o.Scheme)
		c.space.Realm = readable(o.Param("realm"))
		switch c.space.Method {
		case Basic:
			c.strength = strengthBasic
		case Digest:
			if !digestUsable(o) {
				continue
			}
			a, _, _ := digestAlgorithmOf(o)
			c.strength = a.strength
		case NTLM:
			c.strength = strengthNTLM
		case Negotiate:
			c.strength = strengthNegotiate
		case Bearer:
			c.strength = strengthBearer
		default:
			continue
		}
		if !slices.Contains(e.rejected, c.space) && !slices.Contains(e.skip, c.space.Method) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b choice) int { return cmp.Compare(b.strength, a.strength) })
	return list
}

// maxRealm is how many bytes of a realm count: it stands in the record and the events of each task that asks.
const maxRealm = 1 << 10

// readable is a realm as UTF-8: what is not is ISO 8859-1, as fields once were.
func readable(realm string) string {
	if !utf8.ValidString(realm) {
		var b strings.Builder
		for i := range len(realm) {
			b.WriteRune(rune(realm[i]))
		}
		realm = b.String()
	}
	for i := range realm {
		if i > maxRealm-utf8.UTFMax {
			return realm[:i]
		}
	}
	return realm
}

// candidate is a credential for c that nobody need be asked for.
func (e *Exchange) candidate(c choice) (Credential, source, bool) {
	usable := func(cred Credential) bool { return cred.fits(c.space.Method) && !e.spent(c, cred) }
	if a := e.answered[c.space]; a.Disposition == Use && usable(a.Credential) {
		return a.Credential, fromAnswer, true
	}
	for space, a := range e.answered { // a token where a password was asked for, or the reverse: see Answer
		if a.Disposition == Use && !a.Credential.fits(space.Method) && usable(a.Credential) {
			return a.Credential, fromAnswer, true
		}
	}
	login := ""
	if e.user != nil {
		if usable(*e.user) {
			return *e.user, fromURL, true
		}
		login = e.user.User
	}
	if cred, ok := e.stored(c.space); ok && usable(cred) {
		return cred, fromStorage, true
	}
	if cred, ok := e.netrc(login); ok && usable(cred) {
		return cred, fromNetrc, true
	}
	return Credential{}, 0, false
}

// stored is the Storage's credential for space. A URL that names a user gets that user's alone: nobody acts as somebody else
// unnoticed.
func (e *Exchange) stored(space Space) (Credential, bool) {
	if e.user == nil {
		return e.a.Stored(space)
	}
	if e.a.storage != nil {
		for _, cred := range e.a.storage.Credentials(space) {
			if cred.User == e.user.User {
				return cred, true
			}
		}
	}
	return Credential{}, false
}

// netrc is what the .netrc has for the origin and a user, "" for any. A proxy gets nothing of it, which names servers: its default
// would be for every proxy.
func (e *Exchange) netrc(user string) (Credential, bool) {
	if e.origin.Proxy {
		return Credential{}, false
	}
	return e.a.policy.Netrc.Find(e.origin.Host, user)
}

// settled reports whether nobody is to be asked about c, because that was done before: go on as if nobody were there.
func (e *Exchange) settled(c choice) bool {
	a, ok := e.answered[c.space]
	return ok && a.Disposition == UseDefault
}

// spent reports whether cred was refused already, by this method or a stronger one: a server that feigns to know a strong
// one does not get the password by a weak one.
func (e *Exchange) spent(c choice, cred Credential) bool {
	return slices.ContainsFunc(e.tried, func(t *try) bool { return t.cred.Equal(cred) && t.strength() >= c.strength })
}

func (t *try) strength() int {
	switch t.space.Method {
	case Basic:
		return strengthBasic
	case NTLM:
		return strengthNTLM
	case Negotiate:
		return strengthNegotiate
	case Bearer:
		return strengthBearer
	}
	for _, a := range digestAlgorithms {
		if strings.HasPrefix(strings.ToUpper(t.digest.algorithm), a.name) {
			return a.strength
		}
	}
	return strengthMD5
}

// who names the credential. The user in a URL may be a token.
func (t *try) who() string {
	switch {
	case t.from == fromURL:
		return "the credential in the URL"
	case !t.cred.Token.IsZero():
		return "the token"
	}
	return fmt.Sprintf("the credential of user %q", t.cred.User)
}

// last is the credential that was refused last in space, but for one in a URL, whose user may be a token.
func (e *Exchange) last(space Space) *Credential {
	for _, t := range slices.Backward(e.tried) {
		if t.space == space && t.from != fromURL {
			return &t.cred
		}
	}
	return nil
}

// inVain has an answer to c that could not be tried there be a failure, as one that was refused is: whoever would give it again
// and again is told.
func (e *Exchange) inVain(c choice) {
	a := e.answered[c.space]
	of := func(t *try) bool { return t.cred.Equal(a.Credential) }
	if a.Disposition != Use || slices.ContainsFunc(e.tried, func(t *try) bool { return of(t) && t.space == c.space }) {
		return
	}
	delete(e.answered, c.space) // it counts once
	e.counts()[c.space]++
	if !slices.ContainsFunc(e.tried, of) {
		e.err = fmt.Errorf("the credential that was given cannot be used for %s", c.space.Method)
	}
}
