package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

const (
	// sendfileChunk is the most that one sendfile sends, and so the grain of progress.
	sendfileChunk = 1 << 20

	// To a receiver on this machine a chunk is localChunk, and of localEvery bytes one is copied. sendfile gives such a
	// receiver the file's own pages, which no cache has, where copies come out of a few buffers that every cache has: it
	// spares us two thirds of the CPU, and takes the receiver a sixth to two fifths more. A network card fetches pages by itself.
	localChunk = 128 << 10
	localEvery = 3
)

// sendTo sends up to limit bytes of the body by sendfile(2), and some by copying where that is faster. handled is false
// where the file cannot be sent so, before a byte of it was.
func (b *FileBody) sendTo(c *net.TCPConn, limit int64) (sent int64, handled bool, err error) {
	out, err := c.SyscallConn()
	if err != nil {
		return 0, false, nil
	}
	in, err := b.file.SyscallConn()
	if err != nil {
		return 0, false, nil
	}
	limit = min(limit, b.left)
	chunk, local := int64(sendfileChunk), isLocal(c.LocalAddr(), c.RemoteAddr())
	if local {
		chunk = localChunk
	}
	for copied := int64(0); sent < limit; {
		if b.stopped.Load() {
			return sent, true, errStopped
		}
		taken, err := b.take(min(limit-sent, chunk))
		if err != nil {
			return sent, true, err
		}
		copies := local && copied < sent/localEvery
		var n int
		if copies {
			n, err = b.copyTo(c, taken)
			copied += int64(n)
		} else {
			n, err = sendfile(out, in, b.offset, taken)
		}
		b.sent(taken, n)
		sent += int64(n)
		switch {
		case err != nil && copies:
			return sent, true, err
		case err != nil && sent == 0 && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS)):
			return 0, false, nil // a file system without it
		case err != nil && errors.Is(err, syscall.EIO):
			return sent, true, b.failed(err)
		case err != nil:
			return sent, true, &net.OpError{Op: "sendfile", Net: "tcp", Addr: c.RemoteAddr(), Err: err}
		case n == 0:
			return sent, true, b.short()
		}
	}
	return sent, true, nil
}

// copyTo sends the next n bytes at most, no more than localChunk, by way of a buffer. Its error is also the file's.
func (b *FileBody) copyTo(w io.Writer, n int) (int, error) {
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	n, err := b.file.ReadAt(buf[:n], b.offset)
	switch {
	case n > 0: // an error comes again
	case err == io.EOF:
		return 0, b.short()
	default:
		return 0, b.failed(err)
	}
	return w.Write(buf[:n])
}

// isLocal reports whether both ends of a connection are on this machine, by addresses of loopback or not.
func isLocal(here, there net.Addr) bool {
	ours, _ := here.(*net.TCPAddr)
	theirs, _ := there.(*net.TCPAddr)
	return ours != nil && theirs != nil && (theirs.IP.IsLoopback() || theirs.IP.Equal(ours.IP))
}

// sendfile waits until out takes bytes, then sends at most n of them from offset on.
func sendfile(out, in syscall.RawConn, offset int64, n int) (sent int, err error) {
	var failed error
	wait := func(outFD uintptr) (done bool) {
		inErr := in.Control(func(inFD uintptr) {
			for {
				at := offset
				sent, failed = syscall.Sendfile(int(outFD), int(inFD), &at, n)
				if failed != syscall.EINTR {
					return
				}
			}
		})
		if inErr != nil {
			failed = inErr
		}
		return failed != syscall.EAGAIN
	}
	if err := out.Write(wait); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, os.NewSyscallError("sendfile", failed)
	}
	return sent, nil
}
