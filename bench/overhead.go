//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/urlsession/urlsession"
)

// The scenario overhead runs this program three times more: as a server, and as each of the two clients. overhead-storages does
// so with a server that wants a cookie and a password.
const (
	childServer     = "overhead-server"
	childURLSession = "overhead-urlsession"
	childNetHTTP    = "overhead-net/http"

	childStoring          = "overhead-storages-server"
	childStoredURLSession = "overhead-storages-urlsession"
	childStoredNetHTTP    = "overhead-storages-net/http"
)

const atOnce = 16

func overhead(server, ours, netHTTP string) func(context.Context, *lab, int64, int) (workload, error) {
	return func(_ context.Context, l *lab, size int64, count int) (workload, error) {
		return l.overhead(server, ours, netHTTP, size, count)
	}
}

func (l *lab) overhead(serverChild, ours, netHTTP string, size int64, count int) (w workload, err error) {
	url, stop, err := l.server(serverChild, strconv.FormatInt(size, 10))
	if err != nil {
		return w, err
	}
	w.close = stop
	by := func(name, child string) contender {
		return contender{name: name, argv: []string{l.self, child, url, strconv.Itoa(count), strconv.FormatInt(size, 10)}}
	}
	w.ours = by("urlsession", ours)
	w.peers = []contender{by("net/http", netHTTP)}
	w.check = func() error { return nil } // each client checks each body's length itself
	return w, nil
}

// server starts a child that prints its URL and serves until it is stopped.
func (l *lab) server(args ...string) (url string, stop func(), err error) {
	server := exec.Command(l.self, args...)
	server.Stderr = os.Stderr
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := server.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		server.Process.Kill()
		server.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("start the server: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}

// client is a child that makes count requests of a URL, each answered by size bytes.
func client(run func(url string, count, size int) error) func(args []string) error {
	return func(args []string) error {
		if len(args) != 3 {
			return errors.New("this is started by the scenario overhead alone")
		}
		count, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		size, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		end, err := profiled()
		if err != nil {
			return err
		}
		defer end()
		return run(args[0], count, size)
	}
}

// serve is a child that answers every request with as many bytes as its argument says, and prints its URL.
func serve(args []string) error {
	return serveWith(args, func(w http.ResponseWriter, _ *http.Request, body []byte) { w.Write(body) })
}

func serveWith(args []string, answer func(w http.ResponseWriter, r *http.Request, body []byte)) error {
	size, err := strconv.Atoi(strings.Join(args, ""))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/\n", l.Addr())
	body := bytes.Repeat([]byte("x"), size)
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, body) }))
}

func bySession(url string, count, size int) error {
	return repeatBySession(urlsession.Ephemeral(), url, count, size)
}

func repeatBySession(c urlsession.Configuration, url string, count, size int) error {
	c.MaximumConnectionsPerHost = atOnce
	s, err := urlsession.New(c)
	if err != nil {
		return err
	}
	defer s.Close()
	return repeat(count, func(ctx context.Context) error {
		body, resp, err := s.Data(ctx, urlsession.Get(url))
		if err != nil {
			return err
		}
		return expect(resp.StatusCode, len(body), size)
	})
}

// byNetHTTP is the least that a program with net/http does for the same bytes, with the transport that a session has.
func byNetHTTP(url string, count, size int) error {
	return repeatByNetHTTP(url, count, size, func(*http.Request) {})
}

func repeatByNetHTTP(url string, count, size int, prepare func(*http.Request)) error {
	client := &http.Client{Transport: &http.Transport{
		MaxConnsPerHost:     atOnce,
		MaxIdleConnsPerHost: atOnce,
		DisableCompression:  true,
	}}
	defer client.CloseIdleConnections()
	return repeat(count, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		prepare(req)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return expect(resp.StatusCode, len(body), size)
	})
}

func expect(status, got, want int) error {
	if status != http.StatusOK || got != want {
		return fmt.Errorf("status %d with %d bytes, want %d with %d", status, got, http.StatusOK, want)
	}
	return nil
}

// repeat does work count times, atOnce at a time, until one fails.
func repeat(count int, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var begun atomic.Int64
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for begun.Add(1) <= int64(count) && ctx.Err() == nil {
				if err := work(ctx); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}
