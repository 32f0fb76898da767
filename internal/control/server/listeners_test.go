package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/control/server"
	"github.com/urlsession/urlsession/internal/task"
)

// TestHundredListeners: all of them are told everything, with the newest of what moves.
func TestHundredListeners(t *testing.T) {
	n := newNetwork()
	d, c := serve(t, n.run)
	const listeners, tasks = 100, 20
	var ready, all sync.WaitGroup
	ready.Add(listeners)
	for range listeners {
		c := d.client()
		all.Go(func() {
			ended := 0
			moved := make(map[task.ID]int64)
			var evs []task.Event
			for ev, err := range c.Events(t.Context(), task.EventQuery{}) {
				if err != nil {
					t.Error(err)
					return
				}
				evs = append(evs, ev)
				switch p := ev.Detail.(type) {
				case task.EventsCompleted:
					ready.Done()
				case task.DownloadProgress:
					if moved[ev.Task] += p.Written; moved[ev.Task] != p.Total {
						t.Errorf("task %d: told of %d bytes, and of %d in all", ev.Task, moved[ev.Task], p.Total)
					}
				case task.SessionCompleted:
					if moved[ev.Task] != 100 {
						t.Errorf("task %d ended at %d bytes", ev.Task, moved[ev.Task])
					}
					ended++
				}
				if ended == tasks {
					break
				}
			}
			if n := len(sequences(t, evs)); n != 3*tasks {
				t.Errorf("%d events", n)
			}
		})
	}
	ready.Wait()
	for range tasks {
		create(t, c, get("move", download))
	}
	close(n.gate("move"))
	all.Wait()
}

// TestListenerAtEachCursor: whoever names an event gets those after it, while others come.
func TestListenerAtEachCursor(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	const before, after = 40, 40
	for range before {
		end(t, c, create(t, c, get("ok")))
	}
	var ready, all sync.WaitGroup
	for cursor := range uint64(2*before + 1) {
		ready.Add(1)
		c := d.client()
		all.Go(func() {
			evs := collect(t, c, task.EventQuery{After: &cursor}, func(ev task.Event) bool {
				if is("sessioneventscompleted")(ev) {
					ready.Done()
				}
				return ev.Sequence == 2*(before+after)
			})
			seqs := sequences(t, evs)
			if seqs[0] != cursor+1 || len(seqs) != 2*(before+after)-int(cursor) {
				t.Errorf("after %d come %d events from %d", cursor, len(seqs), seqs[0])
			}
		})
		if cursor%2 == 0 { // some are there while the rest comes
			ready.Wait()
		}
	}
	for range after {
		create(t, c, get("ok"))
	}
	all.Wait()
}

// TestCursorOfTheFuture begins where nothing is yet, and does not disturb those who listen from the present.
func TestCursorOfTheFuture(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	future := uint64(6)
	got := make(chan []task.Event)
	started := make(chan struct{})
	go func() {
		got <- collect(t, d.client(), task.EventQuery{After: &future}, func(ev task.Event) bool {
			if is("sessioneventscompleted")(ev) {
				close(started)
			}
			return ev.Sequence == 8
		})
	}()
	<-started
	time.Sleep(50 * time.Millisecond) // it is likely the first then that follows; nothing tells
	done := make(chan []task.Event)
	begun := make(chan struct{})
	go func() {
		done <- collect(t, c, task.EventQuery{}, func(ev task.Event) bool {
			if is("sessioneventscompleted")(ev) {
				close(begun)
			}
			return ev.Sequence == 8
		})
	}()
	<-begun
	for range 4 {
		end(t, c, create(t, c, get("ok")))
	}
	if seqs := sequences(t, <-got); len(seqs) != 2 || seqs[0] != 7 {
		t.Errorf("%v", seqs)
	}
	if seqs := sequences(t, <-done); len(seqs) != 8 {
		t.Errorf("%v", seqs)
	}
}

// TestListenerThatNeverReads: it delays nobody, and when it reads, it has missed nothing.
func TestListenerThatNeverReads(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	lazy, err := net.Dial("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer lazy.Close()
	fmt.Fprintf(lazy, "GET /v1/sessions/s/events HTTP/1.1\r\nHost: urlsession\r\n\r\n")

	const tasks = 6000 // more than wait for a listener, and than a socket holds
	got := make(chan []task.Event)
	go func() {
		got <- collect(t, c, task.EventQuery{}, func(ev task.Event) bool { return ev.Sequence == 2*tasks })
	}()
	for range tasks {
		if _, err := d.session().Engine.Create(t.Context(), get("ok"), nil); err != nil {
			t.Fatal(err)
		}
	}
	sequences(t, <-got)

	resp, err := http.ReadResponse(bufio.NewReader(lazy), nil)
	if err != nil {
		t.Fatal(err)
	}
	next := 1 // the body is not closed, since that reads to its end
	for in := bufio.NewScanner(resp.Body); in.Scan() && next <= 2*tasks; {
		if id, ok := strings.CutPrefix(in.Text(), "id: "); ok && id != "0" {
			if id != fmt.Sprint(next) {
				t.Fatalf("event %s, want %d", id, next)
			}
			next++
		}
	}
	if next != 2*tasks+1 {
		t.Errorf("only %d events came", next-1)
	}
}

// TestSlowLoopSkips: a loop that takes its time is told the newest of what moves, not all that has been.
func TestSlowLoopSkips(t *testing.T) {
	n := newNetwork()
	_, c := serve(t, n.run)
	id := create(t, c, get("move", download))
	for _, q := range []task.EventQuery{{Task: id}, {}} {
		told := 0
		for ev, err := range c.Events(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			p, ok := ev.Detail.(task.DownloadProgress)
			if !ok {
				continue
			}
			if told++; told > 1 {
				if p.Total < 41 {
					t.Errorf("told of %d bytes", p.Total)
				}
				break
			}
			for range 40 {
				n.gate("move") <- struct{}{}
				if q.Task != 0 {
					time.Sleep(5 * time.Millisecond) // progress is told meanwhile
				}
			}
			time.Sleep(300 * time.Millisecond)
		}
	}
}

// TestTwoApps on one identifier: one owns, and its claim ends with its connection; the other cannot acknowledge.
func TestTwoApps(t *testing.T) {
	d, a := serve(t, newNetwork().run)
	b := d.client()
	end(t, a, create(t, a, get("ok")))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	owned, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		for ev, err := range a.Events(ctx, task.EventQuery{Own: true}) {
			if err == nil && is("sessioneventscompleted")(ev) {
				close(owned)
			}
		}
	}()
	<-owned
	for _, err := range b.Events(t.Context(), task.EventQuery{Own: true}) {
		code(t, err, task.SessionInUse)
	}
	code(t, b.Acknowledge(t.Context(), 2), task.SessionInUse)
	if err := a.Acknowledge(t.Context(), 1); err != nil {
		t.Error(err)
	}
	leave()
	<-left
	if evs := collect(t, b, task.EventQuery{Own: true}, is("sessioneventscompleted")); len(evs) != 2 || evs[0].Sequence != 2 {
		t.Errorf("%s", names(evs))
	}
	if err := b.Acknowledge(t.Context(), 2); err != nil {
		t.Error(err)
	}
}

// TestOwnerThatComesBack takes the place of its own connection, which the server has not seen break.
func TestOwnerThatComesBack(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	open := func() (net.Conn, *bufio.Scanner) {
		conn, err := net.Dial("unix", d.socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "GET /v1/sessions/s/events?own=true HTTP/1.1\r\nHost: urlsession\r\nUrlsession-Claim: me\r\n\r\n")
		in := bufio.NewScanner(conn)
		for in.Scan() && !strings.Contains(in.Text(), "sessioneventscompleted") {
			if strings.Contains(in.Text(), "errorCode") {
				t.Fatal(in.Text())
			}
		}
		return conn, in
	}
	_, first := open()
	open()
	for first.Scan() { // to its end
	}
}

func TestTooManyListeners(t *testing.T) {
	d := newDaemon(t, newNetwork().run)
	d.options = server.Options{MaxListeners: 1}
	d.start()
	c := d.client()
	for ev, err := range c.Events(t.Context(), task.EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !is("sessioneventscompleted")(ev) {
			continue
		}
		for _, err := range c.Events(t.Context(), task.EventQuery{}) {
			code(t, err, task.Unknown)
		}
		break
	}
	wait(t, "the place to be free", func() bool {
		for _, err := range c.Events(t.Context(), task.EventQuery{}) {
			return err == nil
		}
		return false
	})
}

// TestOwnerIsToldOnceThatEventsWait: also where the daemon goes away while its loop is behind.
func TestOwnerIsToldOnceThatEventsWait(t *testing.T) {
	sequence := 0
	c := against(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(control.VersionHeader, "1")
		sequence++
		for _, ev := range []task.Event{
			{Session: "s", Detail: task.BackgroundTransfer{SessionID: "s"}},
			{Session: "s", Sequence: uint64(sequence), Detail: task.Metrics{}},
		} {
			data, err := json.Marshal(ev)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", ev.Sequence, data)
		} // and the stream breaks off
	}, func(o *control.ClientOptions) { o.Patience = time.Minute })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var evs []task.Event
	for ev, err := range c.Events(ctx, task.EventQuery{Own: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if evs = append(evs, ev); ev.Sequence == 3 {
			break
		}
	}
	if s := names(evs); s != "backgroundtransfer metrics metrics metrics" {
		t.Error(s)
	}
}
