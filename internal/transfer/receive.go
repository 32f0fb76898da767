package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/urlsession/urlsession/internal/task"
)

// receive writes a response's body to the part file, from byte from on, and hashes it. end is the byte that must be the
// one after its last; -1: whatever the body's end says.
//
// A body that is longer than end promises is of no known version: what the part file has is forgotten.
func (d *download) receive(ctx context.Context, resp *http.Response, from, end int64) error {
	size, total := int64(-1), d.part.Total()
	if end >= 0 {
		size = end - from
	}
	buf := takeBuffer(size)
	defer buf.free()
	d.gather.begin(d, buf.b, from)
	defer d.gather.end()
	held := d.part.Written()
	behind := held.Total() - held.Prefix() // is here already
	d.Observer.Received(from+behind, total)

	for at := from; ; {
		n, err := d.read(ctx, resp.Body, d.gather.room())
		if n > 0 {
			at += int64(n)
			d.Observer.Received(at+behind, total)
		}
		if end >= 0 && at > end {
			d.gather.end()
			d.part.Begin(d.part.Validator(), -1)
			return d.fail(task.BadServerResponse, resp.StatusCode,
				fmt.Errorf("the body goes on after its %d bytes", size))
		}
		if failed := d.gather.added(n, err != nil || at == end); failed != nil {
			return failed
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && end >= 0 && at < end:
			return d.wireError(fmt.Errorf("the body ends at byte %d, and %d were promised: %w", at, end, io.ErrUnexpectedEOF))
		case errors.Is(err, io.EOF):
			return nil
		default:
			return d.wireError(err)
		}
	}
}
