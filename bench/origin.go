//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// origin is a server that takes its time. It runs in this process, which is not the one that is measured.
type origin struct {
	url    string
	server *http.Server

	under atomic.Int64   // requests that are being answered slowly
	first chan time.Time // when a first byte had been sent; holds the earliest that nobody took

	mu   sync.Mutex
	gate chan struct{}
}

// serveOrigin starts one by a handler of its own.
func serveOrigin(handle func(o *origin, w http.ResponseWriter, r *http.Request)) (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{url: "http://" + l.Addr().String(), first: make(chan time.Time, 1), gate: make(chan struct{})}
	o.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(o, w, r) })}
	go o.server.Serve(l)
	return o, nil
}

func (o *origin) close() { o.server.Close() }

const atOncePath = "/now/"

// holding answers by size bytes: below atOncePath at once, elsewhere by the first half, and by the rest after release.
func holding(size int64) func(o *origin, w http.ResponseWriter, r *http.Request) {
	body := bytes.Repeat([]byte("x"), int(size))
	return func(o *origin, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if strings.HasPrefix(r.URL.Path, atOncePath) {
			w.Write(body)
			return
		}
		o.mu.Lock()
		gate := o.gate
		o.mu.Unlock()
		w.Write(body[:len(body)/2])
		http.NewResponseController(w).Flush()
		select {
		case o.first <- time.Now():
		default:
		}
		o.under.Add(1)
		defer o.under.Add(-1)
		select {
		case <-gate:
			w.Write(body[len(body)/2:])
		case <-r.Context().Done():
		}
	}
}

// release lets the requests go that are held now.
func (o *origin) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.gate)
	o.gate = make(chan struct{})
}

// trickling promises size bytes and sends a few of them at each tick.
func trickling(size int64, few int, tick time.Duration) func(o *origin, w http.ResponseWriter, r *http.Request) {
	piece := bytes.Repeat([]byte("x"), few)
	return func(o *origin, w http.ResponseWriter, r *http.Request) {
		o.under.Add(1)
		defer o.under.Add(-1)
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		out := http.NewResponseController(w)
		for ticks := time.NewTicker(tick); r.Context().Err() == nil; {
			if _, err := w.Write(piece); err != nil || out.Flush() != nil {
				break
			}
			select {
			case <-ticks.C:
			case <-r.Context().Done():
			}
		}
	}
}

// busy waits until so many requests are being answered slowly.
func (o *origin) busy(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for o.under.Load() != int64(want) {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for %d requests at once, there are %d: %w", want, o.under.Load(), err)
		}
	}
	return nil
}

// forget drops what first holds.
func (o *origin) forget() {
	select {
	case <-o.first:
	default:
	}
}
