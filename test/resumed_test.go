package test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// resuming VAR N starts a server of uploads that go on and sets $VAR to its URL. Of each of the first N bodies it reads 1 MiB.
func resuming(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: resuming VAR N")
	}
	var bodies atomic.Int64
	stalls := size(ts, args[1])
	srv := urlsessiontest.NewUploadServer()
	srv.Always("/f", func(r *urlsessiontest.UploadReply) {
		if r.Request.Method != http.MethodHead && r.Request.ContentLength > mib && bodies.Add(1) <= stalls {
			urlsessiontest.UploadStall(mib, urlsessiontest.Forever)(r)
		}
	})
	ts.Defer(srv.Close)
	stateOf(ts).uploads[args[0]] = srv
	ts.Setenv(args[0], srv.URL)
}

// received VAR BYTES waits until the server has received so many bytes of bodies.
func received(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: received VAR BYTES")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(uploadServer(ts, args[0]).WaitReceived(ctx, size(ts, args[1])))
}

// uploads VAR SEED SIZE prints what the server was asked by, in a line, and each upload that it has, to be looked at by stdout.
func uploads(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: uploads VAR SEED SIZE")
	}
	srv, want, out := uploadServer(ts, args[0]), bodyOf(ts, args[1:]), ts.Stdout()
	var methods []string
	for _, r := range srv.Requests() {
		methods = append(methods, r.Method)
	}
	fmt.Fprintf(out, "asked %s, received %d\n", strings.Join(methods, " "), srv.Received())
	for _, up := range srv.Uploads() {
		fmt.Fprintf(out, "offset=%d complete=%v gone=%d whole=%v\n", up.Offset, up.Complete, up.Gone, up.Check(want) == nil)
	}
}

func uploadServer(ts *testscript.TestScript, name string) *urlsessiontest.UploadServer {
	srv := stateOf(ts).uploads[name]
	if srv == nil {
		ts.Fatalf("no server of uploads called %q", name)
	}
	return srv
}
