package transfer

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// answering has a completion answered by an answer that no honest store gives.
type answering struct {
	http.RoundTripper
	status int
	body   string
	times  int
}

func (a *answering) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(req)
	if err == nil && req.Method == "POST" && a.times > 0 {
		a.times--
		resp.Body.Close()
		resp.StatusCode, resp.Status = a.status, fmt.Sprint(a.status, " ", http.StatusText(a.status))
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(a.body)), -1
	}
	return resp, err
}

// A completion whose answer says nothing, or that the store could not do it now, is asked for again with the same list; no part
// is.
func TestCompletionAgain(t *testing.T) {
	for name, step := range map[string]UploadStep{
		"cut before":            UploadCut(0),
		"cut in the request":    UploadCut(200),
		"answer lost":           UploadLosesAnswer(),
		"answer empty":          MultipartCut(0),
		"answer cut":            MultipartCut(100),
		"answer cut at its end": MultipartCut(300),
		"InternalError in 200":  MultipartFails("InternalError", "We encountered an internal error. Please try again."),
		"SlowDown in 200":       MultipartFails("SlowDown", "Please reduce your request rate."),
		"ServiceUnavailable":    MultipartFails("ServiceUnavailable", "Please try again."),
		"500":                   MultipartError(500, "InternalError", "We encountered an internal error. Please try again."),
		"503":                   MultipartError(503, "SlowDown", "Please reduce your request rate."),
		"RequestTimeout":        MultipartError(400, "RequestTimeout", "Your socket connection timed out."),
	} {
		t.Run(name, func(t *testing.T) {
			p := newParting(t, inFive)
			p.m.Script(0, step)
			res, err := p.attempt()
			if err == nil && res.Response.Status < 500 || strings.HasSuffix(name, "200") && (err == nil || res.Response.Status < 500) {
				t.Fatalf("%+v, %v", res.Response, err)
			}
			p.done(p.attempt())
			if p.puts() != 5 || len(p.srv.RequestsBy("POST")) != 2 {
				t.Errorf("%s", p.requests())
			}
			if all := p.srv.RequestsBy("POST"); all[0].BodySize == all[1].BodySize && all[0].BodySHA256 != all[1].BodySHA256 {
				t.Error("another list was sent")
			}
		})
	}
	for _, body := range []string{"", "  \n", `<?xml version="1.0"?>`, "<CompleteMultipartUploadResult><ETag>x</ETag>"} {
		p := newParting(t, inFive)
		p.a.RoundTripper = &answering{p.a.RoundTripper, 200, body, 1}
		_, err := p.attempt()
		wantCode(t, err, task.ConnectionLost)
		p.done(p.attempt())
	}
}

// White space before the result is life, however long it lasts.
func TestCompletionTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParting(t, inFive, UploadsInMemory())
		defer p.srv.Close()
		p.m.Script(0, UploadAll(MultipartPadding(2000), MultipartPaddingFor(5*time.Minute)))
		begun := time.Now()
		p.done(p.attempt())
		if took := time.Since(begun); took < 5*time.Minute {
			t.Errorf("it took %v", took)
		}
		p.a.RoundTripper.(*transport.Transport).CloseIdleConnections()
	})
	synctest.Test(t, func(t *testing.T) {
		p := newParting(t, inFive, UploadsInMemory())
		defer p.srv.Close()
		p.m.Script(0, UploadStall(10, time.Hour))
		_, err := p.attempt()
		wantCode(t, err, task.TimedOut)
		p.a.RoundTripper.(*transport.Transport).CloseIdleConnections()
	})
}

// What no further completion can mend is an error, also within 200, and says what to do.
func TestCompletionFails(t *testing.T) {
	for _, c := range []struct {
		step  UploadStep
		says  string
		parts string
	}{
		{MultipartFails("AccessDenied", "no"), "AccessDenied", "1 2 3 4 5"},
		{MultipartError(400, "InvalidPart", "One or more."), "send all parts again", "none"},
		{MultipartFails("InvalidPart", "One or more."), "send all parts again", "none"},
		{MultipartError(400, "InvalidPartOrder", "Not in order."), "InvalidPartOrder", "1 2 3 4 5"},
		{MultipartError(400, "EntityTooSmall", "Too small."), "100000 bytes", "1 2 3 4 5"},
		{MultipartError(404, "NoSuchUpload", "No such."), "its parts are gone", "none"},
	} {
		p := newParting(t, inFive)
		p.m.Script(0, c.step)
		_, err := p.attempt()
		if task.CodeOf(err) != task.BadServerResponse || !strings.Contains(err.Error(), c.says) || p.state() != c.parts {
			t.Errorf("%v, left %s", err, p.state())
		}
	}
	p := newParting(t, inFive)
	p.a.RoundTripper = &answering{p.a.RoundTripper, 200, "<html><body>Log in</body></html>", 1}
	if _, err := p.attempt(); task.CodeOf(err) != task.BadServerResponse || !strings.Contains(err.Error(), `"html"`) {
		t.Errorf("%v", err)
	}
	p = newParting(t, inFive)
	p.a.RoundTripper = &answering{p.a.RoundTripper, 200, strings.Repeat(" ", mostCompletion+1), 1}
	if _, err := p.attempt(); task.CodeOf(err) != task.BadServerResponse {
		t.Errorf("%v", err)
	}
}

// An upload that the store does not know is done or lost where a completion may have come, and gone where none can have.
func TestCompletionDoneOrLost(t *testing.T) {
	gone := MultipartError(404, "NoSuchUpload", "The specified upload does not exist.")
	for name, c := range map[string]struct {
		first UploadStep // of the completion
		part  UploadStep // of part 3, in the second attempt
		says  string
	}{
		"answer lost": {UploadLosesAnswer(), nil, "it is done, or it was aborted"},
		"500":         {UploadStatus(500), nil, "it is done, or it was aborted"},
		"no part":     {nil, gone, "begin a new one"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParting(t, inFive)
			if c.first != nil {
				p.m.Script(0, c.first, gone)
				p.attempt()
			} else {
				p.m.Script(3, UploadStatus(500), c.part)
				p.attempt()
			}
			res, err := p.attempt()
			if task.CodeOf(err) != task.BadServerResponse || !strings.Contains(err.Error(), c.says) || res.Response.Status != 404 {
				t.Errorf("%+v, %v", res.Response, err)
			}
			if (p.state() == "none") != (c.part != nil) {
				t.Errorf("left %s", p.state())
			}
		})
	}
}

// A completion that cannot have left is none.
func TestCompletionUnsent(t *testing.T) {
	p := newParting(t, inFive)
	p.m.Script(5, func(*UploadReply) {})
	rt := p.a.RoundTripper
	p.a.RoundTripper = unreachable{rt, "POST"}
	if _, err := p.attempt(); err == nil || p.last.state.Whole || p.state() != "1 2 3 4 5" {
		t.Errorf("%v, %+v", err, p.last.state)
	}
	p.a.RoundTripper = rt
	p.done(p.attempt())
}

// unreachable lets no request of a method leave.
type unreachable struct {
	http.RoundTripper
	method string
}

func (u unreachable) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == u.method {
		return nil, &task.Error{Op: "connect", Code: task.CannotConnect, Unsent: true, Err: io.EOF}
	}
	return u.RoundTripper.RoundTrip(req)
}

// The list has what the parts' answers had, as it stands.
func TestCompletionList(t *testing.T) {
	p := newParting(t, inFive)
	p.m.Script(2, UploadHeader("ETag", `"a&b<c>"`))
	var sent string
	p.a.RoundTripper = watching{p.a.RoundTripper, &sent}
	p.attempt()
	want := `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Part><PartNumber>1</PartNumber><ETag>`
	if !strings.HasPrefix(sent, want) || !strings.Contains(sent, `<Part><PartNumber>2</PartNumber><ETag>&#34;a&amp;b&lt;c&gt;&#34;</ETag></Part>`) {
		t.Errorf("sent %s", sent)
	}
}

// watching keeps the body of a completion.
type watching struct {
	http.RoundTripper
	sent *string
}

func (w watching) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == "POST" {
		body, _ := req.GetBody()
		text, _ := io.ReadAll(body)
		*w.sent = string(text)
	}
	return w.RoundTripper.RoundTrip(req)
}

func TestRootOf(t *testing.T) {
	for document, want := range map[string]string{
		"":     "false",
		"  ":   "false",
		"<a>":  "a false",
		"<a/>": "a true",
		"<?xml version=\"1.0\"?>\n   \n<a xmlns=\"x\"><b>1</b></a>\n": "a true",
		" \n<?xml version=\"1.0\"?><a></a>":                           "a true",
		"<!-- x --><a><b></a>":                                        "a false",
		"text":                                                        "false",
	} {
		name, whole := rootOf([]byte(document))
		if got := strings.TrimSpace(fmt.Sprint(name, " ", whole)); got != want {
			t.Errorf("%q: %s, want %s", document, got, want)
		}
	}
}
