package transfer

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// Every fault, on a fresh download and on one that is gone on with: the right bytes or a clear code, never a wrong file.
// A want of 0 is success. After a failure the next attempt, at an honest server, must succeed.
func TestFaults(t *testing.T) {
	const (
		good  = task.Code(0)
		lost  = task.ConnectionLost
		bad   = task.BadServerResponse
		parse = task.CannotParseResponse
		idle  = task.TimedOut
		skip  = task.Code(1) // it does not end, or is no fault there
	)
	coded := task.Code(2) // success, with other bytes: those that were sent
	changed := Body{Seed: 2, Size: file.Size}
	for _, c := range []struct {
		name           string
		step           Step
		fresh, resumed task.Code
	}{
		// Lengths.
		{"promises more", LengthOff(100), lost, good},  // resumed: its Content-Range disagrees, and all is fetched
		{"promises less", LengthOff(-100), skip, lost}, // fresh: nobody can tell; resumed: the Content-Range does
		{"no length", NoLength(), good, good},
		{"http10", HTTP10(), good, good},
		{"chunked", Chunked(), good, good},
		{"no last chunk", NoLastChunk(), lost, lost},
		{"bad chunk", BadChunkSize(1000, "zz"), parse, parse},
		{"negative chunk", BadChunkSize(1000, "-1"), parse, parse},
		{"huge chunk", BadChunkSize(1000, "7fffffffffffffff"), lost, lost},
		{"too huge chunk", BadChunkSize(1000, "fffffffffffffffff"), parse, parse},
		{"two lengths", TwoLengths(), bad, bad},
		{"length and chunked", LengthAndChunked(), good, good},
		{"endless body", EndlessBody(), skip, bad},
		{"trailing", Trailing("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), good, good},

		// Cuts.
		{"silent", Silent(), lost, lost},
		{"cut in status line", CloseAt(AtByte(5)), lost, lost},
		{"cut in header", CloseAt(MidHeader()), lost, lost},
		{"cut before body", Truncate(0), lost, lost},
		{"cut after a byte", Truncate(1), lost, lost},
		{"cut before the last byte", Truncate(199_999), lost, lost},
		{"reset before header", ResetAt(BeforeHeader()), lost, lost},
		{"reset in body", ResetAt(AtBody(50_000)), lost, lost},
		{"closes when done", CloseAt(AtEnd()), good, good},

		// Time. The fixture's timer is 500 ms here.
		{"stall before header", StallAt(BeforeHeader(), Forever), idle, idle},
		{"stall in header", StallAt(MidHeader(), Forever), idle, idle},
		{"stall in body", StallAt(AtBody(1000), Forever), idle, idle},
		{"short stall", StallAt(AtBody(1000), 50*time.Millisecond), good, good},

		// Ranges that lie.
		{"ignores range", IgnoreRange(), good, good},
		{"206 unasked", Partial(0, file.Size-1), bad, good},
		{"206 elsewhere", Partial(50_000, file.Size-1), bad, good},
		{"wrong start", WrongStart(1), good, good},
		{"wrong start below", WrongStart(-1), good, good},
		{"wrong end", WrongEnd(-1), good, good}, // a body longer than its range is discarded, and all is fetched
		{"end beyond", WrongEnd(1), good, good},
		{"wrong total", WrongTotal(1), good, good},
		{"unknown total", UnknownTotal(), good, good},
		{"no content-range", NoContentRange(), good, good},
		{"bad content-range", ContentRange("bytes 100000-x/300000"), good, good},
		{"content-range of other unit", ContentRange("lines 100000-299999/300000"), good, good},
		{"multipart", MultipartRange(), good, good},
		{"multipart with a range", All(MultipartRange(), Chunked(), SetHeader("Content-Range", "bytes 100000-299999/300000")), good, good},
		{"body longer than range", RangeBodyOff(10), good, good},
		{"body longer than range, chunked", All(RangeBodyOff(10), Chunked()), good, bad},
		{"body shorter than range", RangeBodyOff(-10), good, lost},
		{"body shorter than range, chunked", All(RangeBodyOff(-10), Chunked()), good, lost},
		{"416", Unsatisfiable("bytes */300000"), coded, good},
		{"no validators", NoValidators(), good, good},
		{"other etag", OtherETag(`"v2"`), good, good},
		{"weak etag", OtherETag(`W/"v1"`), good, good},

		// Content that changes.
		{"changed", All(Serving(Resource{Content: changed, ETag: `"v2"`})), coded, coded},
		{"changed, If-Range ignored", All(Serving(Resource{Content: changed, ETag: `"v2"`}), IgnoreIfRange()), coded, good},
		{"changed length, same etag", All(Serving(Resource{Content: Body{Seed: 2, Size: 300_001}, ETag: `"v1"`})), coded, good},

		// Codings.
		{"gzip", Gzip(), coded, good},
		{"gzip, chunked", All(Gzip(), Chunked()), coded, good},

		// No HTTP.
		{"garbage", Garbage(1000), parse, parse},
		{"http09", HTTP09(), parse, parse},
		{"bad status line", StatusLine("HTTP/1.1 abc OK"), parse, parse},
		{"endless header", EndlessHeader(), parse, parse},
		{"endless field", EndlessField(), parse, parse},
		{"bad header line", HeaderLine("no colon here"), parse, parse},

		// Interim answers and redirects.
		{"103", EarlyHints("</x>; rel=preload"), good, good},
		{"1xx flood", InterimFlood(103, http.Header{"X": {"y"}}, -1), bad, bad},
		{"redirect loop", Redirect(302, "/f"), good, good}, // once
		{"no location", Redirect(302, ""), task.RedirectWithoutLocation, task.RedirectWithoutLocation},
		{"bad location", Redirect(302, "http://[::1"), bad, bad},
		{"other scheme", Redirect(302, "file:///etc/passwd"), task.UnsupportedURL, task.UnsupportedURL},
	} {
		for _, resumed := range []bool{false, true} {
			want := c.fresh
			name := c.name + "/fresh"
			if resumed {
				want, name = c.resumed, c.name+"/resumed"
			}
			if want == skip {
				continue
			}
			t.Run(name, func(t *testing.T) {
				srv, a := newFixture(t)
				if resumed {
					a = interrupt(t, srv, a, 100_000)
				}
				if want == idle {
					a.Spec.Policy.RequestTimeout = 500 * time.Millisecond
				}
				srv.Script("/f", c.step)
				res, err := Run(t.Context(), a)
				switch want {
				case good:
					wantFile(t, res, err, file)
					return
				case coded:
					if err != nil {
						t.Fatal(err)
					}
					if file.CheckFile(res.Path) == nil {
						t.Error("the file is the resource's, and something else was sent")
					}
					return
				}
				wantCode(t, err, want)
				wantNoFile(t, a)
				a = again(a)
				a.Spec.Policy.RequestTimeout = 20 * time.Second
				res, err = Run(t.Context(), a)
				wantFile(t, res, err, file)
			})
		}
	}
}

// A cut at any byte of the message, head and framing included, is lost and gone on from; none makes a file.
func TestCutAnywhere(t *testing.T) {
	srv, a := newFixture(t)
	small := Body{Seed: 5, Size: 300}
	srv.Publish("/f", Resource{Content: small, ETag: `"v1"`})
	for _, framing := range []Step{Honest(), Chunked()} {
		for n := int64(1); ; n++ {
			b := newDownload(t, a.RoundTripper, a.Spec.Request.URL, filepath.Join(t.TempDir(), "file.bin"))
			srv.Script("/f", All(framing, CloseAt(AtByte(n))))
			res, err := Run(t.Context(), b)
			if err == nil { // the cut is behind the message's end
				wantFile(t, res, err, small)
				if n < 400 {
					t.Fatalf("a message cut after %d bytes made a file", n)
				}
				break
			}
			wantCode(t, err, task.ConnectionLost)
			wantNoFile(t, b)
		}
	}
}

// The same over TLS, where the end of the connection is not the end of a message. (A body without length or chunks has
// no end but the connection's: crypto/tls takes a missing close_notify for one.)
func TestTLSTruncation(t *testing.T) {
	for name, framing := range map[string]Step{"length": Honest(), "chunked": Chunked()} {
		t.Run(name, func(t *testing.T) {
			srv, a := newFixture(t, WithTLS(ValidCertificate))
			srv.Script("/f", All(framing, DropAt(AtBody(100_000))))
			_, err := Run(t.Context(), a)
			wantCode(t, err, task.ConnectionLost)
			wantNoFile(t, a)
			res, err := Run(t.Context(), again(a))
			wantFile(t, res, err, file)
		})
	}
}

func TestUnsent(t *testing.T) {
	srv, a := newFixture(t)
	srv.Close()
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.CannotConnect)
	if !err.(*task.Error).Unsent {
		t.Error("nothing had left, and the error does not say so")
	}
	srv, a = newFixture(t)
	srv.Script("/f", Silent())
	_, err = Run(t.Context(), a)
	if err.(*task.Error).Unsent {
		t.Error("the request had left, and the error says it had not")
	}
}
