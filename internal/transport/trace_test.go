package transport

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
	"testing"
	"time"

	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// Of a task's context only its end counts: whoever waits for the task lends it no trace, and no deadline before that.
func TestTraceAlone(t *testing.T) {
	srv := origin.NewServer()
	defer srv.Close()
	srv.Publish("/f", origin.Resource{Content: origin.Body{Size: 1000}})
	srv.Script("/slow", origin.Delay(origin.Forever))
	tr := newTransport(t, Options{})
	defer tr.CloseIdleConnections()

	var theirs atomic.Int32
	called := func() { theirs.Add(1) }
	ctx, stop := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { called() }, ConnectStart: func(string, string) { called() }, GotFirstResponseByte: called,
	})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var m Metrics
	alone := m.TraceAlone(ctx, nil)
	if _, ok := alone.Deadline(); ok {
		t.Error("it has a deadline")
	}
	if _, body, err := fetch(tr, get(t, srv.URL+"/f").WithContext(alone)); err != nil || len(body) != 1000 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if x := m.Transactions(); len(x) != 1 || x[0].Connect <= 0 || x[0].End <= 0 {
		t.Errorf("%+v", x)
	}
	if n := theirs.Load(); n != 0 {
		t.Errorf("a trace of the caller's was called %d times", n)
	}

	enough := errors.New("enough")
	time.AfterFunc(10*time.Millisecond, func() { cancel(enough) })
	if _, _, err := fetch(tr, get(t, srv.URL+"/slow").WithContext(alone)); !errors.Is(err, enough) {
		t.Errorf("after the end of its context: %v", err)
	}
}
