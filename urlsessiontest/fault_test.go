package urlsessiontest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// What is seen on the wire of a GET under each step: lines of the header, and
// the body to the connection's end.
func TestStepsOnTheWire(t *testing.T) {
	whole := content(file)
	ranged := []string{"Range: bytes=1000-1999"}
	part := whole[1000:2000]
	v2 := Body{Seed: 8, Size: file.Size}
	chunks := func(body string) string { // as the server cuts them
		var b strings.Builder
		for len(body) > 0 {
			n := min(len(body), 64<<10)
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		return b.String()
	}
	multipart := "--urlsessiontest-boundary\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 1000-1999/200000\r\n\r\n" +
		part + "\r\n--urlsessiontest-boundary--\r\n"

	for name, c := range map[string]struct {
		step  Step
		lines []string
		head  []string
		body  string
	}{
		"honest":         {Honest(), nil, []string{"HTTP/1.1 200 OK", "Content-Length: 200000"}, whole},
		"truncate":       {Truncate(70_000), nil, []string{"Content-Length: 200000"}, whole[:70_000]},
		"truncate at 0":  {Truncate(0), nil, []string{"Content-Length: 200000"}, ""},
		"close at end":   {CloseAt(AtEnd()), nil, nil, whole},
		"length too big": {LengthOff(5), nil, []string{"Content-Length: 200005"}, whole},
		"length short":   {LengthOff(-5), nil, []string{"Content-Length: 199995"}, whole},
		"no length":      {NoLength(), nil, []string{"!Content-Length", "!Transfer-Encoding", "Connection: close"}, whole},
		"HTTP/1.0":       {HTTP10(), nil, []string{"HTTP/1.0 200 OK", "!Content-Length"}, whole},
		"chunked":        {Chunked(), nil, []string{"!Content-Length", "Transfer-Encoding: chunked"}, chunks(whole) + "0\r\n\r\n"},
		"chunked range":  {Chunked(), ranged, []string{"HTTP/1.1 206 Partial Content", "Content-Range: bytes 1000-1999/200000"}, chunks(part) + "0\r\n\r\n"},
		"no last chunk":  {NoLastChunk(), nil, []string{"Transfer-Encoding: chunked"}, chunks(whole)},
		"cut chunk":      {All(Chunked(), CloseAt(AtBody(10))), nil, nil, chunks(whole[:10])},
		"bad chunk size": {BadChunkSize(1000, "zz"), nil, []string{"Transfer-Encoding: chunked"}, chunks(whole[:1000]) + "zz\r\n" + whole[1000:]},
		"first is bad":   {BadChunkSize(0, "-1"), nil, nil, "-1\r\n" + whole},
		"two lengths":    {TwoLengths(), nil, []string{"Content-Length: 200000", "Content-Length: 200001"}, whole},
		"both":           {LengthAndChunked(), nil, []string{"Content-Length: 200001", "Transfer-Encoding: chunked"}, chunks(whole) + "0\r\n\r\n"},
		"no such length": {SetHeader("Content-Length", "-5"), nil, []string{"Content-Length: -5"}, whole},
		"trailing":       {Trailing("HTTP/1.1 "), nil, []string{"Content-Length: 200000"}, whole + "HTTP/1.1 "},

		"ignore range":     {IgnoreRange(), ranged, []string{"HTTP/1.1 200 OK", "!Content-Range"}, whole},
		"partial unasked":  {Partial(0, 199_999), nil, []string{"HTTP/1.1 206 Partial Content", "Content-Range: bytes 0-199999/200000"}, whole},
		"partial other":    {Partial(5, 9), ranged, []string{"Content-Range: bytes 5-9/200000", `ETag: "v1"`}, whole[5:10]},
		"ignore if-range":  {IgnoreIfRange(), append([]string{`If-Range: "v0"`}, ranged...), []string{"HTTP/1.1 206 Partial Content"}, part},
		"wrong start":      {WrongStart(-1), ranged, []string{"Content-Range: bytes 999-1999/200000", "Content-Length: 1000"}, part},
		"wrong end":        {WrongEnd(7), ranged, []string{"Content-Range: bytes 1000-2006/200000", "Content-Length: 1000"}, part},
		"wrong total":      {WrongTotal(1), ranged, []string{"Content-Range: bytes 1000-1999/200001"}, part},
		"unknown total":    {UnknownTotal(), ranged, []string{"Content-Range: bytes 1000-1999/*"}, part},
		"malformed range":  {ContentRange("bytes x"), ranged, []string{"Content-Range: bytes x"}, part},
		"no content-range": {NoContentRange(), ranged, []string{"HTTP/1.1 206 Partial Content", "!Content-Range"}, part},
		"range untouched":  {All(WrongStart(1), ContentRange("x"), RangeBodyOff(1), MultipartRange()), nil, []string{"HTTP/1.1 200 OK", "!Content-Range"}, whole},
		"longer range":     {RangeBodyOff(10), ranged, []string{"Content-Range: bytes 1000-1999/200000", "Content-Length: 1010"}, part + content(Body{Seed: 1, Size: 10})},
		"shorter range":    {RangeBodyOff(-10), ranged, []string{"Content-Range: bytes 1000-1999/200000", "Content-Length: 990"}, part[:990]},
		"multipart": {MultipartRange(), ranged, []string{"HTTP/1.1 206 Partial Content", "!Content-Range",
			"Content-Type: multipart/byteranges; boundary=urlsessiontest-boundary", "Content-Length: " + strconv.Itoa(len(multipart))}, multipart},
		"416":            {Unsatisfiable("bytes */7"), ranged, []string{"HTTP/1.1 416 Requested Range Not Satisfiable", "Content-Range: bytes */7"}, "416 Requested Range Not Satisfiable\n"},
		"416 bare":       {Unsatisfiable(""), ranged, []string{"!Content-Range"}, "416 Requested Range Not Satisfiable\n"},
		"other etag":     {OtherETag(`W/"x"`), ranged, []string{`ETag: W/"x"`}, part},
		"no validators":  {NoValidators(), ranged, []string{"!ETag", "!Last-Modified"}, part},
		"serving":        {Serving(Resource{Content: v2, ETag: `"v1"`}), ranged, []string{`ETag: "v1"`}, content(v2)[1000:2000]},
		"serving weakly": {Serving(Resource{Content: v2, ETag: `W/"v1"`}), nil, []string{`ETag: W/"v1"`}, content(v2)},

		"mislabelled":    {MislabelCoding("br"), nil, []string{"Content-Encoding: br", "Content-Length: 200000"}, whole},
		"status":         {Status(503, RetryAfter(2*time.Second)), nil, []string{"HTTP/1.1 503 Service Unavailable", "Retry-After: 2", "!ETag"}, "503 Service Unavailable\n"},
		"respond":        {Respond(201, "text/x", "hi", SetHeader("A", "1", "2")), nil, []string{"HTTP/1.1 201 Created", "A: 1", "A: 2", "Content-Length: 2"}, "hi"},
		"unknown status": {Status(799), nil, []string{"HTTP/1.1 799 "}, "799 \n"},
		"204 with body":  {BodyDespite(204, "boo"), nil, []string{"HTTP/1.1 204 No Content", "Content-Length: 3"}, "boo"},
		"304 with body":  {BodyDespite(304, "boo"), nil, []string{"HTTP/1.1 304 Not Modified", "Content-Length: 3"}, "boo"},
		"401":            {Unauthorized(`Basic realm="a"`, "Digest nonsense,,"), nil, []string{"HTTP/1.1 401 Unauthorized", `WWW-Authenticate: Basic realm="a"`, "WWW-Authenticate: Digest nonsense,,"}, "401 Unauthorized\n"},
		"407":            {ProxyAuthenticationRequired("X"), nil, []string{"HTTP/1.1 407 Proxy Authentication Required", "Proxy-Authenticate: X"}, "407 Proxy Authentication Required\n"},
		"cookies":        {SetCookie("a=1", "b=\x01; Path=x"), nil, []string{"Set-Cookie: a=1", "Set-Cookie: b=\x01; Path=x"}, whole},
		"redirect":       {Redirect(302, "http://[::1"), nil, []string{"HTTP/1.1 302 Found", "Location: http://[::1"}, "302 Found\n"},
		"nowhere":        {Redirect(307, ""), nil, []string{"HTTP/1.1 307 Temporary Redirect", "!Location"}, "307 Temporary Redirect\n"},
		"status line":    {StatusLine("HTTP/1.1 2OO OK"), nil, []string{"HTTP/1.1 2OO OK", `ETag: "v1"`}, whole},
		"header line":    {All(HeaderLine("no colon"), HeaderLine("X: a\x00b")), nil, []string{"no colon", "X: a\x00b"}, whole},
		"dropped field":  {SetHeader("Date"), nil, []string{"!Date"}, whole},
		"when":           {When(Without("Range"), Status(500)), ranged, []string{"HTTP/1.1 206 Partial Content"}, part},
		"when not":       {When(Without("Range"), Status(500)), nil, []string{"HTTP/1.1 500 Internal Server Error"}, "500 Internal Server Error\n"},
		"own step":       {func(r *Reply) { r.Body = strings.NewReader("own"); r.Reason = "Fine" }, nil, []string{"HTTP/1.1 200 Fine", "Content-Length: 200000"}, "own"},
		"dead body":      {func(r *Reply) { r.Body = io.MultiReader(strings.NewReader("a"), failing{}) }, nil, nil, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t)
			srv.Script("/f", c.step)
			head, body := get(t, srv, c.lines...)
			has(t, head, c.head...)
			same(t, body, c.body)
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("failing") }

func TestCutAtEveryByteOfAShortAnswer(t *testing.T) {
	srv := newServer(t)
	srv.Publish("/f", Resource{Content: Bytes("0123456789"), Date: time.Unix(1e9, 0)})
	for _, framing := range []Step{Honest(), Chunked()} {
		srv.Script("/f", framing)
		whole, err := exchange(t, srv, request("GET"))
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(whole) + 1 {
			srv.Script("/f", All(framing, CloseAt(AtByte(int64(n)))))
			if got, err := exchange(t, srv, request("GET")); got != whole[:n] || err != nil {
				t.Fatalf("cut at %d: %q, %v", n, got, err)
			}
		}
	}
}

func TestSilentMidHeaderAndReset(t *testing.T) {
	srv := newServer(t)
	srv.Script("/f", Silent(), CloseAt(MidHeader()), ResetAt(AtBody(1000)), ResetAt(BeforeHeader()))
	if got, err := exchange(t, srv, request("GET")); got != "" || err != nil {
		t.Errorf("silent: %q, %v", got, err)
	}
	got, err := exchange(t, srv, request("GET"))
	if err != nil || !strings.HasPrefix(got, "HTTP/1.1 200") || strings.Contains(got, "\r\n\r\n") {
		t.Errorf("mid header: %q, %v", got, err)
	}
	for range 2 {
		if got, err := exchange(t, srv, request("GET")); !isReset(err) || len(got) > 2000 {
			t.Errorf("reset: %d bytes, %v", len(got), err)
		}
	}
}

func TestPointsOfOneReplyComeInOrder(t *testing.T) {
	srv := newServer(t)
	var gates []*Gate
	var steps []Step
	for _, p := range []Point{BeforeHeader(), AtByte(3), MidHeader(), AtBody(0), AtBody(100_000), BodyEnd(), AtEnd()} {
		gates = append(gates, NewGate())
		steps = append(steps, HoldAt(p, gates[len(gates)-1]))
	}
	srv.Script("/f", All(steps...))
	c, err := srv.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, request("GET"))
	c.SetDeadline(time.Now().Add(20 * time.Second))
	br := bufio.NewReader(c)
	var held []int
	var got strings.Builder
	for i, gate := range gates {
		if err := gate.Wait(within(t)); err != nil {
			t.Fatalf("gate %d: %v", i, err)
		}
		// What has been sent so far can all be read, and no more.
		if i == 1 {
			p := make([]byte, 3)
			io.ReadFull(br, p)
			got.Write(p)
			if br.Buffered() != 0 {
				t.Errorf("at byte 3 there is more: %q", p)
			}
		}
		held = append(held, i)
		gate.Open()
	}
	rest, err := io.ReadAll(br)
	got.Write(rest)
	if _, body, _ := cutHead(got.String()); err != nil || body != content(file) || len(held) != len(gates) {
		t.Errorf("%d bytes of body, %v", len(body), err)
	}
}

func TestHeldReplyEndsWhenTheClientLeaves(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithTLS(ValidCertificate)}, {InMemory()}, {InMemory(), WithTLS(ValidCertificate)}} {
		srv := newServer(t, opts...)
		srv.Script("/f", StallAt(AtBody(1000), Forever))
		resp, err := srv.Client().Get(srv.URL + "/f")
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(resp.Body, make([]byte, 1000))
		if now := srv.Load().Requests; now != 1 {
			t.Errorf("%d requests while one is held", now)
		}
		resp.Body.Close()
		if err := srv.WaitDisconnected(within(t)); err != nil {
			t.Error("the stall outlives its client")
		}
		if got := srv.Sent("/f"); got != 1000 {
			t.Errorf("sent %d", got)
		}
	}
}

func TestAKeptConnectionLivesThroughStalls(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithTLS(ValidCertificate)}, {InMemory()}, {InMemory(), WithTLS(ValidCertificate)}} {
		srv := newServer(t, opts...)
		client := srv.Client()
		for range 3 {
			srv.Script("/f", All(StallAt(AtBody(10), time.Millisecond), Delay(time.Millisecond)))
			_, body, err := fetch(client, srv.URL+"/f")
			if err != nil {
				t.Fatal(err)
			}
			same(t, body, content(file))
		}
		if n := srv.Load().TotalConnections; n != 1 {
			t.Errorf("%d connections for three requests", n)
		}
	}
}

// Whatever happens to others, who is answered honestly gets the right bytes.
func TestManyAtOnce(t *testing.T) {
	srv := newServer(t, WithTLS(ValidCertificate))
	client := srv.Client()
	steps := []Step{Honest(), Truncate(100), ResetAt(AtBody(70_000)), Chunked(), Status(503), All(Chunked(), DropAt(AtByte(90_000))),
		Slow(50 << 20), Garbage(100), Delay(time.Millisecond), SlowHeader(time.Microsecond)}
	for i := range 300 {
		srv.Script("/f", steps[i%len(steps)])
	}
	var all sync.WaitGroup
	var whole atomic.Int64
	for range 20 {
		all.Go(func() {
			for range 15 {
				resp, body, err := fetch(client, srv.URL+"/f")
				if err == nil && resp.StatusCode == 200 && int64(len(body)) == file.Size {
					whole.Add(1)
					same(t, body, content(file))
				}
				srv.Requests()
				srv.Load()
			}
		})
	}
	all.Wait()
	if n := srv.Count("/f"); n < 300 || whole.Load() < 120 {
		t.Errorf("%d requests, %d whole", n, whole.Load())
	}
}

func TestCloseEndsEveryStall(t *testing.T) {
	for name, step := range map[string]Step{
		"stall": StallAt(AtBody(1000), Forever), "header": StallAt(MidHeader(), Forever), "gate": HoldAt(AtByte(0), NewGate()),
		"slow": Slow(1), "loris": SlowHeader(time.Hour), "endless": EndlessBody(), "never": NeverRead(), "flood": InterimFlood(102, nil, -1),
	} {
		for _, opt := range [][]Option{nil, {InMemory()}, {WithTLS(ValidCertificate)}} {
			srv := NewServer(opt...)
			srv.Publish("/f", Resource{Content: file})
			srv.Script("/f", step)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				resp, err := srv.Client().Post(srv.URL+"/f", "", strings.NewReader("body"))
				if err == nil {
					// The client does not read, and so the server may block in a write.
					defer resp.Body.Close()
				}
			}()
			if err := srv.WaitRequests(within(t), "/f", 1); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			srv.Close()
			<-ended
		}
	}
}

func TestCloseEndsStalledHandshakes(t *testing.T) {
	for _, opts := range [][]Option{nil, {InMemory()}, {WithTLS(HandshakeStall)}} {
		srv := NewServer(opts...)
		srv.ScriptHandshakes(HandshakeStall)
		failed := make(chan error)
		go func() {
			_, _, err := fetch(srv.Client(), srv.URL+"/f")
			failed <- err
		}()
		if err := srv.WaitConnections(within(t), 1); err != nil {
			t.Fatal(err)
		}
		srv.Close()
		if err := <-failed; err == nil {
			t.Error("a stalled connection answered")
		}
	}
}

// An announced end is told to the client, an unannounced one is not.
func TestEndsOfKeptConnections(t *testing.T) {
	srv := newServer(t)
	for _, c := range []struct {
		step  Step
		close bool
	}{{Announcing(), true}, {CloseAt(AtEnd()), false}, {ResetAt(AtEnd()), false}} {
		srv.Script("/f", c.step)
		resp, err := srv.Client().Head(srv.URL + "/f")
		if err != nil || resp.Close != c.close {
			t.Errorf("%v, %v", resp, err)
		}
		if err := srv.WaitDisconnected(within(t)); err != nil {
			t.Error("the connection stays open")
		}
	}
}

func TestInterimAnswers(t *testing.T) {
	srv := newServer(t)
	srv.Script("/f", All(EarlyHints("</a>; rel=preload"), Interim(100, nil), InterimFlood(199, nil, 2)))
	answer, err := exchange(t, srv, request("GET"))
	const want = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" +
		"HTTP/1.1 199 \r\n\r\nHTTP/1.1 199 \r\n\r\nHTTP/1.1 200 OK\r\n"
	if err != nil || !strings.HasPrefix(answer, want) {
		t.Errorf("%v: %.300q", err, answer)
	}
	srv.Script("/f", InterimFlood(103, nil, -1))
	if _, _, err := fetch(srv.Client(), srv.URL+"/f"); err == nil {
		t.Error("an endless flood ended well")
	}
}

func TestRedirects(t *testing.T) {
	srv := newServer(t)
	srv.RedirectChain("/chain", 302, 5, "/f")
	if _, body, err := fetch(srv.Client(), srv.URL+"/chain"); err != nil || body != content(file) {
		t.Errorf("chain: %d bytes, %v", len(body), err)
	}
	if n := srv.Load().TotalRequests; n != 6 {
		t.Errorf("%d requests for a chain of 5", n)
	}
	srv.Always("/loop", Redirect(302, "/loop"))
	srv.Always("/more", RedirectForever(302))
	for _, path := range []string{"/loop", "/more"} {
		if _, _, err := fetch(srv.Client(), srv.URL+path); err == nil || srv.Count(path) != 10 {
			t.Errorf("%s: %v after %d", path, err, srv.Count(path))
		}
	}
	if r := srv.RequestsTo("/more"); r[9].Target != "/more?turn=9" {
		t.Errorf("the tenth is %s", r[9].Target)
	}
	other := newServer(t)
	srv.Script("/away", Redirect(301, other.URL+"/f"))
	if _, body, err := fetch(srv.Client(), srv.URL+"/away"); err != nil || body != content(file) {
		t.Errorf("other origin: %v", err)
	}
}

func TestCodings(t *testing.T) {
	srv := newServer(t)
	srv.Publish("/f", Resource{Content: Bytes(strings.Repeat("text ", 10_000))})
	srv.Script("/f", Gzip(), TruncatedGzip(100), GzipBomb(20<<20))
	var answers []string
	for range 3 {
		resp, body, err := fetch(srv.Client(), srv.URL+"/f", "Accept-Encoding", "identity")
		if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%v %v", resp, err)
		}
		answers = append(answers, body)
	}
	unzip := func(s string) (int64, error) {
		z, err := gzip.NewReader(strings.NewReader(s))
		if err != nil {
			return 0, err
		}
		return io.Copy(io.Discard, z)
	}
	if n, err := unzip(answers[0]); n != 50_000 || err != nil {
		t.Errorf("gzip: %d, %v", n, err)
	}
	if n, err := unzip(answers[1]); len(answers[1]) != 100 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncated: %d of %d, %v", n, len(answers[1]), err)
	}
	if n, err := unzip(answers[2]); n != 20<<20 || err != nil || len(answers[2]) > 40<<10 {
		t.Errorf("bomb: %d of %d, %v", n, len(answers[2]), err)
	}
}

func TestNotHTTP(t *testing.T) {
	srv := newServer(t)
	srv.Script("/f", Raw("SSH-2.0-x\r\n"), Garbage(100), Garbage(100), HTTP09(), All(Raw("0123456789"), CloseAt(AtByte(4))))
	var got []string
	for range 5 {
		answer, err := exchange(t, srv, request("GET"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, answer)
	}
	if got[0] != "SSH-2.0-x\r\n" || len(got[1]) != 100 || got[1] != got[2] || got[3] != content(file) || got[4] != "0123" {
		t.Errorf("%.40q", got)
	}
}

// Endless answers are read up to a megabyte: there is always more.
func TestEndless(t *testing.T) {
	srv := newServer(t)
	for name, step := range map[string]Step{"header": EndlessHeader(), "field": EndlessField(), "body": EndlessBody()} {
		srv.Script("/f", step)
		c, err := srv.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, request("GET"))
		p := make([]byte, 1<<20)
		if n, err := io.ReadFull(c, p); err != nil {
			t.Errorf("%s ended after %d: %v", name, n, err)
		}
		if ended := bytes.Contains(p, []byte("\r\n\r\n")); ended != (name == "body") {
			t.Errorf("%s: header ended: %v", name, ended)
		}
		c.Close()
		if err := srv.WaitDisconnected(within(t)); err != nil {
			t.Error(err)
		}
	}
}

func TestHEAD(t *testing.T) {
	srv := newServer(t)
	for _, step := range []Step{Honest(), Status(404), Chunked(), IgnoreRange(), LengthOff(1), Truncate(5)} {
		srv.Script("/f", step)
		if answer, err := exchange(t, srv, request("HEAD")); err != nil || !strings.HasSuffix(answer, "\r\n\r\n") {
			t.Errorf("%v: %.80q", err, answer)
		}
	}
	srv.Script("/f", BodyToHEAD())
	answer, err := exchange(t, srv, request("HEAD"))
	if _, body, _ := cutHead(answer); err != nil || body != content(file) {
		t.Errorf("body to HEAD: %v, %d", err, len(body))
	}
}

func TestScriptIsConsumedARequestATime(t *testing.T) {
	srv := newServer(t)
	srv.Script("/f", Status(500), Status(501))
	srv.Always("/f", Status(502))
	srv.Script(Every, Status(400))
	srv.Always(Every, Status(418))
	var got []int
	for _, path := range []string{"/f", "/f", "/f", "/f", "/x", "/y"} {
		resp, _, err := fetch(srv.Client(), srv.URL+path)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, resp.StatusCode)
	}
	if fmt.Sprint(got) != "[500 501 502 502 400 418]" || srv.Remaining("/f") != 0 {
		t.Error(got)
	}
}

func TestChangedContentStays(t *testing.T) {
	srv := newServer(t)
	v2 := Body{Seed: 9, Size: file.Size}
	srv.Script("/f", Truncate(1000), Changed(Resource{Content: v2, ETag: `"v2"`}))
	fetch(srv.Client(), srv.URL+"/f")
	for range 2 {
		resp, body, err := fetch(srv.Client(), srv.URL+"/f", "Range", "bytes=1000-", "If-Range", `"v1"`)
		if err != nil || resp.StatusCode != http.StatusOK || body != content(v2) {
			t.Errorf("%v %v", resp, err)
		}
	}
}
