package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	acceptEncoding = "gzip, br, zstd"

	// maxCodings is how many codings one on the other are decoded; each costs a window.
	maxCodings = 4

	// zstdWindow is what RFC 8878 §3.1.1.1.2 and RFC 9659 allow. Brotli's window ends at 16 MiB by its format
	// (RFC 7932 §9.1), gzip's at 32 KiB.
	zstdWindow = 8 << 20
)

// onlyAcceptEncoding is the header of requests that have no other. It is never written to: what sends a request must
// not change it (http.RoundTripper).
var onlyAcceptEncoding = http.Header{"Accept-Encoding": {acceptEncoding}}

// Decode asks for gzip, br and zstd, and decodes what comes, where the request has no Accept-Encoding of its own and no
// Range, and is no HEAD. A decoded response has lost Content-Encoding and Content-Length, and is Uncompressed. A coding
// that is not known is passed as sent, with all that came on it.
//
// The body is decoded while it is read; it may become far longer than what was sent: a limit is the reader's to keep.
// Bad data is CannotDecodeRaw before the first decoded byte, DecodingFailedMidStream after it, DecodingFailedAtEnd where
// the message is whole but the coding is not. Where the message itself is cut, the error is the transport's.
func Decode(rt http.RoundTripper) http.RoundTripper { return decoding{rt} }

type decoding struct{ rt http.RoundTripper }

func (d decoding) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodHead || req.Header["Accept-Encoding"] != nil || req.Header["Range"] != nil {
		return d.rt.RoundTrip(req)
	}
	out := req.WithContext(req.Context())
	if len(req.Header) == 0 {
		out.Header = onlyAcceptEncoding
	} else {
		out.Header = req.Header.Clone()
		out.Header["Accept-Encoding"] = onlyAcceptEncoding["Accept-Encoding"]
	}
	resp, err := d.rt.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	if len(resp.Header["Content-Encoding"]) == 0 || resp.Body == http.NoBody || resp.ContentLength == 0 || resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	codings, err := codings(resp.Header["Content-Encoding"])
	if err != nil {
		resp.Body.Close()
		return nil, &task.Error{Op: "decode response", URL: task.RedactURL(req.URL), Code: task.CannotDecodeRaw, Err: err}
	}
	if len(codings) == 0 {
		return resp, nil
	}
	resp.Body = newDecodedBody(resp, codings)
	resp.Header.Del("Content-Encoding")
	resp.Header.Del("Content-Length")
	resp.ContentLength, resp.Uncompressed = -1, true
	return resp, nil
}

// codings are the codings in the order in which they were applied (RFC 9110 §8.4); none where one is not known.
func codings(values []string) ([]string, error) {
	var list []string
	for name := range strings.SplitSeq(strings.Join(values, ","), ",") {
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "", "identity":
		case "x-gzip":
			list = append(list, "gzip")
		case "gzip", "br", "zstd":
			list = append(list, name)
		default:
			return nil, nil
		}
	}
	if len(list) > maxCodings {
		return nil, fmt.Errorf("%d content codings one on the other; at most %d are decoded", len(list), maxCodings)
	}
	return list, nil
}

// decodedBody decodes a response's body while it is read.
type decodedBody struct {
	body   io.ReadCloser
	source *source // the body, and what reading it ended with
	url    string
	layers []*layer // the last coding applied, which is the first to be undone, first
	any    bool     // a byte was decoded
	err    error
}

func newDecodedBody(resp *http.Response, codings []string) *decodedBody {
	b := &decodedBody{body: resp.Body, source: &source{r: resp.Body}, url: task.RedactURL(resp.Request.URL)}
	var r io.Reader = b.source
	for i := len(codings) - 1; i >= 0; i-- {
		l := &layer{coding: codings[i], source: &source{r: r}}
		b.layers = append(b.layers, l)
		r = l
	}
	return b
}

func (b *decodedBody) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.layers[len(b.layers)-1].Read(p)
	b.any = b.any || n > 0
	if err != nil {
		b.err = b.fault(err)
		if n > 0 {
			return n, nil
		}
	}
	return n, b.err
}

func (b *decodedBody) Close() error { return b.body.Close() }

// fault makes the error of a decoder ours.
func (b *decodedBody) fault(err error) error {
	switch {
	case b.source.err != nil && b.source.err != io.EOF:
		return b.source.err // the message is cut: not the coding's fault
	case err == io.EOF:
		return io.EOF
	}
	code := task.CannotDecodeRaw
	switch {
	case b.source.err == io.EOF && errors.Is(err, io.ErrUnexpectedEOF):
		code, err = task.DecodingFailedAtEnd, errors.New("the message is whole, but the coded data in it ends too early")
	case b.any:
		code = task.DecodingFailedMidStream
	}
	var names []string
	for _, l := range b.layers {
		names = append(names, l.coding)
	}
	return &task.Error{Op: "decode " + strings.Join(names, ", ") + " of", URL: b.url, Code: code, Err: err}
}

// source notes what reading came to.
type source struct {
	r   io.Reader
	any bool
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.any = s.any || n > 0
	if err != nil {
		s.err = err
	}
	return n, err
}

// layer undoes one coding. Its decoder is made at the first Read and goes back to its pool at the end of the data.
type layer struct {
	coding  string
	source  *source
	decoder io.Reader
	err     error
}

func (l *layer) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	if l.decoder == nil {
		if l.decoder, l.err = open(l.coding, l.source); l.err != nil {
			return 0, l.ended(l.err)
		}
	}
	n, err := l.decoder.Read(p)
	if err == nil {
		return n, nil
	}
	if err = l.ended(err); err == io.EOF {
		release(l.decoder)
		l.decoder = nil
	}
	return n, err
}

// ended is the error that a decoder's error means. The end of the coded data must be that of what carries it, which is
// read to its end to know. No data at all is taken for an empty body: servers send that.
func (l *layer) ended(err error) error {
	if l.source.err == io.EOF && !l.source.any {
		err = io.EOF
	}
	if err == io.EOF && l.source.err == nil {
		var one [1]byte
		n, end := io.ReadFull(l.source, one[:])
		switch {
		case n > 0:
			err = errors.New("data follows the end of the coded data")
		case end != io.EOF:
			err = end
		}
	}
	l.err = err
	return err
}

var (
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zstdReaders = sync.Pool{New: func() any {
		// One decoder at a time and no goroutine: it may be dropped without Close.
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			panic(err) // the options are constant
		}
		return d
	}}
	brotliReaders = sync.Pool{New: func() any { return new(brotli.Reader) }}
)

func open(coding string, r io.Reader) (io.Reader, error) {
	switch coding {
	case "gzip":
		d := gzipReaders.Get().(*gzip.Reader)
		return d, d.Reset(r)
	case "br":
		d := brotliReaders.Get().(*brotli.Reader)
		return d, d.Reset(r)
	default:
		d := zstdReaders.Get().(*zstd.Decoder)
		return d, d.Reset(r)
	}
}

// release puts back a decoder that has come to its end, without what it read from.
func release(decoder io.Reader) {
	switch d := decoder.(type) {
	case *gzip.Reader:
		d.Reset(strings.NewReader(""))
		gzipReaders.Put(d)
	case *brotli.Reader:
		d.Reset(nil)
		brotliReaders.Put(d)
	case *zstd.Decoder:
		d.Reset(nil)
		zstdReaders.Put(d)
	}
}
