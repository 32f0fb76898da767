package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// oneAnswer is a daemon that answers the first request so, and then is gone.
func oneAnswer(head, body string) *Client {
	answered := false
	return NewClient(ClientOptions{Session: "s", Patience: time.Nanosecond, DialContext: func(context.Context, string, string) (net.Conn, error) {
		if answered {
			return nil, errors.New("it is gone")
		}
		answered = true
		a, b := net.Pipe()
		go func() {
			defer b.Close()
			buf := make([]byte, 4096)
			for got := ""; !strings.Contains(got, "\r\n\r\n"); {
				n, err := b.Read(buf)
				if err != nil {
					return
				}
				got += string(buf[:n])
			}
			io.WriteString(b, head+body)
		}()
		return a, nil
	}})
}

const streamHead = "HTTP/1.1 200 OK\r\nUrlsession-Api: 1\r\nContent-Type: text/event-stream\r\n\r\n"

func event(seq uint64, id task.ID, d task.Detail) string {
	b, err := (task.Event{Session: "s", Task: id, Sequence: seq, Time: time.Unix(1, 0), Detail: d}).MarshalJSON()
	if err != nil {
		panic(err)
	}
	if seq == 0 {
		return fmt.Sprintf("data: %s\n\n", b)
	}
	return fmt.Sprintf("id: %d\ndata: %s\n\n", seq, b)
}

func TestEventStreams(t *testing.T) {
	response := task.ResponseReceived{Status: 200}
	for _, c := range []struct {
		name, body, want string
		q                task.EventQuery
		err              task.Code // 0: it ends
	}{
		{"the end", "id: 4\n\nevent: end\ndata: {}\n\n", "", task.EventQuery{}, 0},
		{"a failure", `event: failure` + "\n" + `data: {"errorCode":-1008,"operation":"read events"}` + "\n\n", "", task.EventQuery{}, task.ResourceUnavailable},
		{"a failure that is none", "event: failure\ndata: {}\n\n", "", task.EventQuery{}, task.CannotParseResponse},
		{"a daemon that stops", `event: failure` + "\n" + `data: {"errorCode":-997}` + "\n\n", "", task.EventQuery{}, task.DaemonLost},
		{"a break", event(1, 1, response), "1", task.EventQuery{}, task.DaemonLost},
		{"again what was told", event(1, 1, response) + event(1, 1, response) + event(2, 0, task.Invalidated{}), "1 2", task.EventQuery{}, 0},
		{"a gap", event(0, 0, task.Gap{From: 1, To: 5}) + event(5, 1, response) + event(6, 0, task.Invalidated{}), "0 6", task.EventQuery{}, 0},
		{"a gap without end", event(0, 0, task.Gap{From: 1, To: 1<<64 - 1}) + event(6, 0, task.Invalidated{}), "6", task.EventQuery{}, 0},
		{"completed twice", strings.Repeat(event(0, 0, task.EventsCompleted{}), 2) + event(1, 0, task.Invalidated{}), "0 1", task.EventQuery{}, 0},
		{"a task's last", event(1, 1, response) + event(2, 1, task.SessionCompleted{}), "1 2", task.EventQuery{Task: 1}, 0},
		{"an event of a later version", `id: 1` + "\n" + `data: {"event":"teleported","taskIdentifier":1,"sequence":1,"time":"2020-01-01T00:00:00Z"}` + "\n\n" + event(2, 0, task.Invalidated{}), "2", task.EventQuery{}, 0},
		{"a frame of a later version", "event: weather\ndata: rain\n\n" + event(1, 0, task.Invalidated{}), "1", task.EventQuery{}, 0},
		{"no JSON", "data: hello\n\n", "", task.EventQuery{}, task.CannotParseResponse},
		{"no event", "data: {}\n\n", "", task.EventQuery{}, task.DaemonLost},
		{"no stream", "<html>\n\nid: x\n\n", "", task.EventQuery{}, task.CannotParseResponse},
	} {
		client := oneAnswer(streamHead, c.body)
		var got []string
		var last error
		for ev, err := range client.Events(t.Context(), c.q) {
			if last = err; err == nil {
				got = append(got, fmt.Sprint(ev.Sequence))
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: events %q, want %q", c.name, s, c.want)
		}
		if (last == nil) != (c.err == 0) || last != nil && !errors.Is(last, c.err) {
			t.Errorf("%s: %v, want %v", c.name, last, c.err)
		}
		client.Close()
	}
}

// FuzzEvents: whatever comes on the wire, a loop ends without a panic, its durable events ascend, and its error is of a
// code.
func FuzzEvents(f *testing.F) {
	f.Add(event(1, 1, task.ResponseReceived{}) + event(0, 1, task.DownloadProgress{Total: 1}) + event(2, 0, task.Invalidated{}))
	f.Add("id: 4\n\n: heartbeat\n\nevent: end\ndata: {}\n\n")
	f.Add("event: failure\ndata: {\"errorCode\":-1}\n\n")
	f.Add(event(0, 0, task.Gap{From: 1, To: 5}) + event(0, 0, task.EventsCompleted{}))
	f.Add("data: {\"event\":\"sessioncompleted\",\"sequence\":18446744073709551615}\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		client := oneAnswer(streamHead, body)
		defer client.Close()
		var seq uint64
		for ev, err := range client.Events(t.Context(), task.EventQuery{}) {
			if err != nil {
				if _, ok := errors.AsType[*task.Error](err); !ok {
					t.Errorf("%T %v", err, err)
				}
				return
			}
			if ev.Sequence != 0 {
				if ev.Sequence <= seq {
					t.Errorf("event %d after %d", ev.Sequence, seq)
				}
				seq = ev.Sequence
			}
		}
	})
}

// FuzzAnswers: whatever answers, a call ends, with an error of a code or a result.
func FuzzAnswers(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nUrlsession-Api: 1\r\nContent-Length: 20\r\n\r\n{\"taskIdentifier\":1}")
	f.Add("HTTP/1.1 404 Not Found\r\nUrlsession-Api: 1\r\nContent-Length: 19\r\n\r\n{\"errorCode\":-1008}")
	f.Add("HTTP/1.1 200 OK\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\nUrlsession-Api: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}")
	f.Fuzz(func(t *testing.T, answer string) {
		client := oneAnswer("", answer)
		defer client.Close()
		if _, err := client.Task(t.Context(), 1); err != nil {
			if _, ok := errors.AsType[*task.Error](err); !ok {
				t.Errorf("%T %v", err, err)
			}
		}
	})
}

// TestAcknowledgements: while one is under way only the newest of those that come is kept, and leaving waits for it.
func TestAcknowledgements(t *testing.T) {
	gate, sent := make(chan struct{}), make(chan uint64, 10)
	refuse := false
	a := &acknowledger{ctx: t.Context(), cancel: func() {}, send: func(_ context.Context, n uint64) error {
		<-gate
		if refuse {
			return &task.Error{Code: task.DaemonLost}
		}
		sent <- n
		return nil
	}}
	for n := uint64(1); n <= 5; n++ {
		if taken, err := a.acknowledge(n); !taken || err != nil {
			t.Fatal(taken, err)
		}
	}
	close(gate)
	if n := <-sent; n != 1 && n != 5 {
		t.Errorf("first %d", n)
	} else if n == 1 {
		if n := <-sent; n != 5 {
			t.Errorf("then %d", n)
		}
	}
	a.sending.Wait()
	refuse = true
	if _, err := a.acknowledge(6); err != nil {
		t.Error(err)
	}
	a.sending.Wait()
	if _, err := a.acknowledge(7); !errors.Is(err, task.DaemonLost) {
		t.Errorf("%v", err)
	}
	refuse = false
	if _, err := a.acknowledge(8); err != nil {
		t.Error(err)
	}
	a.finish()
	if n := <-sent; n != 8 {
		t.Errorf("last %d", n)
	}
	if taken, _ := a.acknowledge(9); taken {
		t.Error("taken after the end")
	}
}

func TestCheckIdentifier(t *testing.T) {
	for _, id := range []string{"a", "com.example.sync", "ä b/c%2F", strings.Repeat("x", MaxIdentifier)} {
		if err := CheckIdentifier(id); err != nil {
			t.Error(err)
		}
		if got := sessionPath(id, "x"); !strings.HasPrefix(got, "/v1/sessions/") || strings.Count(got, "/") != 4 {
			t.Errorf("%q: path %q", id, got)
		}
	}
}
