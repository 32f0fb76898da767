package credential

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/text/unicode/norm"
)

// digestAlgorithm is one of RFC 7616 §6.1, by the part of its name before -sess.
type digestAlgorithm struct {
	name     string
	strength int
	hash     func() hash.Hash
}

var digestAlgorithms = []digestAlgorithm{
	{"SHA-512-256", strengthSHA512, sha512.New512_256},
	{"SHA-256", strengthSHA256, sha256.New},
	{"MD5", strengthMD5, md5.New},
}

// digestAlgorithmOf is what an Offer of Digest names; MD5 is the default. ok: it is known.
func digestAlgorithmOf(o Offer) (a digestAlgorithm, sess, ok bool) {
	name, given := o.param("algorithm")
	if !given {
		name = "MD5"
	}
	name = strings.ToUpper(name)
	name, sess = strings.CutSuffix(name, "-SESS")
	for _, a := range digestAlgorithms {
		if a.name == name {
			return a, sess, true
		}
	}
	return a, sess, false
}

// The qualities of protection of RFC 7616 §3.3; none is RFC 2069's.
const (
	qopNone    = ""
	qopAuth    = "auth"
	qopAuthInt = "auth-int"
)

// qopOf chooses among those that an Offer names: auth before auth-int, which reads the body twice. ok: one is known.
func qopOf(o Offer) (qop string, ok bool) {
	list, given := o.param("qop")
	if !given {
		return qopNone, true
	}
	for name := range strings.SplitSeq(list, ",") {
		switch name = strings.TrimSpace(name); {
		case strings.EqualFold(name, qopAuth):
			return qopAuth, true
		case strings.EqualFold(name, qopAuthInt):
			qop, ok = qopAuthInt, true
		}
	}
	return qop, ok
}

// digestUsable reports whether an Offer of Digest is complete, and of what is known.
func digestUsable(o Offer) bool {
	_, realm := o.param("realm")
	_, _, algorithm := digestAlgorithmOf(o)
	_, qop := qopOf(o)
	return realm && o.Param("nonce") != "" && algorithm && qop
}

// digest answers one challenge of RFC 7616 for one credential, as often as the server takes its nonce. It may be used by
// several goroutines: each request gets a count of its own.
type digest struct {
	user, password Secret
	realm, opaque  string
	algorithm      string // as the server has written it; "": it has not
	hash           func() hash.Hash
	sess           bool
	qop            string
	utf8, userhash bool
	opaqueGiven    bool
	domain         []string // what URLs it holds for; none: all of the origin
	cnonce         string
	mu             sync.Mutex
	nonce          string
	count          uint32
	sessionNonce   string // the challenge's own nonce, which A1 of -sess keeps
	sessionA1      Secret // H(A1), by which anybody could answer for the user; zero: not reckoned yet
}

// newDigest begins with an Offer that is digestUsable.
func newDigest(o Offer, c Credential) *digest {
	a, sess, _ := digestAlgorithmOf(o)
	d := &digest{
		user: NewSecret(c.User), password: c.Password, realm: o.Param("realm"), nonce: o.Param("nonce"), algorithm: o.Param("algorithm"),
		hash: a.hash, sess: sess, utf8: wantsUTF8(o), userhash: strings.EqualFold(o.Param("userhash"), "true"), cnonce: rand.Text(),
		domain: strings.Fields(o.Param("domain")),
	}
	d.opaque, d.opaqueGiven = o.param("opaque")
	d.qop, _ = qopOf(o)
	d.sessionNonce = d.nonce
	if d.utf8 {
		d.user, d.password = NewSecret(norm.NFC.String(c.User)), NewSecret(norm.NFC.String(c.Password.Reveal()))
	}
	return d
}

// proof is what was said of one request, by which the server's own proof is checked.
type proof struct {
	value            Secret // of Authorization
	nonce, nc        string
	target, response string
}

// h is RFC 7616's H of what is joined by colons.
func (d *digest) h(parts ...string) string {
	h := d.hash()
	for i, part := range parts {
		if i > 0 {
			h.Write([]byte(":"))
		}
		io.WriteString(h, part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// a1 is H(A1) (§3.4.2). d.mu is held.
func (d *digest) a1() string {
	if d.sessionA1.IsZero() {
		a1 := d.h(d.user.Reveal(), d.realm, d.password.Reveal())
		if d.sess {
			a1 = d.h(a1, d.sessionNonce, d.cnonce)
		}
		d.sessionA1 = NewSecret(a1)
	}
	return d.sessionA1.Reveal()
}

// hashBody reads what a body opens, in pieces; for auth-int.
func (d *digest) hashBody(open func() (io.ReadCloser, error)) (string, error) {
	h := d.hash()
	if open != nil {
		body, err := open()
		if err != nil {
			return "", err
		}
		defer body.Close()
		if _, err := io.Copy(h, body); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// authorize is the value of Authorization for a request (§3.4). target is its request target as it is sent, and open opens
// its body, nil where it has none; it is read only for auth-int.
func (d *digest) authorize(method, target string, open func() (io.ReadCloser, error)) (proof, error) {
	a2 := []string{method, target}
	if d.qop == qopAuthInt {
		body, err := d.hashBody(open)
		if err != nil {
			return proof{}, fmt.Errorf("its body cannot be read for Digest with auth-int: %w", err)
		}
		a2 = append(a2, body)
	}
	d.mu.Lock()
	d.count++
	p := proof{nonce: d.nonce, nc: fmt.Sprintf("%08x", d.count), target: target}
	a1 := d.a1()
	d.mu.Unlock()
	if d.qop == qopNone {
		p.response = d.h(a1, p.nonce, d.h(a2...))
	} else {
		p.response = d.h(a1, p.nonce, p.nc, d.cnonce, d.qop, d.h(a2...))
	}

	var b strings.Builder
	b.WriteString("Digest ")
	b.WriteString(d.username())
	b.WriteString(", realm=" + quote(d.realm) + ", nonce=" + quote(p.nonce) + ", uri=" + quote(target))
	if d.algorithm != "" {
		b.WriteString(", algorithm=" + d.algorithm)
	}
	if d.qop != qopNone {
		b.WriteString(", qop=" + d.qop + ", nc=" + p.nc)
	}
	if d.qop != qopNone || d.sess {
		b.WriteString(", cnonce=" + quote(d.cnonce))
	}
	if d.opaqueGiven {
		b.WriteString(", opaque=" + quote(d.opaque))
	}
	if d.userhash {
		b.WriteString(", userhash=true")
	}
	b.WriteString(", response=" + quote(p.response)) // last: some servers look for it there
	if strings.ContainsFunc(b.String(), isControl) { // of the user, or of the server's nonce, realm and opaque
		return proof{}, errors.New("control characters cannot be sent by Digest")
	}
	p.value = NewSecret(b.String())
	return p, nil
}

// username is the parameter that names the user (§3.4.4): as a hash where the server can look that up, in RFC 8187's form
// where it is not ASCII and the server has said UTF-8.
func (d *digest) username() string {
	user := d.user.Reveal()
	switch {
	case d.userhash:
		return "username=" + quote(d.h(user, d.realm))
	case d.utf8 && strings.ContainsFunc(user, func(r rune) bool { return r > '~' }):
		return "username*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(user), "+", "%20")
	}
	return "username=" + quote(user)
}

var errMutual = errors.New("the server has not proven that it knows the password")

// accepted takes what the server says beside a response that it gives to p (Authentication-Info, §3.5): its own proof, which
// must be right where there is one, and the nonce to use next. With auth-int its proof is of the response's body and is
// not checked.
func (d *digest) accepted(p proof, fields []string) error {
	for _, field := range fields {
		info := parseOffers("Digest " + field)
		if len(info) != 1 {
			continue
		}
		if rspauth, ok := info[0].param("rspauth"); ok && d.qop != qopAuthInt {
			d.mu.Lock()
			a1 := d.a1()
			d.mu.Unlock()
			want := d.h(a1, p.nonce, p.nc, d.cnonce, d.qop, d.h("", p.target))
			if d.qop == qopNone {
				want = d.h(a1, p.nonce, d.h("", p.target))
			}
			if subtle.ConstantTimeCompare([]byte(strings.ToLower(rspauth)), []byte(want)) != 1 {
				return errMutual
			}
		}
		if next := info[0].Param("nextnonce"); next != "" {
			d.mu.Lock()
			if d.nonce == p.nonce { // else another request's response has brought a later one
				d.nonce, d.count = next, 0
			}
			d.mu.Unlock()
		}
	}
	return nil
}

// covers reports whether the server's domain has u, which is of its origin. Parts of domain that are of other origins count
// for nothing: a credential does not leave its own.
func (d *digest) covers(origin Space, u *url.URL) bool {
	if len(d.domain) == 0 {
		return true
	}
	for _, raw := range d.domain {
		in, err := url.Parse(raw)
		if err != nil || in.Host != "" && Origin(in) != origin || in.Host == "" && !strings.HasPrefix(in.Path, "/") {
			continue
		}
		if strings.HasPrefix(cleanPath(u), cleanPath(in)) {
			return true
		}
	}
	return false
}

// opener is what opens a request's body anew; nil where it has none.
func opener(req *http.Request) func() (io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	if req.GetBody == nil {
		return func() (io.ReadCloser, error) { return nil, errors.New("it can be read only once") }
	}
	return req.GetBody
}
