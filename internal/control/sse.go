package control

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxFrame is the most bytes that an event may have on the wire.
const maxFrame = 4 << 20

// errFrame is bytes that are no event stream of the daemon's. To ask for them again would bring them again.
var errFrame = errors.New("the event stream is malformed")

// frame is one event of an SSE stream (WHATWG HTML §9.2).
type frame struct {
	id    uint64 // the field "id", where it was there
	hasID bool
	name  string // the field "event"
	data  []byte // the fields "data", joined by newlines; good until the next frame is read
}

// frames reads an event stream. Comments and fields that are not in frame are skipped.
type frames struct {
	r    *bufio.Reader
	line []byte
	data []byte
}

func newFrames(r io.Reader) *frames { return &frames{r: bufio.NewReaderSize(r, 32<<10)} }

// next is the next frame that says anything. io.EOF: the stream has ended between two; errFrame: it is not one.
func (f *frames) next() (frame, error) {
	fr, said := frame{}, false
	f.data = f.data[:0]
	for {
		line, err := f.readLine()
		if err != nil {
			if err == io.EOF && (said || len(line) > 0) {
				err = io.ErrUnexpectedEOF
			}
			return frame{}, err
		}
		if len(line) == 0 {
			if said {
				fr.data = f.data
				return fr, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "data":
			if said && len(f.data) > 0 {
				f.data = append(f.data, '\n')
			}
			if f.data = append(f.data, value...); len(f.data) > maxFrame {
				return frame{}, fmt.Errorf("%w: an event of more than %d bytes", errFrame, maxFrame)
			}
		case "id":
			if fr.id, err = strconv.ParseUint(string(value), 10, 64); err != nil {
				return frame{}, fmt.Errorf("%w: an id that is no number", errFrame)
			}
			fr.hasID = true
		case "event":
			fr.name = string(value)
		default: // a comment, too, whose name is empty
			continue
		}
		said = true
	}
}

// readLine is the next line without its end. It is good until the next call.
func (f *frames) readLine() ([]byte, error) {
	f.line = f.line[:0]
	for {
		part, err := f.r.ReadSlice('\n')
		if err == nil && len(f.line) == 0 {
			return trimEnd(part), nil
		}
		f.line = append(f.line, part...)
		switch {
		case err == nil:
			return trimEnd(f.line), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return f.line, err
		case len(f.line) > maxFrame:
			return nil, fmt.Errorf("%w: a line of more than %d bytes", errFrame, maxFrame)
		}
	}
}

func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
}
