package control

import (
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestSameUser(t *testing.T) {
	if err := sameUser(1000, 1000); err != nil {
		t.Error(err)
	}
	for _, peer := range []int{0, 1001, -1} {
		if err := sameUser(peer, 1000); err == nil || !strings.Contains(err.Error(), "user 1000") {
			t.Errorf("%d: %v", peer, err)
		}
	}
	if sameUser(1000, 0) == nil {
		t.Error("root takes another user's socket for its own")
	}
}

// TestCheckPeer asks the kernel for both ends of a real socket.
func TestCheckPeer(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, conn := range []net.Conn{a, b} {
		if err := CheckPeer(conn); err != nil {
			t.Error(err)
		}
	}
	a.Close()
	if err := CheckPeer(a); err == nil && runtime.GOOS == "linux" {
		t.Error("a closed connection passes")
	}
	p, q := net.Pipe()
	defer p.Close()
	defer q.Close()
	if err := CheckPeer(p); err != nil {
		t.Error(err)
	}
}
