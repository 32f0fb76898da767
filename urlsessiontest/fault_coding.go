package urlsessiontest

import (
	"bytes"
	"compress/gzip"
	"io"
)

// MislabelCoding says Content-Encoding: coding over bytes that are not coded: gzip
// that is not gzip, br, zstd, a coding that nobody knows.
func MislabelCoding(coding string) Step { return SetHeader("Content-Encoding", coding) }

// Gzip codes the body with gzip, whether the client accepts it or not. ETag and
// digests stay those of the resource.
func Gzip() Step {
	return func(r *Reply) {
		if r.Body != nil {
			r.setStream(newGzipReader(r.Body))
			r.Header.Set("Content-Encoding", "gzip")
		}
	}
}

// TruncatedGzip sends only the first n bytes of the gzip stream, in a message
// that is whole: only a decoder can tell.
func TruncatedGzip(n int64) Step {
	return All(Gzip(), func(r *Reply) {
		if r.Body != nil {
			r.Body = io.LimitReader(r.Body, n)
		}
	})
}

// GzipBomb is a short gzip stream that decodes to size zero bytes, about a
// thousand times as many as are sent.
func GzipBomb(size int64) Step {
	return func(r *Reply) {
		r.Body = io.LimitReader(zeros{}, size)
		Gzip()(r)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// gzipReader compresses as it is read, in constant memory and without a
// goroutine that an abandoned reply would leave behind.
type gzipReader struct {
	src io.Reader
	zip *gzip.Writer
	out bytes.Buffer
	buf []byte
	err error
}

func newGzipReader(src io.Reader) *gzipReader {
	g := &gzipReader{src: src, buf: make([]byte, 32<<10)}
	g.zip = gzip.NewWriter(&g.out)
	return g
}

func (g *gzipReader) Read(p []byte) (int, error) {
	for g.out.Len() == 0 {
		if g.err != nil {
			return 0, g.err
		}
		n, err := g.src.Read(g.buf)
		g.zip.Write(g.buf[:n]) // into memory, does not fail
		if err == io.EOF {
			g.zip.Close()
		}
		g.err = err
	}
	return g.out.Read(p)
}
