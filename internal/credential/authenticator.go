package credential

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

// Policy is how an Authenticator decides.
type Policy struct {
	// AskFirst has an Exchange that Asks do so also before a credential that was not asked for is tried, which is then
	// Challenge.Proposed.
	AskFirst bool
	// Tries is how many credentials are tried for one request in one space. 0: 5.
	Tries int
	// Netrc is asked after the Storage; nil: none.
	Netrc *Netrc
	// Refresh makes a new token in place of one that a server has refused, such as by an OAuth refresh token. It may take
	// its time; for one token it is called once, however many requests wait for it, and never twice at once: a request that it
	// sends by its context has no token refreshed. Nil: tokens are not refreshed.
	Refresh func(context.Context, Space, Credential) (Credential, error)
}

const (
	defaultTries = 5
	maxSends     = 20   // of one request, whatever a server says
	maxRenewals  = 2    // of tokens, of one request: one that another request has brought may be old by now
	maxStale     = 3    // nonces of one request that a server calls stale
	maxOrigins   = 1000 // that an Authenticator remembers
	maxKnown     = 32   // spaces of one origin that it remembers
	maxPrefixes  = 64   // paths of one space that it remembers
)

// Authenticator is one session's: it makes Exchanges, and remembers what they have learnt, so that later requests are
// authenticated unasked where RFC 7617 §2.2 and RFC 7616 §3.3 allow it. It may be used by several goroutines.
type Authenticator struct {
	storage *Storage
	policy  Policy

	mu      sync.Mutex
	known   map[Space][]*known // by origin
	proven  map[Space]proven   // by origin
	provens uint64             // so far

	refreshing chan struct{} // holds a value while a token is being refreshed
	refreshed  map[refreshKey]Credential
}

type refreshKey struct {
	space Space
	token [sha256.Size]byte // hashed, so that no token shows
}

// known is a space that has taken a credential.
type known struct {
	space    Space
	cred     Credential
	from     source
	digest   *digest  // of Digest
	prefixes []string // of the others: paths that are in the space
	utf8     bool
	value    Secret // of the others: what is sent
}

// proven is as whom connections to an origin are known, by NTLM.
type proven struct {
	space Space
	cred  Credential
	from  source
	id    uint64
}

// NewAuthenticator makes one that takes credentials from storage; nil: it has none.
func NewAuthenticator(storage *Storage, p Policy) *Authenticator {
	if p.Tries <= 0 {
		p.Tries = defaultTries
	}
	return &Authenticator{storage: storage, policy: p, known: make(map[Space][]*known), proven: make(map[Space]proven),
		refreshing: make(chan struct{}, 1), refreshed: make(map[refreshKey]Credential)}
}

// Forget drops what was learnt: later requests are not authenticated unasked. It is part of a session's reset.
func (a *Authenticator) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.known)
	clear(a.proven)
	clear(a.refreshed)
}

// Blank reports whether nothing has been learnt yet: an Exchange has nothing to send before a server asks, but for what came with
// its request.
func (a *Authenticator) Blank() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.known) == 0 && len(a.proven) == 0
}

// Stored is the Storage's credential for space, the default where there are several.
func (a *Authenticator) Stored(space Space) (Credential, bool) {
	if a.storage == nil {
		return Credential{}, false
	}
	return a.storage.Default(space)
}

// find is the known space that u is in: of several, the one of the longest path.
func (a *Authenticator) find(origin Space, u *url.URL) *known {
	var few [4]*known
	a.mu.Lock()
	list := append(few[:0], a.known[origin]...)
	a.mu.Unlock()
	var best *known
	longest := -1
	for _, k := range list {
		if n := k.match(origin, u); n > longest && a.holds(origin, k) {
			best, longest = k, n
		}
	}
	return best
}

// match is how long a path of the space has u in it; -1: none has.
func (k *known) match(origin Space, u *url.URL) int {
	if origin.Proxy || k.digest != nil && k.digest.covers(origin, u) {
		return 0
	}
	longest := -1
	for _, prefix := range k.prefixes {
		if strings.HasPrefix(cleanPath(u), prefix) {
			longest = max(longest, len(prefix))
		}
	}
	return longest
}

// holds reports whether k is still what the Storage says, if it is from there. One that was removed or replaced is forgotten.
// a.mu is not held: the Storage may read its file.
func (a *Authenticator) holds(origin Space, k *known) bool {
	if a.agrees(k.space, k.cred, k.from) {
		return true
	}
	a.unlearn(origin, &try{space: k.space, cred: k.cred, digest: k.digest})
	return false
}

// agrees reports whether the Storage still has the credential, if it is from there.
func (a *Authenticator) agrees(space Space, c Credential, from source) bool {
	if a.storage == nil || from != fromStorage && from != fromAnswer {
		return true
	}
	stored, ok := a.Stored(space)
	return ok && stored.Equal(c)
}

// prove remembers as whom a connection to origin is known now, and names that: see Step.User.
func (a *Authenticator) prove(origin Space, t *try) uint64 {
	if t.from == fromURL || t.from == fromAnswer && t.cred.Persistence == None {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.proven[origin]
	if ok && p.space == t.space && p.cred.Equal(t.cred) {
		return p.id
	}
	if !ok && len(a.proven) >= maxOrigins {
		clear(a.proven)
	}
	a.provens++
	a.proven[origin] = proven{t.space, t.cred, t.from, a.provens}
	return a.provens
}

// user is the name that prove has given for origin; 0: there is none that still holds.
func (a *Authenticator) user(origin Space) uint64 {
	a.mu.Lock()
	p, ok := a.proven[origin]
	a.mu.Unlock()
	if !ok || !a.agrees(p.space, p.cred, p.from) {
		return 0
	}
	return p.id
}

// learn remembers that t's space has taken its credential for u.
func (a *Authenticator) learn(origin Space, t *try, u *url.URL) {
	switch {
	case t.space.Method == NTLM, t.space.Method == Negotiate:
		return // they prove a connection's user, not a request's
	case t.from == fromAnswer && t.cred.Persistence == None:
		return // it was for this request
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[origin] == nil && len(a.known) >= maxOrigins {
		for o := range a.known { // some other
			delete(a.known, o)
			break
		}
	}
	i := slices.IndexFunc(a.known[origin], func(k *known) bool { return k.space == t.space })
	if i >= 0 && a.known[origin][i].says(t, origin, u) {
		return
	}
	if i < 0 {
		if len(a.known[origin]) >= maxKnown {
			a.known[origin] = a.known[origin][1:]
		}
		i = len(a.known[origin])
		a.known[origin] = append(a.known[origin], &known{space: t.space})
	}
	k := *a.known[origin][i]
	if !k.cred.Equal(t.cred) {
		k.prefixes = nil
	}
	k.cred, k.from, k.digest, k.utf8, k.value = t.cred, t.from, t.digest, t.utf8, t.value
	if prefix := cleanPath(u); t.digest == nil {
		prefix = prefix[:strings.LastIndexByte(prefix, '/')+1] // "at or deeper than the depth of the last symbolic element"
		if !slices.ContainsFunc(k.prefixes, func(have string) bool { return strings.HasPrefix(prefix, have) }) {
			k.prefixes = append(slices.DeleteFunc(slices.Clone(k.prefixes), func(have string) bool { return strings.HasPrefix(have, prefix) }), prefix)
			k.prefixes = k.prefixes[max(0, len(k.prefixes)-maxPrefixes):]
		}
	}
	a.known[origin][i] = &k
}

// says reports whether learn of t and u would change nothing.
func (k *known) says(t *try, origin Space, u *url.URL) bool {
	return k.cred.Equal(t.cred) && k.cred.Persistence == t.cred.Persistence && k.from == t.from && k.digest == t.digest && k.utf8 == t.utf8 &&
		(t.digest != nil || k.match(origin, u) >= 0)
}

// unlearn forgets the space of a credential that was refused.
func (a *Authenticator) unlearn(origin Space, t *try) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[origin] = slices.DeleteFunc(a.known[origin], func(k *known) bool {
		return k.space == t.space && k.cred.Equal(t.cred) && k.digest == t.digest
	})
	if len(a.known[origin]) == 0 {
		delete(a.known, origin)
	}
}

// refreshingKey has, in the context of Policy.Refresh, whose that is.
type refreshingKey struct{}

// refresh is a credential in place of old, which was refused: one that was made for it already, or a new one.
func (a *Authenticator) refresh(ctx context.Context, space Space, old Credential) (Credential, error) {
	if ctx.Value(refreshingKey{}) == a {
		return Credential{}, errors.New("it is wanted by a request of the refresh itself")
	}
	select {
	case a.refreshing <- struct{}{}:
		defer func() { <-a.refreshing }()
	case <-ctx.Done():
		return Credential{}, ctx.Err()
	}
	key := refreshKey{space, sha256.Sum256([]byte(old.Token.Reveal()))}
	a.mu.Lock()
	c, ok := a.refreshed[key]
	a.mu.Unlock()
	if ok {
		return c, nil
	}
	c, err := a.policy.Refresh(context.WithValue(ctx, refreshingKey{}, a), space, old)
	if err == nil && c.Token.IsZero() {
		err = errors.New("it gave no token")
	}
	if err != nil {
		return Credential{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.refreshed) >= maxOrigins {
		clear(a.refreshed)
	}
	a.refreshed[key] = c
	return c, nil
}

// cleanPath is u's path for comparison: escaped as it is sent, absolute, without dot segments, which a server may resolve.
func cleanPath(u *url.URL) string {
	p := u.EscapedPath()
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// failure is the error that ends a task.
func failure(origin Space, code task.Code, err error) error {
	op := "authenticate to"
	if origin.Proxy {
		op = "authenticate to proxy"
	}
	o := origin.origin()
	o.Proxy = false
	return &task.Error{Op: op, URL: o.String(), Code: code, Err: err}
}
