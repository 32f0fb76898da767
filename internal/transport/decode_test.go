package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// encode codes pieces of data, each of which can be decoded before the next.
func encode(t testing.TB, coding string, pieces ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w interface {
		io.WriteCloser
		Flush() error
	}
	switch coding {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	default:
		return bytes.Join(pieces, nil)
	}
	for i, p := range pieces {
		if i > 0 {
			w.Flush()
		}
		w.Write(p)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// coded answers every request with a body and its Content-Encoding, chunked, and remembers the last request.
type coded struct {
	coding string
	body   []byte
	asked  string
}

func (c *coded) RoundTrip(req *http.Request) (*http.Response, error) {
	c.asked = strings.Join(req.Header["Accept-Encoding"], "|")
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Encoding": {c.coding}, "Content-Length": {"9"}}, ContentLength: 9,
		Body: io.NopCloser(bytes.NewReader(c.body)), Request: req,
	}, nil
}

var words = bytes.Repeat([]byte("all work and no play makes jack a dull boy\n"), 10_000)

func TestDecode(t *testing.T) {
	for _, c := range []struct{ coding, want string }{
		{"gzip", ""}, {"x-gzip", ""}, {"GZIP", ""}, {"br", ""}, {"zstd", ""}, {"identity, gzip", ""},
	} {
		name := strings.ToLower(strings.TrimPrefix(c.coding, "identity, "))
		rt := &coded{coding: c.coding, body: encode(t, name, words)}
		for range 3 { // the decoders' pools too
			resp, body, err := fetch(Decode(rt), get(t, "http://a.test/"))
			if err != nil || !bytes.Equal(body, words) {
				t.Fatalf("%s: %d bytes, %v", c.coding, len(body), err)
			}
			if !resp.Uncompressed || resp.ContentLength != -1 || len(resp.Header) != 0 {
				t.Errorf("%s: %v %d %v", c.coding, resp.Uncompressed, resp.ContentLength, resp.Header)
			}
		}
		if rt.asked != "gzip, br, zstd" {
			t.Errorf("Accept-Encoding: %s", rt.asked)
		}
	}
	rt := &coded{coding: "gzip, br", body: encode(t, "br", encode(t, "gzip", words))}
	if _, body, err := fetch(Decode(rt), get(t, "http://a.test/")); err != nil || !bytes.Equal(body, words) {
		t.Errorf("two codings: %d bytes, %v", len(body), err)
	}
}

func TestDecodeLeavesAlone(t *testing.T) {
	body := encode(t, "gzip", words)
	for _, c := range []struct{ method, header, value, coding, asked string }{
		{"GET", "Accept-Encoding", "identity", "gzip", "identity"},
		{"GET", "Accept-Encoding", "gzip", "gzip", "gzip"},
		{"GET", "Range", "bytes=0-", "gzip", ""},
		{"HEAD", "X", "", "gzip", ""},
		{"GET", "X", "", "frob", "gzip, br, zstd"},
		{"GET", "X", "", "frob, gzip", "gzip, br, zstd"},
		{"GET", "X", "", "identity", "gzip, br, zstd"},
	} {
		rt := &coded{coding: c.coding, body: body}
		req := get(t, "http://a.test/")
		req.Method = c.method
		req.Header.Set(c.header, c.value)
		resp, got, err := fetch(Decode(rt), req)
		if err != nil || !bytes.Equal(got, body) || resp.Uncompressed || resp.ContentLength != 9 || resp.Header.Get("Content-Encoding") != c.coding {
			t.Errorf("%+v: %d bytes, %v, %v", c, len(got), resp, err)
		}
		if rt.asked != c.asked {
			t.Errorf("%+v: Accept-Encoding %q", c, rt.asked)
		}
		if req.Header.Get("Accept-Encoding") != "" && c.header != "Accept-Encoding" {
			t.Error("the request was changed")
		}
	}
}

func TestDecodeFaults(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "zstd"} {
		whole := encode(t, coding, words)
		noise := make([]byte, 200_000)
		for i := range noise {
			noise[i] = byte(i * i >> 3 * 7)
		}
		long := encode(t, coding, words, noise, words)
		broken := bytes.Clone(long)
		for i := len(broken) - 200; i < len(broken)-20; i++ {
			broken[i] ^= 0xff
		}
		for _, c := range []struct {
			name string
			body []byte
			code task.Code
		}{
			{"another thing", []byte("<html>this is no " + coding + " at all, is it?</html>"), task.CannotDecodeRaw},
			{"cut", whole[:len(whole)/2], task.DecodingFailedAtEnd},
			{"without its last byte", whole[:len(whole)-1], task.DecodingFailedAtEnd},
			{"one byte", whole[:1], task.DecodingFailedAtEnd},
			{"broken late", broken, task.DecodingFailedMidStream},
			{"followed by more", append(bytes.Clone(whole), "<!-- more -->"...), task.DecodingFailedMidStream},
		} {
			t.Run(coding+" "+c.name, func(t *testing.T) {
				_, body, err := fetch(Decode(&coded{coding: coding, body: c.body}), get(t, "http://u:secret@a.test/?secret"))
				wantCode(t, err, c.code)
				if c.code == task.CannotDecodeRaw && len(body) > 0 {
					t.Errorf("%d bytes came before the error", len(body))
				}
			})
		}
		if _, body, err := fetch(Decode(&coded{coding: coding}), get(t, "http://a.test/")); err != nil || len(body) != 0 {
			t.Errorf("%s: an empty body: %q, %v", coding, body, err)
		}
	}
	rt := &coded{coding: "gzip, gzip, gzip, gzip, gzip"}
	wantCode(t, second(Decode(rt).RoundTrip(get(t, "http://a.test/"))), task.CannotDecodeRaw)
}

// A message that is cut is the network's fault (it can be tried again), not the coding's.
func TestDecodeOfCutMessage(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "zstd"} {
		body := encode(t, coding, words)
		for _, n := range []int64{1, int64(len(body)) / 2, int64(len(body)) - 1, int64(len(body))} {
			srv := origin.NewServer()
			srv.Publish("/", origin.Resource{Content: origin.Bytes(body), Header: http.Header{"Content-Encoding": {coding}}})
			srv.Always("/", origin.All(origin.Chunked(), origin.CloseAt(origin.AtBody(n))))
			if n == int64(len(body)) { // all of the data, but no last chunk
				srv.Always("/", origin.NoLastChunk())
			}
			tr := newTransport(t, Options{})
			_, _, err := fetch(Decode(tr), get(t, srv.URL+"/"))
			wantCode(t, err, task.ConnectionLost)
			srv.Close()
		}
	}
}

// RFC 9659: no window beyond 8 MiB.
func TestZstdWindow(t *testing.T) {
	for _, c := range []struct {
		window int
		code   task.Code
	}{{8 << 20, 0}, {16 << 20, task.CannotDecodeRaw}} {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithWindowSize(c.window), zstd.WithSingleSegment(false))
		if err != nil {
			t.Fatal(err)
		}
		for range 600 { // 24 MiB: the frame's header cannot name a smaller window
			w.Write(words[:40<<10])
		}
		w.Close()
		_, _, err = fetch(Decode(&coded{coding: "zstd", body: b.Bytes()}), get(t, "http://a.test/"))
		if c.code == 0 {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantCode(t, err, c.code)
	}
}

// The connection of a response that was decoded to its end is used again; a piece comes as soon as it was sent.
func TestDecodeStreams(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "zstd"} {
		more := make(chan struct{})
		conns := make(map[string]bool)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conns[r.RemoteAddr] = true
			w.Header().Set("Content-Encoding", coding)
			var e interface {
				io.WriteCloser
				Flush() error
			}
			switch coding {
			case "gzip":
				e = gzip.NewWriter(w)
			case "br":
				e = brotli.NewWriter(w)
			default:
				e, _ = zstd.NewWriter(w)
			}
			e.Write([]byte("one"))
			e.Flush()
			w.(http.Flusher).Flush()
			<-more
			e.Write([]byte("two"))
			e.Close()
		}))
		tr := newTransport(t, Options{})
		for range 2 {
			resp, err := Decode(tr).RoundTrip(get(t, srv.URL))
			if err != nil {
				t.Fatal(err)
			}
			three := make([]byte, 3)
			if _, err := io.ReadFull(resp.Body, three); err != nil || string(three) != "one" {
				t.Errorf("%s: %q, %v", coding, three, err)
			}
			more <- struct{}{}
			rest, err := io.ReadAll(resp.Body)
			if err != nil || string(rest) != "two" {
				t.Errorf("%s: %q, %v", coding, rest, err)
			}
			resp.Body.Close()
		}
		if len(conns) != 1 {
			t.Errorf("%s: %d connections for two requests in turn", coding, len(conns))
		}
		tr.CloseIdleConnections()
		srv.Close()
	}
}

// Whatever comes: no panic, no success with bytes that are not those that were coded, every error coded.
func FuzzDecode(f *testing.F) {
	for _, coding := range []string{"gzip", "br", "zstd", "gzip, br", "zstd,gzip"} {
		for _, data := range [][]byte{nil, []byte("hello"), words[:5000]} {
			body := data
			for c := range strings.SplitSeq(coding, ",") {
				body = encode(f, strings.TrimSpace(c), body)
			}
			f.Add(coding, body)
			f.Add(coding, body[:len(body)*2/3])
		}
	}
	f.Fuzz(func(t *testing.T, coding string, body []byte) {
		resp, err := Decode(&coded{coding: coding, body: body}).RoundTrip(get(t, "http://a.test/"))
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<20))
			resp.Body.Close()
		}
		if err != nil {
			e, ok := errors.AsType[*task.Error](err)
			if !ok {
				t.Fatalf("error of type %T: %v", err, err)
			}
			switch e.Code {
			case task.CannotDecodeRaw, task.DecodingFailedMidStream, task.DecodingFailedAtEnd:
			default:
				t.Errorf("code %d: %v", e.Code, e)
			}
		}
	})
}
