package test

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	t "github.com/urlsession/urlsession/urlsessiontest"
)

// scenario is a named behaviour of a server: how it listens, and what it publishes and does.
type scenario struct {
	options []t.Option
	set     func(srv *t.Server, args []string)
}

const mib = 1 << 20

// version is the content of /f: 24 MiB of a seed, with a strong ETag that names the seed. It comes over one connection, also on a
// machine that is so slow that further ones would seem to help.
func version(seed uint64) t.Resource {
	res := spreadable(seed)
	res.Header = unspread
	return res
}

// spreadable is version for downloads over several connections.
func spreadable(seed uint64) t.Resource {
	return t.Resource{Content: t.Body{Seed: seed, Size: 24 * mib}, ETag: `"v` + strconv.FormatUint(seed, 10) + `"`}
}

// unspread keeps a download on one connection. It may still be gone on from: that is tried whatever Accept-Ranges says.
var unspread = http.Header{"Accept-Ranges": {"none"}}

// plain is a scenario over plain HTTP, which keeps the beginning of each body that it is sent.
func plain(set func(srv *t.Server, args []string)) scenario {
	return scenario{[]t.Option{t.KeepBodies(4 << 10)}, set}
}

// secured is one over TLS, with that kind of handshake, which publishes version 1, and a few bytes at /s.
func secured(h t.Handshake) scenario {
	return scenario{[]t.Option{t.WithTLS(h)}, func(srv *t.Server, _ []string) {
		srv.Publish("/f", version(1))
		srv.Publish("/s", t.Resource{Content: t.Bytes("hello, world\n"), ETag: `"s"`})
	}}
}

// faulty publishes version 1 at /f and answers each request with the step.
func faulty(step t.Step) scenario {
	return plain(func(srv *t.Server, _ []string) {
		srv.Publish("/f", version(1))
		srv.Always("/f", step)
	})
}

// resource publishes a resource at /f.
func resource(res t.Resource) scenario {
	return plain(func(srv *t.Server, _ []string) { srv.Publish("/f", res) })
}

// stopsAt holds each whole answer back after so many bytes, until the client goes.
func stopsAt(n int64) t.Step {
	return t.When(t.Without("Range"), t.HoldAt(t.AtBody(n), t.NewGate()))
}

func with(change func(*t.Resource)) t.Resource {
	res := version(1)
	change(&res)
	return res
}

var longAgo = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)

// scenes are what scripts call by name: origin VAR NAME.
var scenes = map[string]scenario{
	// Whole and honest.
	"honest": resource(version(1)),
	"empty":  resource(t.Resource{ETag: `"e"`}),
	"small":  resource(t.Resource{Content: t.Bytes("hello, world\n"), ETag: `"s"`, ContentType: "text/plain"}),
	"kept":   resource(t.Resource{Content: t.Bytes("hello, world\n"), ETag: `"k"`, Header: http.Header{"Cache-Control": {"max-age=3600"}}}),
	// Held back each connection, so that a file comes over several.
	"paced": {[]t.Option{t.ConnectionRate(8 * mib)}, func(srv *t.Server, _ []string) { srv.Publish("/f", spreadable(1)) }},
	"gzip": plain(func(srv *t.Server, _ []string) {
		srv.Publish("/f", t.Resource{Content: t.Bytes("hello, world\n"), ContentType: "text/plain"})
		srv.Always("/f", t.When(func(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") }, t.Gzip()))
	}),
	"many": plain(func(srv *t.Server, _ []string) {
		srv.PublishFunc(func(path string) (t.Resource, bool) {
			return t.Resource{Content: t.Bytes("content of " + path + "\n")}, true
		})
	}),
	// Every even number is missing.
	"half": plain(func(srv *t.Server, _ []string) {
		srv.PublishFunc(func(path string) (t.Resource, bool) {
			n, err := strconv.Atoi(strings.TrimPrefix(path, "/"))
			return t.Resource{Content: t.Bytes(path)}, err == nil && n%2 == 1
		})
	}),

	// Stopped in the middle: a request without Range never ends.
	"stops":      faulty(stopsAt(20 * mib)),
	"stops-weak": plain(stopped(with(func(r *t.Resource) { r.ETag = `W/"w1"` }))),
	"stops-none": plain(stopped(with(func(r *t.Resource) { r.ETag = "" }))),
	"stops-date": plain(stopped(with(func(r *t.Resource) { r.ETag, r.LastModified = "", longAgo }))),
	"stops-digest": plain(stopped(with(func(r *t.Resource) {
		r.Digests = []t.Digest{t.ReprDigest("sha-256")}
	}))),
	// What an origin that runs becomes.
	"goes-on":             faulty(t.Honest()),
	"goes-on-weak":        resource(with(func(r *t.Resource) { r.ETag = `W/"w1"` })),
	"changed":             plain(func(srv *t.Server, _ []string) { srv.Publish("/f", version(2)); srv.Always("/f", t.Honest()) }),
	"lies":                plain(lies),
	"ignores-range":       faulty(t.IgnoreRange()),
	"unsatisfiable":       faulty(t.When(hasRange, t.Unsatisfiable("bytes */1000"))),
	"unsatisfiable-whole": faulty(t.When(hasRange, t.Unsatisfiable("bytes */25165824"))),
	"wrong-start":         faulty(t.When(hasRange, t.WrongStart(-1))),
	"wrong-total":         faulty(t.When(hasRange, t.WrongTotal(1))),
	"unknown-total":       faulty(t.When(hasRange, t.UnknownTotal())),
	"other-etag":          faulty(t.When(hasRange, t.OtherETag(`"other"`))),
	"no-validators":       faulty(t.When(hasRange, t.NoValidators())),
	"multipart":           faulty(t.When(hasRange, t.MultipartRange())),

	// Bodies that are not what was promised, to every request.
	"short":         faulty(t.LengthOff(1000)),
	"long":          faulty(t.LengthOff(-1000)),
	"cut-once":      plain(func(srv *t.Server, _ []string) { srv.Publish("/f", version(1)); srv.Script("/f", t.Truncate(9*mib)) }),
	"no-last-chunk": faulty(t.NoLastChunk()),
	"chunked":       faulty(t.Chunked()),
	"two-lengths":   faulty(t.TwoLengths()),
	"garbage":       faulty(t.Garbage(1000)),
	"wrong-digest":  resource(with(func(r *t.Resource) { r.Digests = []t.Digest{t.ReprDigest("sha-256").Wrong()} })),
	"digest":        resource(with(func(r *t.Resource) { r.Digests = []t.Digest{t.ReprDigest("sha-256")} })),
	"stall":         faulty(t.HoldAt(t.AtBody(1000), t.NewGate())),
	"slow":          faulty(t.Slow(4 * mib)),
	"holds":         plain(func(srv *t.Server, _ []string) { srv.Always(t.Every, t.HoldAt(t.BeforeHeader(), t.NewGate())) }),
	"unpartial":     faulty(t.Partial(0, 999)),

	// Statuses: origin VAR status CODE; flaky CODE is one, then the file.
	"status": plain(func(srv *t.Server, args []string) { srv.Always(t.Every, t.Status(number(args[0]))) }),
	"flaky": plain(func(srv *t.Server, args []string) {
		srv.Publish("/f", version(1))
		srv.Script("/f", t.Status(number(args[0]), t.RetryAfter(0)))
	}),
	// Half of the body, then a reset, then honest.
	"resets-once": plain(func(srv *t.Server, _ []string) {
		srv.Publish("/f", version(1))
		srv.Script("/f", t.ResetAt(t.AtBody(12*mib)))
	}),

	// Redirects: origin VAR redirect CODE LOCATION.
	"redirect": plain(func(srv *t.Server, args []string) { srv.Always("/r", t.Redirect(number(args[0]), args[1])) }),
	"loop":     plain(func(srv *t.Server, _ []string) { srv.Always(t.Every, t.RedirectForever(http.StatusFound)) }),
	"nowhere": plain(func(srv *t.Server, _ []string) {
		srv.Always("/r", t.All(t.Redirect(http.StatusFound, "/"), t.SetHeader("Location")))
	}),

	// What becomes of a request's body.
	"takes": plain(func(*t.Server, []string) {}),
	"echo": plain(func(srv *t.Server, _ []string) {
		srv.Always(t.Every, t.Respond(http.StatusOK, "application/json", `{"answer":42}`))
	}),
	"cookies": plain(func(srv *t.Server, _ []string) {
		srv.Always(t.Every, t.All(t.Respond(http.StatusOK, "text/plain", "hello"), t.SetCookie("id=17; Path=/")))
	}),
	"secretive": plain(func(srv *t.Server, _ []string) { // secrets in whatever an answer can have them in
		set := t.SetCookie("k="+secret+"-set; Max-Age=3600", "fleeting="+secret+"-fleeting")
		srv.Always(t.Every, t.Respond(http.StatusOK, "text/plain", "hello", set))
		srv.Always("/r", t.Redirect(http.StatusFound, "/f?signature="+secret+"-location", set))
		srv.Always("/locked", t.Unauthorized(`Basic realm="r"`))
	}),
	"leaky": plain(func(srv *t.Server, _ []string) {
		srv.Publish("/f", with(func(r *t.Resource) {
			r.Header = http.Header{"Accept-Ranges": {"none"}, "Set-Cookie": {"id=" + secret}, "Content-Location": {"/f?token=" + secret}}
		}))
	}),
	"escapes": plain(func(srv *t.Server, _ []string) {
		srv.Publish("/f", with(func(r *t.Resource) { r.Content = t.Bytes("hello, world\n") }))
		srv.Always("/f", t.SetHeader("X-Evil", "\u009b31m\u202e"))
		srv.Always("/none", t.All(t.Status(http.StatusNotFound), t.StatusLine("HTTP/1.1 404 \x1b[31mEvil\x1b]0;title\a\u009b31m")))
		srv.Always("/none/not-http", t.Raw("\x1b[31mnot HTTP\r\n\r\n"))
		srv.Always("/unasked", t.BodyDespite(http.StatusNoContent, "\x1b[31mnobody asked for this"))
	}),
	"wants-login":   faulty(t.When(t.Without("Authorization"), t.Unauthorized(`Basic realm="x"`))),
	"refuses-login": plain(func(srv *t.Server, _ []string) { srv.Always(t.Every, t.Unauthorized(`Basic realm="x"`)) }),

	// Names: origin VAR name DISPOSITION names every file so.
	"name": plain(func(srv *t.Server, args []string) {
		srv.PublishFunc(func(string) (t.Resource, bool) {
			return t.Resource{Content: t.Bytes("content\n"), ContentDisposition: strings.Join(args, " ")}, true
		})
	}),

	"tls":                 secured(t.ValidCertificate),
	"tls-expired":         secured(t.ExpiredCertificate),
	"tls-not-yet":         secured(t.NotYetValidCertificate),
	"tls-wrong-host":      secured(t.WrongHostCertificate),
	"tls-self-signed":     secured(t.SelfSignedCertificate),
	"tls-unknown-root":    secured(t.UnknownRootCertificate),
	"tls-no-intermediate": secured(t.MissingIntermediate),
	"tls-client":          secured(t.ClientCertificate),
	"tls-1.0":             secured(t.TLS10Only),
	"tls-1.1":             secured(t.TLS11Only),
	"tls-garbage":         secured(t.HandshakeGarbage),
	"tls-close":           secured(t.HandshakeClose),
	"tls-reset":           secured(t.HandshakeReset),
	"tls-stall":           secured(t.HandshakeStall),
}

func hasRange(r *http.Request) bool { return r.Header.Get("Range") != "" }

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// stopped publishes res at /f and stops each whole answer at 20 MiB.
func stopped(res t.Resource) func(*t.Server, []string) {
	return func(srv *t.Server, _ []string) {
		srv.Publish("/f", res)
		srv.Always("/f", stopsAt(20*mib))
	}
}

// lies has another content of the same size under the old ETag, and lies to If-Range: nothing but a digest can tell.
func lies(srv *t.Server, _ []string) {
	res := version(2)
	res.ETag = version(1).ETag
	srv.Publish("/f", res)
	srv.Always("/f", t.Honest())
}
