package urlsessiontest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Redirect answers with a redirect status and Location as it stands, relative,
// of another origin or malformed; empty leaves Location out. A loop is
// Always(path, Redirect(302, path)).
func Redirect(status int, location string, also ...Step) Step {
	return func(r *Reply) {
		r.respond(status, "", "")
		if location != "" {
			r.Header.Set("Location", location)
		}
		All(also...)(r)
	}
}

// RedirectForever redirects to the same path with a number in the query that
// grows at each turn, so that no URL comes twice.
func RedirectForever(status int) Step {
	return func(r *Reply) {
		n, _ := strconv.Atoi(r.Request.URL.Query().Get("turn"))
		Redirect(status, fmt.Sprintf("%s?turn=%d", r.Request.URL.EscapedPath(), n+1))(r)
	}
}

// RedirectChain makes path redirect hops times, by paths of its own below it,
// and the last hop to location. It panics if hops is not positive.
func (s *Server) RedirectChain(path string, status, hops int, location string) {
	if hops < 1 {
		panic(fmt.Sprintf("urlsessiontest: redirect chain of %d hops", hops))
	}
	for i := range hops {
		from, to := path, location
		if i > 0 {
			from = fmt.Sprintf("%s/%d", path, i)
		}
		if i < hops-1 {
			to = fmt.Sprintf("%s/%d", path, i+1)
		}
		s.Always(from, Redirect(status, to))
	}
}

// Unauthorized is 401 with WWW-Authenticate fields, each sent as it stands.
func Unauthorized(challenges ...string) Step {
	return Status(http.StatusUnauthorized, SetHeader("WWW-Authenticate", challenges...))
}

// ProxyAuthenticationRequired is 407 with Proxy-Authenticate fields, each sent
// as it stands.
func ProxyAuthenticationRequired(challenges ...string) Step {
	return Status(http.StatusProxyAuthRequired, SetHeader("Proxy-Authenticate", challenges...))
}

// Without is true for requests that lack a header field, for [When]:
// When(Without("Authorization"), Unauthorized(`Basic realm="x"`)).
func Without(field string) func(*http.Request) bool {
	return func(req *http.Request) bool { return req.Header.Get(field) == "" }
}

// BodyDespite answers with a status that can have no content, such as 204 or
// 304, and sends content with it.
func BodyDespite(status int, body string) Step {
	return func(r *Reply) {
		r.respond(status, "text/plain; charset=utf-8", body)
		r.setBody(Bytes(body), 0, int64(len(body)))
	}
}

// BodyToHEAD sends the body also in answer to HEAD.
func BodyToHEAD() Step { return func(r *Reply) { r.bodyToHEAD = true } }

// interim is a 1xx answer and how many times it is sent; −1 is without end.
type interim struct {
	status int
	header http.Header
	times  int
}

// Interim sends an interim answer before the reply: 100 that nobody asked for,
// 102, 103, or one nobody knows. 101 too, though it is never meant.
func Interim(status int, header http.Header) Step { return InterimFlood(status, header, 1) }

// InterimFlood sends the same interim answer many times before the reply; a
// negative number is until the client leaves.
func InterimFlood(status int, header http.Header, times int) Step {
	header = header.Clone()
	return func(r *Reply) {
		r.interim = append(r.interim, interim{status, header, times})
	}
}

// EarlyHints sends 103 with Link fields (RFC 8297) before the reply.
func EarlyHints(links ...string) Step {
	return Interim(http.StatusEarlyHints, http.Header{"Link": links})
}

// EndlessHeader sends field after field and never ends the header.
func EndlessHeader() Step {
	return func(r *Reply) {
		head := strings.TrimSuffix(string(r.head()), "\r\n")
		fields := &endless{next: func(i int) []byte {
			return fmt.Appendf(nil, "X-Endless-%d: %s\r\n", i, strings.Repeat("n", 64))
		}}
		r.Raw = io.MultiReader(strings.NewReader(head), fields)
	}
}

// EndlessField sends one header field whose value never ends.
func EndlessField() Step {
	return func(r *Reply) {
		head := strings.TrimSuffix(string(r.head()), "\r\n") + "X-Endless: "
		value := &endless{next: func(int) []byte { return []byte(strings.Repeat("n", 4<<10)) }}
		r.Raw = io.MultiReader(strings.NewReader(head), value)
	}
}

// endless is a reader without end: the pieces that next makes, one by one.
type endless struct {
	next func(i int) []byte
	i    int
	rest []byte
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		e.rest = e.next(e.i)
		e.i++
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}
