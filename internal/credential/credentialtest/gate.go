// Package credentialtest has servers and proxies that want to know who asks, for tests. They check by the RFCs and MS-NLMP
// alone, with nothing of package credential.
package credentialtest

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Gate decides whether a request proves who asks by value, that of its Authorization or Proxy-Authorization. Where it
// does not, challenge is what it is answered with.
type Gate func(r *http.Request, value string) (challenge string, ok bool)

// Basic wants a user and password by RFC 7617.
func Basic(user, password string) Gate {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	return func(_ *http.Request, value string) (string, bool) {
		return `Basic realm="gate", charset="UTF-8"`, subtle.ConstantTimeCompare([]byte(value), []byte(want)) == 1
	}
}

// Bearer wants a token by RFC 6750.
func Bearer(token string) Gate {
	return func(_ *http.Request, value string) (string, bool) {
		return `Bearer realm="gate"`, subtle.ConstantTimeCompare([]byte(value), []byte("Bearer "+token)) == 1
	}
}

// Digest wants a user and password by RFC 7616 with qop "auth", and no count twice. The algorithm is MD5, SHA-256 or
// SHA-512-256.
func Digest(algorithm, user, password string) Gate {
	newHash := map[string]func() hash.Hash{"MD5": md5.New, "SHA-256": sha256.New, "SHA-512-256": sha512.New512_256}[algorithm]
	sum := func(parts ...string) string {
		h := newHash()
		io.WriteString(h, strings.Join(parts, ":"))
		return hex.EncodeToString(h.Sum(nil))
	}
	var mu sync.Mutex
	seen := make(map[string]bool) // nonces, and nonces with a count
	return func(r *http.Request, value string) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		p, isDigest := strings.CutPrefix(value, "Digest ")
		get := func(name string) string { return param(p, name) }
		once := get("nonce") + " " + get("nc")
		a2 := sum(r.Method, get("uri"))
		want := sum(sum(user, "gate", password), get("nonce"), get("nc"), get("cnonce"), "auth", a2)
		ok := isDigest && seen[get("nonce")] && !seen[once] && get("username") == user && get("qop") == "auth" &&
			sameTarget(r, get("uri")) && subtle.ConstantTimeCompare([]byte(get("response")), []byte(want)) == 1
		if ok {
			seen[once] = true
			return "", true
		}
		nonce := rand.Text()
		seen[nonce] = true
		return fmt.Sprintf(`Digest realm="gate", nonce=%q, qop="auth", algorithm=%s`, nonce, algorithm), false
	}
}

// sameTarget reports that uri is what is asked for; at a proxy it may be without the origin.
func sameTarget(r *http.Request, uri string) bool {
	return uri == r.RequestURI || r.URL.IsAbs() && uri == r.URL.RequestURI()
}

// param is the value of a parameter; of a quoted one, what is in the quotes.
func param(list, name string) string {
	for part := range strings.SplitSeq(list, ", ") {
		if n, v, ok := strings.Cut(part, "="); ok && n == name {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}
