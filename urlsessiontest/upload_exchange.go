package urlsessiontest

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// What ends a request before its end.
var (
	errCut   = errors.New("urlsessiontest: the script cuts the connection")
	errAbort = errors.New("urlsessiontest: the script aborts the stream")
	errEarly = errors.New("urlsessiontest: the script answers early")
)

// statusResumption is 104 Upload Resumption Supported.
const statusResumption = 104

// uploadExchange is one request and its answer. Its handler's goroutine alone
// uses it, but for interrupt.
type uploadExchange struct {
	host   *uploadHost
	w      http.ResponseWriter
	req    *http.Request
	reply  *UploadReply
	record *Request // guarded by host.mu
	sum    hash.Hash

	received int64 // bytes of the body
	fired    int   // points that have happened, in their order
	early    int   // the status of errEarly

	once        sync.Once
	interrupted chan struct{} // closed by interrupt
}

func (h *uploadHost) newExchange(w http.ResponseWriter, req *http.Request) *uploadExchange {
	x := &uploadExchange{host: h, w: w, req: req, interrupted: make(chan struct{})}
	x.record, x.sum = h.arrived(req)
	return x
}

// ended completes the record, also in a panic.
func (x *uploadExchange) ended() {
	x.host.changes(func() {
		x.record.Ended = time.Now()
		x.record.Trailer = x.req.Trailer.Clone()
		x.host.record.busy--
	})
}

// interrupt ends the request from outside, abruptly: another one wants the
// upload. The handler must not have returned.
func (x *uploadExchange) interrupt() {
	x.once.Do(func() {
		close(x.interrupted)
		http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0))
	})
}

// pause waits for d, or until the gate opens. Whatever ends the request ends it
// too, with an error.
func (x *uploadExchange) pause(d time.Duration, gate <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-gate:
		return nil
	case <-x.interrupted:
	case <-x.req.Context().Done():
	case <-x.host.ctx.Done():
	}
	return errAbort
}

// receive reads the body and gives it to take, part by part, stopping at each
// point. It returns take's error, that of a point, or that of the connection.
func (x *uploadExchange) receive(take func([]byte) error) error {
	buf := make([]byte, 32<<10)
	for {
		next, err := x.fire()
		if err != nil {
			return err
		}
		n, err := x.req.Body.Read(buf[:min(int64(len(buf)), next)])
		if n > 0 {
			x.count(buf[:n])
			if err := take(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			_, err := x.fire()
			return err
		}
		if err != nil {
			x.host.changes(func() { x.record.BodyError = err })
			return err
		}
	}
}

// fire runs the points of what was received so far, each once, and returns the
// number of bytes to the next.
func (x *uploadExchange) fire() (next int64, err error) {
	for ; x.fired < len(x.reply.points); x.fired++ {
		p := x.reply.points[x.fired]
		if p.n > x.received {
			return p.n - x.received, nil
		}
		if err := p.do(x); err != nil {
			return 0, err
		}
	}
	return 1 << 62, nil
}

func (x *uploadExchange) count(p []byte) {
	x.received += int64(len(p))
	x.sum.Write(p)
	x.host.changes(func() {
		x.record.BodySize = x.received
		x.sum.Sum(x.record.BodySHA256[:0])
		x.host.record.received += int64(len(p))
	})
}

// interim sends a 104, whose fields are then taken out of the final answer.
func (x *uploadExchange) interim(fields http.Header) {
	for _, edit := range x.reply.edits {
		edit(statusResumption, fields)
	}
	h := x.w.Header()
	for name, values := range fields {
		h[name] = values
	}
	x.w.WriteHeader(statusResumption)
	clear(h)
}

// answer sends the final answer. An empty body is a line of text that names the
// status, but for 204 and 304.
func (x *uploadExchange) answer(a UploadAnswer) {
	fields := a.Header.Clone()
	if fields == nil {
		fields = make(http.Header)
	}
	status := a.Status
	for _, edit := range x.reply.edits {
		status = edit(status, fields)
	}
	x.host.changes(func() { x.record.Status = status })
	if x.reply.loseAnswer {
		x.cut(errCut)
	}
	body := a.Body
	if status == http.StatusNoContent || status == http.StatusNotModified {
		body = ""
	} else if body == "" {
		body = fmt.Sprintf("%d %s\n", status, http.StatusText(status))
		fields.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h := x.w.Header()
	for name, values := range fields {
		h[name] = values
	}
	if status != http.StatusNoContent && status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.w.WriteHeader(status)
	if x.req.Method != http.MethodHead {
		io.WriteString(x.w, body)
	}
}

// refuse answers with a status and why.
func (x *uploadExchange) refuse(status int, why string) {
	x.answer(UploadAnswer{Status: status, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: why + "\n"})
}

// flushTime is how long a 104 over HTTP/2 may stay in net/http's buffer: it is
// flushed by another goroutine, of which nothing tells.
const flushTime = 100 * time.Millisecond

// cut ends the request without an answer: for errAbort the stream of HTTP/2
// alone, else the connection. It does not return.
func (x *uploadExchange) cut(why error) {
	if c, ok := x.req.Context().Value(connKey{}).(numberedConn); ok && !(errors.Is(why, errAbort) && x.req.ProtoMajor == 2) {
		raw := c.Conn
		if t, ok := raw.(interface{ NetConn() net.Conn }); ok {
			raw = t.NetConn()
		}
		if half, ok := raw.(interface{ CloseWrite() error }); x.req.ProtoMajor == 2 && ok {
			x.pause(flushTime, nil)
			half.CloseWrite() // as linger, but that another goroutine reads
			x.pause(lingerTime, nil)
			raw.Close()
		} else {
			linger(raw)
		}
	}
	panic(http.ErrAbortHandler)
}
