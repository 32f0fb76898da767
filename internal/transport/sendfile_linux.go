package transport

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// sendfileChunk is the most that one sendfile sends, and so the grain of progress.
const sendfileChunk = 1 << 20

// sendTo sends up to limit bytes of the body by sendfile(2). handled is false where the file cannot be sent so, before
// a byte of it was.
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
	for sent < limit {
		if b.stopped.Load() {
			return sent, true, errStopped
		}
		taken, err := b.take(min(limit-sent, sendfileChunk))
		if err != nil {
			return sent, true, err
		}
		n, err := sendfile(out, in, b.offset, taken)
		b.sent(taken, n)
		sent += int64(n)
		switch {
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
