package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// To a receiver on this machine sendfile and copies take turns. What sendfile has sent are the file's own pages: until the
// receiver takes them they change with the file, and copies do not.
func TestSendToLocal(t *testing.T) {
	path := writeFile(t, bytes.Repeat([]byte("a"), 2*localChunk))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c.(*net.TCPConn).SetWriteBuffer(2 * localChunk) // all of it waits in the kernel
	c.SetDeadline(time.Now().Add(20 * time.Second))

	n, handled, err := NewFileBody(f, 0, 2*localChunk, false, nil).sendTo(c.(*net.TCPConn), 2*localChunk)
	if n != 2*localChunk || !handled || err != nil {
		t.Fatalf("%d, %v, %v", n, handled, err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("b"), 2*localChunk), 0); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2*localChunk)
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	copied := bytes.Count(got, []byte("a"))
	if got[0] != 'b' || copied < len(got)/localEvery || copied > localChunk {
		t.Errorf("it begins with %q, and %d bytes of %d were copied", got[0], copied, len(got))
	}
}

func TestCopyTo(t *testing.T) {
	f, err := os.Open(writeFile(t, []byte("0123456789")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	b := NewFileBody(f, 2, 10, false, nil)
	if n, err := b.copyTo(&out, 5); n != 5 || err != nil || out.String() != "23456" {
		t.Errorf("%d, %v, %q", n, err, &out)
	}
	// What a connection that breaks has taken counts.
	r, w := io.Pipe()
	go func() {
		io.ReadFull(r, make([]byte, 2))
		r.CloseWithError(iotest.ErrTimeout)
	}()
	if n, err := b.copyTo(w, 3); n != 2 || !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("%d, %v", n, err)
	}
	// A file that was cut gives what it has, and then is a failure.
	b.sent(7, 7)
	out.Reset()
	if n, err := b.copyTo(&out, 3); n != 1 || err != nil || out.String() != "9" {
		t.Errorf("%d, %v, %q", n, err, &out)
	}
	b.sent(1, 1)
	n, err := b.copyTo(&out, 2)
	if wantCode(t, err, task.SourceChanged); n != 0 {
		t.Errorf("%d bytes beyond the end", n)
	}
	f.Close()
	_, err = b.copyTo(&out, 2)
	wantCode(t, err, task.CannotOpenFile)
}

func TestIsLocal(t *testing.T) {
	for _, c := range []struct {
		here, there string
		want        bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", true},
		{"::1", "::1", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::2", false},
	} {
		here, there := &net.TCPAddr{IP: net.ParseIP(c.here)}, &net.TCPAddr{IP: net.ParseIP(c.there)}
		if got := isLocal(here, there); got != c.want {
			t.Errorf("%s to %s: %v", c.here, c.there, got)
		}
	}
	if isLocal(nil, nil) {
		t.Error("a connection that is closed")
	}
}
