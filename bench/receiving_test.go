//go:build linux

package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession"
)

// The server of uploads takes each way what it is sent: at once, in pieces, plainly, and by halves. It counts what came.
func TestReceiving(t *testing.T) {
	folder, source := t.TempDir(), filepath.Join(t.TempDir(), "source")
	const size = 5 << 20
	if err := randomFile(source, 1, size); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newReceiving(folder)
	go server.Serve(l)
	defer server.Close()
	s := &receivingServer{url: "http://" + l.Addr().String()}
	conf := urlsession.Ephemeral()
	conf.Retries = 2
	session, err := urlsession.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, c := range []struct {
		way      string
		how      urlsession.Resumable
		requests int // 0: as many as it wants
	}{
		{wayAll, urlsession.ResumableNo, 1},
		{wayAll, urlsession.ResumableAuto, 1},
		{wayAll, urlsession.ResumableIETF, 0},
		{wayHalf, urlsession.ResumableAuto, 3},
		{wayHalf, urlsession.ResumableIETF, 0},
	} {
		if _, err := s.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := urlsession.Put(s.url+"/"+c.way+"/large.bin", urlsession.File(source))
		r.Resumable, r.FailOnHTTPError = c.how, true
		task, err := session.UploadTask(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = task.Wait(t.Context()); err == nil {
			err = sameFile(filepath.Join(folder, "large.bin"), source)
		}
		got, taken := s.take(t.Context())
		if err != nil || taken != nil || got.Bytes < size || c.requests > 0 && got.Requests != c.requests {
			t.Errorf("%s, %v: %v, %v, %+v", c.way, c.how, err, taken, got)
		}
		if err := os.Remove(filepath.Join(folder, "large.bin")); err != nil {
			t.Fatal(err)
		}
	}
}
