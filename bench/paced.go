//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"
)

// childPaced is a server whose connections are slow, as those of a far one, in a process of its own. Its argument is the file
// that it has, under each of the ways below; and it tells what it has sent.
const childPaced = "paced-server"

// The ways in which it sends, each the first folder of a URL's path.
const (
	wayEven    = "even"   // pacedRate on each connection
	wayStalls  = "stalls" // the same; one connection in six sends nothing after its first slowAfter bytes
	wayCrawls  = "crawls" // the same; one connection in six sends at crawlRate after its first slowAfter bytes
	wayShared  = "shared" // sharedRate over all connections, however many
	pacedRate  = 30_000_000
	crawlRate  = 100_000
	sharedRate = 180_000_000
	slowAfter  = 8 << 20
	// slowOne is which of each six it is: not the first, by which every client begins, and one that those with few have, too.
	slowOne = 2

	recordPath = "/record"
)

// paced is the server.
type paced struct {
	file   string
	shared allowance

	mu          sync.Mutex
	connections int // that have asked for the file, since the record was begun
	record      *sending
}

// pacedConn is a connection of it, which answers one request at a time.
type pacedConn struct {
	tcp  *net.TCPConn
	slow bool
	sent int64 // of bodies

	once sync.Once // when it first asks for the file
}

type connKey struct{}

func servePaced(args []string) error {
	if len(args) != 1 {
		return errors.New("this is started by the scenarios of several connections alone")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	o := &paced{file: args[0], record: new(sending)}
	server := &http.Server{
		Handler: http.HandlerFunc(o.answer),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, &pacedConn{tcp: c.(*net.TCPConn)})
		},
	}
	return server.Serve(l)
}

func (o *paced) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == recordPath {
		o.mu.Lock()
		record := o.record
		o.record, o.connections = new(sending), 0
		o.mu.Unlock()
		json.NewEncoder(w).Encode(record.now())
		return
	}
	way, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	c := r.Context().Value(connKey{}).(*pacedConn)
	o.mu.Lock()
	record := o.record
	c.once.Do(func() {
		c.slow = o.connections%6 == slowOne && (way == wayStalls || way == wayCrawls)
		o.connections++
		c.pace(way)
	})
	o.mu.Unlock()
	file, err := os.Open(o.file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer file.Close()
	record.begin()
	defer record.end()
	w.Header().Set("ETag", `"bench"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	content := &seeker{File: file}
	http.ServeContent(&pacedBody{ResponseWriter: w, o: o, c: c, way: way, ctx: r.Context(), content: content, record: record},
		r, path.Base(r.URL.Path), time.Time{}, content)
}

// pace sets a connection's rate (SO_MAX_PACING_RATE, socket(7)), and a buffer so small that what was written was sent.
func (c *pacedConn) pace(way string) {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return
	}
	const maxPacingRate = 47 // SO_MAX_PACING_RATE
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 256<<10)
		if way != wayShared {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, maxPacingRate, pacedRate)
		}
	})
}

// allowance is what all connections together may send: sharedRate. It is safe for concurrent use.
type allowance struct {
	mu   sync.Mutex
	paid time.Time // until when what was sent took the time that it may
}

// wait returns when n bytes more may be sent. What was not sent for as long as slack is lost.
func (a *allowance) wait(ctx context.Context, n int) error {
	const slack = 20 * time.Millisecond
	a.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-slack); a.paid.Before(earliest) {
		a.paid = earliest
	}
	a.paid = a.paid.Add(time.Duration(n) * time.Second / sharedRate)
	wait := a.paid.Sub(now)
	a.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	return sleep(ctx, wait)
}

// seeker is a file that knows where the next read begins.
type seeker struct {
	*os.File
	at int64
}

func (s *seeker) Seek(offset int64, whence int) (n int64, err error) {
	s.at, err = s.File.Seek(offset, whence)
	return s.at, err
}

// pacedBody is a response, of which all that is written is recorded.
type pacedBody struct {
	http.ResponseWriter
	o       *paced
	c       *pacedConn
	way     string
	ctx     context.Context // ends with the connection
	content *seeker
	at      int64 // where content was read to by what was written
	begun   bool
	record  *sending
}

func (b *pacedBody) Write(p []byte) (int, error) {
	if !b.begun {
		b.begun, b.at = true, b.content.at
	}
	if err := b.wait(len(p)); err != nil {
		return 0, err
	}
	n, err := b.ResponseWriter.Write(p)
	b.record.add(b.c, b.at, b.at+int64(n))
	b.c.sent += int64(n)
	b.at += int64(n)
	return n, err
}

// wait holds n bytes back that are not to be sent yet.
func (b *pacedBody) wait(n int) error {
	switch slow := b.c.slow && b.c.sent >= slowAfter; {
	case b.way == wayShared:
		return b.o.shared.wait(b.ctx, n)
	case slow && b.way == wayStalls:
		<-b.ctx.Done()
		return context.Cause(b.ctx)
	case slow:
		return sleep(b.ctx, time.Duration(n)*time.Second/crawlRate)
	}
	return nil
}

// pacedServer is the child as its parent has it.
type pacedServer struct {
	url  string
	stop func()
}

func (l *lab) paced(file string) (*pacedServer, error) {
	url, stop, err := l.server(childPaced, file)
	return &pacedServer{url, stop}, err
}

// take is what has been sent since it was last taken. Connections that are made from now on are counted anew.
func (s *pacedServer) take(ctx context.Context) (sent, error) {
	return takeRecord[sent](ctx, s.url)
}

// takeRecord is what the child at url has counted since it was last asked.
func takeRecord[T any](ctx context.Context, url string) (now T, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+recordPath, nil)
	if err != nil {
		return now, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return now, err
	}
	defer resp.Body.Close()
	return now, json.NewDecoder(bufio.NewReader(resp.Body)).Decode(&now)
}
