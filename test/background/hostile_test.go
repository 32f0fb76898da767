package background

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// hostileFile is what the origins of TestHostile honestly have.
var hostileFile = Body{Seed: 1, Size: 300_000}

// fault is one way of an origin to misbehave.
type fault struct {
	name string
	step Step
	// other is what a file may be of, beside the honest one: what the origin sent under a head that agrees with it, so that
	// nobody can tell.
	other []Content
	// anything: so can nobody tell of anything that it sends, such as a body whose length is not said.
	anything bool
	// heals: once, it must not end a fresh download in an error.
	heals bool
	// endless: only the timeout for resource ends it.
	endless bool
	// starves: in answer to each request for a part it serves the beginning well, and never the end; or what is left of it comes as the
	// next answer would.
	starves bool
}

// stubborn is the fault where it need not heal.
func (f fault) stubborn() fault {
	f.heals = false
	return f
}

// faults are those of urlsessiontest, of an origin that honestly has file, whose ETag is "v1".
func faults(file Body) []fault {
	changed := Body{Seed: 2, Size: file.Size}
	longer := Body{Seed: 2, Size: file.Size + 1}
	size := func(n int64) Content { return Body{Seed: file.Seed, Size: n} }
	return []fault{
		// Lengths.
		{name: "promises more", heals: true, step: LengthOff(100)},
		{name: "promises less", starves: true, step: LengthOff(-100), other: []Content{size(file.Size - 100)}},
		{name: "malformed length", step: SetHeader("Content-Length", "12x")},
		{name: "negative length", step: SetHeader("Content-Length", "-1")},
		{name: "no length", heals: true, step: NoLength()},
		{name: "no length, cut", step: All(NoLength(), Truncate(1000)), other: []Content{size(1000)}},
		{name: "http10", heals: true, step: HTTP10()},
		{name: "chunked", heals: true, step: Chunked()},
		{name: "no last chunk", heals: true, step: NoLastChunk()},
		{name: "bad chunk", step: BadChunkSize(1000, "zz")},
		{name: "negative chunk", step: BadChunkSize(1000, "-1")},
		{name: "huge chunk", step: BadChunkSize(1000, "7fffffffffffffff")},
		{name: "too huge chunk", step: BadChunkSize(1000, "fffffffffffffffff")},
		{name: "two lengths", step: TwoLengths()},
		{name: "length and chunked", heals: true, step: LengthAndChunked()},
		{name: "endless body", endless: true, step: All(EndlessBody(), Slow(mib))},
		{name: "trailing", heals: true, step: Trailing("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")},
		{name: "announces its close", heals: true, step: Announcing()},

		// Cuts, at each boundary.
		{name: "silent", heals: true, step: Silent()},
		{name: "cut in status line", heals: true, step: CloseAt(AtByte(5))},
		{name: "cut in header", heals: true, step: CloseAt(MidHeader())},
		{name: "cut before body", heals: true, step: Truncate(0)},
		{name: "cut after a byte", heals: true, step: Truncate(1)},
		{name: "cut before the last byte", heals: true, step: Truncate(file.Size - 1)},
		{name: "cut in chunks", heals: true, step: All(Chunked(), Truncate(50_000))},
		{name: "cut before the last chunk", heals: true, step: All(Chunked(), CloseAt(BodyEnd()))},
		{name: "reset before header", heals: true, step: ResetAt(BeforeHeader())},
		{name: "reset in header", heals: true, step: ResetAt(MidHeader())},
		{name: "reset in body", heals: true, step: ResetAt(AtBody(50_000))},
		{name: "closes when done", heals: true, step: CloseAt(AtEnd())},
		{name: "resets when done", step: ResetAt(AtEnd())},

		// Time.
		{name: "stall before header", heals: true, step: StallAt(BeforeHeader(), Forever)},
		{name: "stall in header", heals: true, step: StallAt(MidHeader(), Forever)},
		{name: "stall in body", starves: true, heals: true, step: StallAt(AtBody(1000), Forever)},
		{name: "stall at the end", heals: true, step: StallAt(AtBody(file.Size-1), Forever)},
		{name: "slow loris header", step: SlowHeader(300 * time.Millisecond)},

		// Ranges that lie.
		{name: "ignores range", heals: true, step: IgnoreRange()},
		{name: "206 unasked", step: Partial(0, file.Size-1)},
		{name: "206 elsewhere", step: Partial(50_000, file.Size-1)},
		{name: "wrong start", step: WrongStart(1)},
		{name: "wrong start below", step: WrongStart(-1)},
		{name: "wrong end", step: WrongEnd(-1)},
		{name: "end beyond", step: WrongEnd(1)},
		{name: "wrong total", step: WrongTotal(1)},
		{name: "unknown total", step: UnknownTotal()},
		{name: "no content-range", step: NoContentRange()},
		{name: "bad content-range", step: ContentRange(fmt.Sprintf("bytes 100000-x/%d", file.Size))},
		{name: "content-range of another unit", step: ContentRange(fmt.Sprintf("lines 100000-%d/%d", file.Size-1, file.Size))},
		{name: "multipart", step: MultipartRange()},
		{name: "body longer than range", step: RangeBodyOff(10)},
		{name: "body longer than range, chunked", step: All(RangeBodyOff(10), Chunked())},
		{name: "body shorter than range", step: RangeBodyOff(-10)},
		{name: "body shorter than range, chunked", step: All(RangeBodyOff(-10), Chunked())},
		{name: "416", step: Unsatisfiable(fmt.Sprintf("bytes */%d", file.Size)), anything: true},
		{name: "416 that lies", step: Unsatisfiable("bytes */100000"), anything: true},
		{name: "416 without range", step: Unsatisfiable(""), anything: true},
		{name: "no validators", heals: true, step: NoValidators()},
		{name: "other etag", heals: true, step: OtherETag(`"v2"`)},
		{name: "weak etag", heals: true, step: OtherETag(`W/"v1"`)},
		{name: "malformed etag", heals: true, step: OtherETag(`v1`)},

		// Content that changes.
		{name: "changed", step: Changed(Resource{Content: changed, ETag: `"v2"`}), other: []Content{changed}},
		{name: "changed, If-Range ignored", step: All(Serving(Resource{Content: changed, ETag: `"v2"`}), IgnoreIfRange()), other: []Content{changed}},
		{name: "changed length, same etag", step: Serving(Resource{Content: longer, ETag: `"v1"`}), other: []Content{longer}},

		// Digests that are not the content's.
		{name: "wrong repr-digest", step: Serving(Resource{Content: file, ETag: `"v1"`, Digests: []Digest{ReprDigest("sha-256").Wrong()}})},
		{name: "wrong content-md5", step: Serving(Resource{Content: file, ETag: `"v1"`, Digests: []Digest{ContentMD5().Wrong()}})},

		// Codings.
		{name: "gzip", step: Gzip(), anything: true},
		{name: "gzip, chunked", step: All(Gzip(), Chunked()), anything: true},
		{name: "gzip that is none", step: MislabelCoding("gzip")},
		{name: "unknown coding", step: MislabelCoding("x-nobody")},

		// No HTTP.
		{name: "garbage", step: Garbage(1000)},
		{name: "http09", step: HTTP09()},
		{name: "bad status line", step: StatusLine("HTTP/1.1 abc OK")},
		{name: "icy", step: StatusLine("ICY 200 OK")},
		{name: "endless header", step: EndlessHeader()},
		{name: "endless field", step: EndlessField()},
		{name: "bad header line", step: HeaderLine("no colon here")},
		{name: "NUL in a header", step: HeaderLine("X: a\x00b")},

		// Interim answers, redirects and statuses.
		{name: "103", heals: true, step: EarlyHints("</x>; rel=preload")},
		{name: "100 unasked", heals: true, step: Interim(100, nil)},
		{name: "101", step: Interim(101, nil)},
		{name: "1xx flood", step: InterimFlood(103, http.Header{"X": {"y"}}, -1)},
		{name: "redirect loop", heals: true, step: Redirect(302, "/f")},
		{name: "redirect without end", step: RedirectForever(302)},
		{name: "no location", step: Redirect(302, "")},
		{name: "bad location", step: Redirect(302, "http://[::1")},
		{name: "other scheme", step: Redirect(302, "file:///etc/passwd")},
		{name: "204 with a body", step: BodyDespite(204, "body"), anything: true},
		{name: "304 with a body", step: BodyDespite(304, "body"), anything: true},
		{name: "401", step: Unauthorized(`Basic realm="x"`)},
		{name: "407", step: ProxyAuthenticationRequired(`Basic realm="x"`)},
		{name: "404", step: Status(404)},
		{name: "429 for a second", heals: true, step: Status(429, RetryAfter(time.Second))},
		{name: "503 for an hour", step: Status(503, RetryAfter(time.Hour))},
		{name: "503 with a bad Retry-After", heals: true, step: Status(503, SetHeader("Retry-After", "soon"))},
	}
}

// handshakes are those of an origin with TLS; each connection begins by one.
var handshakes = map[string]Handshake{
	"expired": ExpiredCertificate, "not yet valid": NotYetValidCertificate, "wrong host": WrongHostCertificate,
	"self-signed": SelfSignedCertificate, "unknown root": UnknownRootCertificate, "missing intermediate": MissingIntermediate,
	"wants a certificate": ClientCertificate, "TLS 1.0": TLS10Only, "TLS 1.1": TLS11Only, "TLS garbage": HandshakeGarbage,
	"TLS close": HandshakeClose, "TLS reset": HandshakeReset, "TLS stall": HandshakeStall,
}

// Every fault of an origin, once and for ever, on a fresh background download and on one that has 100,000 bytes, ends in
// time: in a file that is whole and of one version, or in an error with a code and no file. All run at once in one daemon,
// each with an origin of its own.
func TestHostile(t *testing.T) {
	t.Parallel()
	k := running(t)
	c := k.configuration("com.example.hostile")
	c.RootCAs = CAPEM()
	c.TimeoutForRequest, c.TimeoutForResource = time.Second, 5*time.Second
	forever := k.session(c)
	c = k.configuration("com.example.once") // what heals has the time to, on any machine
	c.RootCAs = CAPEM()
	c.TimeoutForRequest, c.TimeoutForResource = 2*time.Second, 40*time.Second
	once := k.session(c)
	folder := t.TempDir()
	ctx := bounded(t)
	var all sync.WaitGroup
	try := func(s *urlsession.Session, name string, f fault, handshake Handshake, prepare func(*Server)) {
		all.Go(func() {
			var o []Option
			if handshake >= 0 {
				o = append(o, WithTLS(handshake))
			}
			srv := NewServer(o...)
			defer srv.Close()
			srv.Publish("/f", Resource{Content: hostileFile, ETag: `"v1"`})
			prepare(srv)
			path := filepath.Join(folder, fmt.Sprintf("%x", name))
			if err := hostile(ctx, s, srv.URL, path, hostileFile, f); err != nil {
				t.Errorf("%s: %v", name, err)
				for _, r := range srv.Requests() {
					t.Logf("%s: %s %s %q: %d, %d bytes sent", name, r.Method, r.Target, r.Range(), r.Status, r.Sent)
				}
			}
		})
	}
	const plain = Handshake(-1)
	held := Truncate(100_000)
	for _, f := range faults(hostileFile) {
		try(forever, f.name+"/fresh, for ever", f.stubborn(), plain, func(s *Server) { s.Always("/f", f.step) })
		try(forever, f.name+"/resumed, for ever", f.stubborn(), plain, func(s *Server) { s.Script("/f", held); s.Always("/f", f.step) })
		if f.endless {
			continue
		}
		try(once, f.name+"/fresh", f, plain, func(s *Server) { s.Script("/f", f.step) })
		try(once, f.name+"/resumed", f.stubborn(), plain, func(s *Server) { s.Script("/f", held, f.step) })
	}
	for name, h := range handshakes {
		f := fault{name: name}
		cut := fault{name: name, heals: h == HandshakeClose || h == HandshakeReset || h == HandshakeStall}
		try(once, name+"/fresh", cut, ValidCertificate, func(s *Server) { s.ScriptHandshakes(h) })
		try(once, name+"/resumed", f, ValidCertificate, func(s *Server) { s.ScriptHandshakes(ValidCertificate, h); s.Script("/f", held) })
		try(forever, name+"/for ever", f, h, func(*Server) {})
	}
	for name, cut := range map[string]Step{"drop": DropAt(AtBody(50_000)), "tear": TearAt(AtBody(50_000)), "drop in chunks": All(Chunked(), DropAt(AtBody(50_000)))} {
		f := fault{name: name, step: cut}
		try(once, "TLS "+name+"/fresh", f, ValidCertificate, func(s *Server) { s.Script("/f", cut) })
		try(once, "TLS "+name+"/resumed", f, ValidCertificate, func(s *Server) { s.Script("/f", held, cut) })
	}
	all.Wait()
	if _, peak := k.resident(); peak > 256*mib && !*withRace {
		t.Errorf("the daemon had %d MiB resident", peak>>20)
	}
}

// hostile runs one download to its end, and says what is wrong with it.
func hostile(ctx context.Context, s *urlsession.Session, url, path string, file Body, f fault) error {
	task, err := s.DownloadTask(ctx, urlsession.Get(url+"/f"), path)
	if err != nil {
		return err
	}
	_, err = task.Wait(ctx)
	if ctx.Err() != nil {
		st, _ := task.Status(context.WithoutCancel(ctx))
		return fmt.Errorf("it does not end: %+v", st)
	}
	if err != nil {
		failure, ok := errors.AsType[*urlsession.Error](err)
		if f.heals {
			return fmt.Errorf("it has failed where the next attempt would have succeeded: %w", err)
		}
		if !ok || failure.Code == urlsession.ErrUnknown || failure.Code == 0 {
			return fmt.Errorf("its error has no code: %w", err)
		}
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("it has failed (%w), and there is a file", failure)
		}
		return nil
	}
	if f.anything {
		return nil
	}
	for _, body := range append([]Content{file}, f.other...) {
		if b := body.(Body); b.CheckFile(path) == nil {
			return nil
		}
	}
	st, err := task.Status(ctx)
	if err != nil {
		return err
	}
	if st.Response != nil && st.Response.StatusCode >= 300 {
		return nil // a response like any other, and its body
	}
	return fmt.Errorf("it has made a wrong file: %w (%+v)", file.CheckFile(path), st)
}
