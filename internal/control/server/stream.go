package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// frameOf is an event as SSE: its number, where it has one, is the id.
func frameOf(ev task.Event) ([]byte, error) {
	b := make([]byte, 0, 256)
	if ev.Sequence != 0 {
		b = appendID(b, ev.Sequence)
	}
	b, err := ev.AppendJSON(append(b, "data: "...))
	if err != nil {
		return nil, err
	}
	return append(b, "\n\n"...), nil
}

func appendID(b []byte, sequence uint64) []byte {
	b = append(b, "id: "...)
	b = strconv.AppendUint(b, sequence, 10)
	return append(b, '\n')
}

// stream is a response of events. Frames are gathered until flush. It is for one goroutine, beside its own heartbeat.
type stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	every time.Duration
	buf   []byte // not written yet
	begun bool   // the status is out

	mu   sync.Mutex // guards w
	beat *time.Timer
	over bool
}

// flushAt is how many gathered bytes are written without being asked.
const flushAt = 64 << 10

// newStream gathers the stream's start: after is the number that it begins after.
func newStream(w http.ResponseWriter, every time.Duration, after uint64) *stream {
	return &stream{w: w, rc: http.NewResponseController(w), every: every, buf: append(appendID(nil, after), '\n')}
}

// add gathers a frame.
func (s *stream) add(frame []byte) error {
	s.buf = append(s.buf, frame...)
	if len(s.buf) >= flushAt {
		return s.flush()
	}
	return nil
}

// flush writes what was gathered, in one write. It waits for a listener that does not read.
func (s *stream) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", control.EventsMediaType)
		s.w.WriteHeader(http.StatusOK)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.beat == nil {
		s.beat = time.AfterFunc(s.every, s.heartbeat)
	}
	s.beat.Reset(s.every)
	_, err := s.w.Write(s.buf)
	if err == nil {
		err = s.rc.Flush()
	}
	if s.buf = s.buf[:0]; cap(s.buf) > 4*flushAt {
		s.buf = nil
	}
	return err
}

// heartbeat writes a comment, so that the peer sees that the daemon lives, and the daemon that the peer does.
func (s *stream) heartbeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.w.Write([]byte(": heartbeat\n\n"))
	s.rc.Flush()
	s.beat.Reset(s.every)
}

// end ends the stream: err, if it is one, or that nothing follows. A stream that has not begun answers with err's
// status.
func (s *stream) end(err error) {
	if err != nil && !s.begun {
		writeError(s.w, err)
		return
	}
	name, data := control.StreamEnd, []byte("{}")
	if err != nil {
		name = control.StreamFailure
		data, _ = json.Marshal(task.FailureOf(err))
	}
	s.buf = append(s.buf, "event: "+name+"\ndata: "...)
	s.buf = append(append(s.buf, data...), "\n\n"...)
	s.flush()
}

// close stops the heartbeat. To be called before the handler returns.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.beat != nil {
		s.beat.Stop()
	}
}
