package credential_test

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	. "github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
)

// digestServer is a server of RFC 7616 as a test has it.
type digestServer struct {
	t                    *testing.T
	algorithm, qop, more string
	hash                 func() hash.Hash
	sess                 bool
	stale                int    // nonces that are called stale at their first use
	next                 bool   // nextnonce
	proof                string // in place of rspauth; "": the right one

	mu    sync.Mutex
	count map[string]int // by nonce: the last nc
	a1    string
}

func (s *digestServer) h(parts ...string) string {
	h := s.hash()
	io.WriteString(h, strings.Join(parts, ":"))
	return hex.EncodeToString(h.Sum(nil))
}

func (s *digestServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil {
		s.count = map[string]int{}
	}
	challenge := func(stale bool) {
		nonce := rand.Text()
		s.count[nonce], s.a1 = 0, ""
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="the \"realm\"", nonce="%s", opaque="o", algorithm=%s, stale=%v%s`, nonce, s.algorithm, stale, s.more))
		if s.qop != "" {
			w.Header().Add("WWW-Authenticate", "Basic realm=x")
			w.Header()["Www-Authenticate"][0] += fmt.Sprintf(", qop=%q", s.qop)
		}
		w.WriteHeader(401)
	}
	offers := ParseOffers(r.Header["Authorization"])
	if len(offers) != 1 {
		challenge(false)
		return
	}
	p := offers[0].Param
	last, known := s.count[p("nonce")]
	if known && s.stale > 0 {
		s.stale--
		known = false
	}
	if !known {
		challenge(true)
		return
	}
	user := "alice"
	if p("userhash") == "true" && p("username") == s.h("alice", `the "realm"`) {
	} else if p("username") != "alice" {
		s.t.Errorf("username %s", p("username"))
	}
	if s.a1 == "" {
		s.a1 = s.h(user, `the "realm"`, "pässword")
		if s.sess {
			s.a1 = s.h(s.a1, p("nonce"), p("cnonce"))
		}
	}
	body, _ := io.ReadAll(r.Body)
	hashed := s.hash()
	hashed.Write(body)
	suffix := ""
	if p("qop") == "auth-int" {
		suffix = ":" + hex.EncodeToString(hashed.Sum(nil))
	}
	respond := func(method string) string {
		a2 := s.h(method + ":" + r.RequestURI + suffix)
		if p("qop") == "" {
			return s.h(s.a1, p("nonce"), a2)
		}
		return s.h(s.a1, p("nonce"), p("nc"), p("cnonce"), p("qop"), a2)
	}
	if s.qop != "" {
		if nc := fmt.Sprintf("%08x", last+1); p("nc") != nc {
			s.t.Errorf("nc is %s, want %s", p("nc"), nc)
		}
	}
	if p("uri") != r.RequestURI || p("opaque") != "o" || p("response") != respond(r.Method) {
		challenge(false)
		return
	}
	s.count[p("nonce")]++
	suffix = ""
	info := fmt.Sprintf(`rspauth="%s", qop=auth`, respond(""))
	if s.proof != "" {
		info = fmt.Sprintf("rspauth=%q", s.proof)
	}
	if s.next {
		nonce := rand.Text()
		s.count[nonce] = 0
		info += fmt.Sprintf(", nextnonce=%q", nonce)
	}
	w.Header().Set("Authentication-Info", info)
}

func TestDigestExchanges(t *testing.T) {
	md5s := func(s *digestServer) *digestServer { s.algorithm, s.hash = "MD5", md5.New; return s }
	for name, c := range map[string]struct {
		server *digestServer
		first  string // seen of a first PUT
		later  string // of a second
	}{
		"MD5":                 {md5s(&digestServer{qop: "auth"}), "PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"MD5, auth-int alone": {md5s(&digestServer{qop: "auth-int"}), "PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"RFC 2069":            {md5s(&digestServer{}), "PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"SHA-256, both": {&digestServer{qop: "auth-int, auth", algorithm: "SHA-256", hash: sha256.New},
			"PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"SHA-256-sess, nextnonce": {&digestServer{qop: "auth", algorithm: "SHA-256-sess", hash: sha256.New, sess: true, next: true},
			"PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"SHA-512-256, userhash": {&digestServer{qop: "auth", algorithm: "SHA-512-256", hash: sha512.New512_256, more: ", userhash=true, charset=UTF-8"},
			"PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"stale": {md5s(&digestServer{qop: "auth", stale: 2}), "PUT /x 4, PUT /x Digest 4, PUT /x Digest 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"always stale": {md5s(&digestServer{qop: "auth", stale: 5}), "PUT /x 4, PUT /x Digest 4, PUT /x Digest 4, PUT /x Digest 4, PUT /x Digest 4",
			"PUT /x 4, PUT /x Digest 4, PUT /x Digest 4"},
		"domain": {md5s(&digestServer{qop: "auth", more: `, domain="/y https://other.example/"`}), "PUT /x 4, PUT /x Digest 4", "PUT /x 4, PUT /x Digest 4"},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.server
			s.t = t
			b := newBench(t, Policy{}, s.ServeHTTP)
			must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("pässword")))
			status := 200
			if name == "always stale" {
				status = 401
			}
			b.expect(b.send("PUT", "/x?q=1", "body", status), c.first)
			b.expect(b.send("PUT", "/x?q=1", "body", 200), c.later)
		})
	}
}

func TestDigestThatTheServerHasForgotten(t *testing.T) {
	s := &digestServer{t: t, qop: "auth", algorithm: "MD5", hash: md5.New}
	b := newBench(t, Policy{Tries: 1}, s.ServeHTTP)
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("pässword")))
	b.get("/", 200)
	s.mu.Lock()
	clear(s.count)
	s.mu.Unlock()
	b.expect(b.get("/", 200), "GET / Digest 0, GET / Digest 0") // which is no refusal of the credential
}

func TestDigestOfAnImpostor(t *testing.T) {
	s := &digestServer{t: t, qop: "auth", algorithm: "MD5", hash: md5.New, proof: strings.Repeat("0", 32)}
	b := newBench(t, Policy{}, s.ServeHTTP)
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("pässword")))
	if _, err := b.do("GET", b.server.URL, ""); !errors.Is(err, task.BadServerResponse) || !strings.Contains(err.Error(), "proven") {
		t.Errorf("got %v", err)
	}
}

func TestDigestAtOnce(t *testing.T) {
	s := &digestServer{t: t, algorithm: "MD5", hash: md5.New} // without qop: its nc may come in any order
	b := newBench(t, Policy{}, s.ServeHTTP)
	b.base.(*http.Transport).MaxConnsPerHost = 0
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("pässword")))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if status, err := b.do("GET", b.server.URL, ""); status != 200 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	wg.Wait()
}
