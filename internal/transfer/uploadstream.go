package transfer

import "io"

// opened is a stream, and where it is.
type opened struct {
	io.ReadCloser
	at int64
}

// closed stands for the stream of an attempt that has ended: none is kept in its place.
var closed = &opened{io.NopCloser(nil), -1}

// stream is what of the stream is sent at once. It goes on with the reading of the piece before, where that has ended there; else
// the stream is opened anew, and what comes before is skipped.
func (b *requestBody) stream() (io.ReadCloser, error) {
	if b.from == 0 && b.to == b.size {
		return b.run.Body()
	}
	from, err := b.streamAt(b.from)
	if err != nil {
		return nil, err
	}
	return &excerpt{body: b, from: from, at: b.from, to: b.to}, nil
}

func (b *requestBody) streamAt(at int64) (io.ReadCloser, error) {
	if k := b.kept.Swap(nil); k != nil {
		if k.at == at {
			return k.ReadCloser, nil
		}
		k.Close()
	}
	from, err := b.run.Body()
	if err != nil || at == 0 {
		return from, err
	}
	if here, ok := from.(shared); ok {
		_, err := here.Seek(at, io.SeekStart)
		return here, err
	}
	return &skipping{from, at}, nil
}

// keep has the piece that begins at at go on with a stream.
func (b *requestBody) keep(from io.ReadCloser, at int64) {
	if !b.kept.CompareAndSwap(nil, &opened{from, at}) {
		from.Close()
	}
}

// closeStream closes what is kept, and has nothing be kept any more: a transport may go on to read after an attempt's end.
func (b *requestBody) closeStream() {
	if k := b.kept.Swap(closed); k != nil {
		k.Close()
	}
}

// excerpt is a stream from at to to. Once it has ended, the stream is kept for the next one.
type excerpt struct {
	body   *requestBody
	from   io.ReadCloser // nil: it is kept
	at, to int64
}

func (s *excerpt) Read(p []byte) (int, error) {
	if s.from == nil || s.at == s.to {
		return 0, io.EOF
	}
	n, err := s.from.Read(p[:min(int64(len(p)), s.to-s.at)])
	if s.at += int64(n); s.at == s.to && s.to < s.body.size && err == nil {
		s.body.keep(s.from, s.at)
		s.from = nil
	}
	return n, err
}

func (s *excerpt) Close() error {
	if s.from == nil {
		return nil
	}
	return s.from.Close()
}

// skipping is a stream whose first bytes are read in vain.
type skipping struct {
	io.ReadCloser
	left int64
}

func (s *skipping) Read(p []byte) (int, error) {
	if s.left > 0 {
		n, err := io.CopyN(io.Discard, s.ReadCloser, s.left)
		if s.left -= n; err != nil {
			return 0, err
		}
	}
	return s.ReadCloser.Read(p)
}
