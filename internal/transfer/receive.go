package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	// What arrives in small pieces, as it does over TLS, is gathered until there are flushBytes, or flushAge has passed
	// since the last write.
	flushBytes = 128 << 10
	flushAge   = 200 * time.Millisecond
)

// receive writes a response's body to the part file, from byte from on, and hashes it. end is the byte that must be the
// one after its last; -1: whatever the body's end says. It returns the position reached; without an error it is end.
//
// A body that is longer than end promises is of no known version: what the part file has is forgotten.
func (d *download) receive(ctx context.Context, resp *http.Response, from, end int64) (int64, error) {
	size, total := int64(-1), d.part.Total()
	if end >= 0 {
		size = end - from
	}
	buf := takeBuffer(size)
	defer buf.free()
	d.Observer.Received(from, total)

	var (
		at    = from // written up to here
		n     int    // gathered in buf
		wrote = time.Now()
	)
	flush := func() error {
		d.idle.hold() // the disk may be slow
		defer d.idle.release()
		m, err := d.part.WriteAt(buf.b[:n], at)
		d.digest.write(buf.b[:m])
		at, n = at+int64(m), 0
		if err != nil {
			return fileError("write part file", d.to.part, err, task.CannotWriteFile)
		}
		return nil
	}
	for {
		m, err := d.read(ctx, resp.Body, buf.b[n:])
		n += m
		if m > 0 {
			d.Observer.Received(at+int64(n), total)
		}
		if end >= 0 && at+int64(n) > end {
			d.part.Begin(d.part.Validator(), -1)
			return at, d.fail(task.BadServerResponse, resp.StatusCode,
				fmt.Errorf("the body goes on after its %d bytes", size))
		}
		now := time.Now()
		if n > 0 && (err != nil || n >= flushBytes || n == len(buf.b) || now.Sub(wrote) > flushAge) {
			if err := flush(); err != nil {
				return at, err
			}
			wrote = now
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && end >= 0 && at < end:
			return at, d.wireError(fmt.Errorf("the body ends at byte %d, and %d were promised: %w", at, end, io.ErrUnexpectedEOF))
		case errors.Is(err, io.EOF):
			return at, nil
		default:
			return at, d.wireError(err)
		}
	}
}
