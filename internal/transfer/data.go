package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// firstData is the most memory, in bytes, that a body is given on the word of its Content-Length.
const firstData = 1 << 20

// data runs the attempt of a data or upload task.
func (r *run) data(ctx context.Context) error {
	req, err := r.newRequest(Caching(ctx, r.Spec.Policy.Cache))
	if err != nil {
		return err
	}
	body, err := r.openBody(ctx)
	if err != nil {
		if task.CodeOf(err) == task.SourceChanged {
			r.abandon(req)
		}
		return err
	}
	defer body.close()
	if err := r.checkDigests(ctx, body); err != nil {
		return err
	}
	if err := r.promise(req.Header); err != nil {
		return err
	}
	rt := transport.Decode(r.RoundTripper)
	var resp *http.Response
	switch {
	case r.inParts() != nil:
		resp, err = r.sendParts(req.Context(), body)
	case r.resumable(body) == task.ResumableNo:
		resp, err = r.exchange(rt, req, body)
	default:
		u := r.newUpload(rt, req, body)
		defer u.end()
		resp, err = u.transmit()
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := r.tell(ctx, resp); err != nil {
		return err
	}
	if r.Spec.Stream {
		return r.stream(ctx, resp)
	}
	return r.collect(ctx, resp)
}

// collect reads the body into memory.
func (r *run) collect(ctx context.Context, resp *http.Response) error {
	limit := r.Spec.Limit
	if limit <= 0 {
		limit = task.DefaultLimit
	}
	limit = min(limit, math.MaxInt-1)
	expected := contentLength(resp)
	if expected > limit {
		return r.tooLarge(limit)
	}
	// One byte more than is expected, so that the read that fills the buffer is not the last where the body goes on.
	size := int64(smallestBuffer)
	if expected >= 0 {
		size = min(expected, firstData) + 1
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := r.read(ctx, resp.Body, buf[len(buf):min(int64(cap(buf)), limit+1)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return r.tooLarge(limit)
		}
		if n > 0 {
			r.Observer.Received(int64(len(buf)), expected)
		}
		if err == io.EOF {
			r.result.Body = buf
			return nil
		}
		if err != nil {
			return r.wireError(err)
		}
	}
}

func (r *run) tooLarge(limit int64) error {
	return r.fail(task.DataTooLarge, 0, fmt.Errorf(
		"the body has more than the %d bytes that this task may hold in memory; use a download, or raise the limit", limit))
}

// stream hands the body over, piece by piece.
func (r *run) stream(ctx context.Context, resp *http.Response) error {
	expected := contentLength(resp)
	buf := takeBuffer(expected)
	defer buf.free()
	for total := int64(0); ; {
		n, err := r.read(ctx, resp.Body, buf.b)
		if n > 0 {
			total += int64(n)
			r.Observer.Received(total, expected)
			r.idle.hold()
			refused := r.Observer.Data(ctx, buf.b[:n])
			r.idle.release()
			if refused != nil {
				return refused
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.wireError(err)
		}
	}
}
