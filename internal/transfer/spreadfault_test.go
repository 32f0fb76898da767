package transfer

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// Each fault, of one further connection and of all: the right bytes, over those that are honest.
func TestSpreadFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault Step
		all   task.Code // where nothing but the fault answers ranges; 0: the file
	}{
		{"silent", Silent(), 0},
		{"cut in header", CloseAt(MidHeader()), 0},
		{"cut before body", Truncate(0), 0},
		{"cut in body", Truncate(100_000), task.ConnectionLost},
		{"cut before the last byte", All(RangeBodyOff(-1), LengthOff(1)), task.ConnectionLost},
		{"reset", ResetAt(AtBody(200_000)), task.ConnectionLost},
		{"stall before header", StallAt(BeforeHeader(), Forever), 0},
		{"stall in header", StallAt(MidHeader(), Forever), 0},
		{"stall before body", StallAt(AtBody(0), Forever), 0},
		{"stall in body", StallAt(AtBody(300_000), Forever), task.TimedOut},
		{"slow header", SlowHeader(time.Second), 0},
		{"crawl", Slow(1000), 0},
		{"ignores range", IgnoreRange(), 0},
		{"wrong start", WrongStart(1), 0},
		{"wrong end", WrongEnd(1), 0},
		{"wrong end below", WrongEnd(-1), 0},
		{"wrong total", WrongTotal(1), 0},
		{"unknown total", UnknownTotal(), 0},
		{"no content-range", NoContentRange(), 0},
		{"bad content-range", ContentRange("bytes x"), 0},
		{"multipart", MultipartRange(), 0},
		{"longer body", All(RangeBodyOff(10), Chunked()), 0},
		{"shorter body", All(RangeBodyOff(-10), Chunked()), 0},
		{"shorter body, said", RangeBodyOff(-10), 0},
		{"no last chunk", NoLastChunk(), 0},
		{"chunked", Chunked(), 0},
		{"bad chunk", BadChunkSize(1000, "zz"), 0},
		{"no validators", NoValidators(), 0},
		{"weak etag", OtherETag(`W/"v1"`), 0},
		{"other etag", OtherETag(`"v2"`), 0},
		{"gzip", Gzip(), 0},
		{"416", Unsatisfiable(fmt.Sprintf("bytes */%d", brief.Size)), 0},
		{"403", Status(403), 0},
		{"429", Status(429, RetryAfter(time.Hour)), 0},
		{"503", Status(503), 0},
		{"401", Unauthorized(`Basic realm="r"`), 0},
		{"204", Status(204), 0},
		{"304", Status(304), 0},
		{"redirect", Redirect(302, "/elsewhere"), 0},
		{"1xx flood", InterimFlood(103, http.Header{"X": {"y"}}, -1), 0},
		{"garbage", Garbage(1000), 0},
		{"endless header", EndlessHeader(), 0},
		{"other total and version", All(Serving(Resource{Content: Body{Seed: 2, Size: brief.Size + 1}, ETag: `"v2"`}), IgnoreIfRange()), 0},
		{"other version", All(Serving(Resource{Content: Body{Seed: 2, Size: brief.Size}, ETag: `"v2"`}), IgnoreIfRange()), 0},
		{"other version, all of it", Serving(Resource{Content: Body{Seed: 2, Size: brief.Size}, ETag: `"v2"`}), 0},
	} {
		t.Run(c.name+"/one", func(t *testing.T) {
			spreadOver(t, 4, func(t *testing.T, d *spreading) {
				d.srv.Publish("/f", Resource{Content: brief, ETag: `"v1"`})
				d.srv.Script("/f", Honest(), Honest(), c.fault)
				d.mustRun(t, brief)
			})
		})
		t.Run(c.name+"/all", func(t *testing.T) {
			spreadOver(t, 4, func(t *testing.T, d *spreading) {
				d.srv.Publish("/f", Resource{Content: brief, ETag: `"v1"`})
				d.srv.Always("/f", When(func(r *http.Request) bool { return r.Header.Get("Range") != "" }, c.fault))
				if c.all != 0 {
					res, err := Run(t.Context(), d.a)
					wantCode(t, err, c.all)
					wantNoFile(t, d.a)
					d.resume(t, brief, res.ResumeData)
					return
				}
				d.mustRun(t, brief)
				// One connection brings all, and its request may come twice.
				if took, most := time.Since(d.start), 15*time.Second; took > most {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A part that is said to be coded is none, even where its length would be right.
func TestCodedPartIsRefused(t *testing.T) {
	h := held{total: 1000, validator: partial.Validator{ETag: `"v1"`}}
	resp := &http.Response{
		StatusCode: 206, ContentLength: 100,
		Header: http.Header{"Etag": {`"v1"`}, "Content-Range": {"bytes 100-199/1000"}},
	}
	q := question{from: 100, to: 200}
	if _, why := judgeSegment(q, h, resp); why != "" {
		t.Fatal(why)
	}
	resp.Header.Set("Content-Encoding", "gzip")
	if _, why := judgeSegment(q, h, resp); why == "" {
		t.Error("it is taken")
	}
}
