package httpcache

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

// head is what is stored of a response beside its body. It is not changed once it is stored.
type head struct {
	ID        []byte      `json:"id"` // random: no two entries share one, and it is the key of Digest
	URL       string      `json:"url"`
	Status    int         `json:"status"`
	Proto     string      `json:"proto"`
	Header    http.Header `json:"header"`
	Requested time.Time   `json:"requested"`        // when the request was sent
	Received  time.Time   `json:"received"`         // when the response's head came, or the head of the last 304
	Vary      []string    `json:"vary,omitempty"`   // the request's fields that selected it, in lower case, sorted
	Digest    []byte      `json:"digest,omitempty"` // of their values
	Length    int64       `json:"length"`           // of the body, in bytes

	// Of a body in a file of its own:
	Body   string `json:"body,omitempty"`   // the end of the file's name
	Chunks []byte `json:"chunks,omitempty"` // see chunk
}

// key names a URL's entries.
type key [sha256.Size]byte

// keyOf is the key of what GET of req's URL brings, and that URL in the form that is compared: without userinfo and
// fragment, its host in lower case without a default port. The host is the Host field's; where the URL has another, that
// is said behind it: what came from there is no answer for those who ask the host itself.
func keyOf(req *http.Request) (key, string) { return keyOfURL(req.URL, req.Host) }

func keyOfURL(u *url.URL, host string) (key, string) {
	c := *u
	c.User, c.Fragment, c.RawFragment, c.ForceQuery = nil, "", "", u.ForceQuery && u.RawQuery == ""
	c.Scheme = strings.ToLower(c.Scheme)
	from := canonicalHost(c.Scheme, c.Host)
	if c.Host = from; host != "" {
		c.Host = canonicalHost(c.Scheme, host)
	}
	if c.Path == "" && c.Opaque == "" {
		c.Path = "/"
	}
	s := c.String()
	if c.Host != from {
		s += " from " + from
	}
	var buffer [256]byte // most fit in
	return sha256.Sum256(append(append(buffer[:0], http.MethodGet+" "...), s...)), s
}

func canonicalHost(scheme, host string) string {
	host = strings.ToLower(host)
	if port := (&url.URL{Host: host}).Port(); port == defaultPort[scheme] || port == "" {
		host = strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
	}
	return host
}

var defaultPort = map[string]string{"http": "80", "https": "443"}

// newHead is what is to be stored of resp.
func newHead(q *query, resp *http.Response, requested, received time.Time) *head {
	h := &head{
		ID: make([]byte, 16), URL: q.url, Status: resp.StatusCode, Proto: resp.Proto,
		Header: storedFields(resp.Header), Requested: requested.Round(0), Received: received.Round(0),
	}
	rand.Read(h.ID)
	if len(h.Header["Date"]) == 0 { // RFC 9110, section 6.6.1
		h.Header.Set("Date", h.Received.UTC().Format(http.TimeFormat))
	}
	return h
}

// selectBy notes that the request's fields that the response varies by have selected it. It is false for a response that no
// other request selects: Vary: *, or what is no field's name.
//
// Authorization is always among them, unless the response is public: what one user's credentials brought is for these
// credentials, and an answer without them is none with them. RFC 9111 leaves that to a private cache, which it takes to
// have one user; an application may have several accounts. What is coded is only for who accepts the same codings, also
// where the server forgets to say so.
func (h *head) selectBy(req http.Header) bool {
	var names []string
	if !responseDirectives(h.Header).has("public") {
		names = append(names, "authorization")
	}
	if h.Header["Content-Encoding"] != nil {
		names = append(names, "accept-encoding")
	}
	for _, v := range h.Header["Vary"] {
		for name := range strings.SplitSeq(v, ",") {
			switch name = strings.ToLower(textproto.TrimString(name)); name {
			case "":
			default:
				if name == "*" || strings.ContainsFunc(name, func(r rune) bool { return r > 127 || !isToken(byte(r)) }) {
					return false
				}
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	h.Vary = slices.Compact(names)
	h.Digest = h.digest(req)
	return true
}

// selects reports whether h is for a request with these fields.
func (h *head) selects(req http.Header) bool { return hmac.Equal(h.Digest, h.digest(req)) }

// digest tells the values of the fields that h varies by from others, without saying them: they hold credentials.
func (h *head) digest(req http.Header) []byte {
	m := hmac.New(sha256.New, h.ID)
	for _, name := range h.Vary {
		m.Write([]byte(name))
		if values, ok := req[http.CanonicalHeaderKey(name)]; ok {
			m.Write([]byte{1})
			m.Write([]byte(normalize(values)))
		}
		m.Write([]byte{0})
	}
	return m.Sum(nil)
}

// normalize makes lists that differ in lines and whitespace equal (RFC 9111, section 4.1). Commas in quoted strings are
// taken as any: two values may be told apart that mean the same, never the reverse, but for whitespace beside such a comma.
func normalize(values []string) string {
	var b strings.Builder
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			if item = textproto.TrimString(item); item != "" {
				b.WriteString(item)
				b.WriteByte(',')
			}
		}
	}
	return b.String()
}

// neverStored are fields of the connection (RFC 9111, section 3.1), and those whose secret was for this answer alone: a
// cookie is in the jar, and must not come back with an old answer.
var neverStored = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Set-Cookie", "Set-Cookie2", "Authentication-Info",
}

// storedFields is the part of a response's header that may be stored. no-cache="field" is kept by not storing the field.
func storedFields(h http.Header) http.Header {
	c := h.Clone()
	if c == nil {
		c = make(http.Header)
	}
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			c.Del(textproto.TrimString(name))
		}
	}
	for _, name := range neverStored {
		delete(c, name)
	}
	if cc := responseDirectives(h); !cc.always("no-cache") {
		for _, name := range cc.fields("no-cache") {
			delete(c, name)
		}
	}
	return c
}

// ofBody are fields that a 304 or an answer to HEAD cannot change: they say what the stored body is (RFC 9111, section 3.2).
var ofBody = []string{"Content-Length", "Content-Encoding", "Content-Type", "Content-Range"}

// updated is h with the fields of a 304, or of an answer to HEAD, for the same body.
func (h *head) updated(fields http.Header, req http.Header, requested, received time.Time) *head {
	n := *h
	n.Requested, n.Received = requested.Round(0), received.Round(0)
	n.Header = h.Header.Clone()
	delete(n.Header, "Age") // it was h's
	delete(n.Header, "Date")
	for name, values := range storedFields(fields) {
		if !slices.Contains(ofBody, name) {
			n.Header[name] = values
		}
	}
	if len(n.Header["Date"]) == 0 {
		n.Header.Set("Date", n.Received.UTC().Format(http.TimeFormat))
	}
	n.selectBy(req)
	return &n
}

func (h *head) etag() string         { return h.Header.Get("Etag") }
func (h *head) lastModified() string { return h.Header.Get("Last-Modified") }

// validatable reports whether the server can be asked whether h is still right.
func (h *head) validatable() bool { return h.etag() != "" || h.lastModified() != "" }

// weakMatch is RFC 9110's weak comparison of two entity tags (section 8.8.3.2).
func weakMatch(a, b string) bool { return strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/") }

// strongMatch is its strong one.
func strongMatch(a, b string) bool { return a == b && a != "" && !strings.HasPrefix(a, "W/") }
