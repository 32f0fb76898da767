package server

import (
	"bytes"
	"errors"
	"log"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestListenerRefusesOthers: a connection of another user is closed before a byte of it is read, and the next is taken.
func TestListenerRefusesOthers(t *testing.T) {
	inner, err := net.Listen("unix", filepath.Join(t.TempDir(), "d.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	var written bytes.Buffer
	var asked atomic.Int32
	l := &listener{inner, func(net.Conn) error {
		if asked.Add(1) == 1 {
			return errors.New("another user")
		}
		return nil
	}, log.New(&written, "", 0)}
	var conns [2]net.Conn
	for i := range conns {
		if conns[i], err = net.Dial("unix", inner.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	taken, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := conns[0].Read(make([]byte, 1)); err == nil {
		t.Error("the other user's connection is open")
	}
	go taken.Write([]byte("x"))
	if _, err := conns[1].Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(written.String(), "another user") {
		t.Errorf("log %q", written.String())
	}
}
