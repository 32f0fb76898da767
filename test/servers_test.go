package test

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// origin VAR SCENE [ARGS...] starts a server with a scene of scenes_test.go and sets $VAR to its URL.
func origin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: origin VAR SCENE [ARGS...]")
	}
	sc, ok := scenes[args[1]]
	if !ok {
		ts.Fatalf("no scene called %q", args[1])
	}
	srv := urlsessiontest.NewServer(sc.options...)
	ts.Defer(srv.Close)
	stateOf(ts).servers[args[0]] = srv
	ts.Setenv(args[0], srv.URL)
	sc.set(srv, args[2:])
}

// scene VAR SCENE [ARGS...] sets another scene on a server that runs.
func scene(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: scene VAR SCENE [ARGS...]")
	}
	sc, ok := scenes[args[1]]
	if !ok {
		ts.Fatalf("no scene called %q", args[1])
	}
	sc.set(server(ts, args[0]), args[2:])
}

func server(ts *testscript.TestScript, name string) *urlsessiontest.Server {
	srv := stateOf(ts).servers[name]
	if srv == nil {
		ts.Fatalf("no server called %q", name)
	}
	return srv
}

// requests VAR [PATH] prints what the server was asked, a line a request, to be looked at by stdout.
func requests(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: requests VAR [PATH]")
	}
	srv := server(ts, args[0])
	all := srv.Requests()
	if len(args) > 1 {
		all = srv.RequestsTo(args[1])
	}
	out := ts.Stdout() // also when nothing was asked
	for _, r := range all {
		line := r.Method + " " + r.Target
		for _, name := range []string{"Range", "If-Range", "Authorization", "Cookie", "Content-Type", "Accept-Encoding", "User-Agent", "X-Test"} {
			if v, ok := r.Header[name]; ok {
				line += fmt.Sprintf(" %s=%s", strings.ToLower(name), strings.Join(v, ","))
			}
		}
		fmt.Fprintf(out, "%s status=%d sent=%d body=%d:%x %s\n", line, r.Status, r.Sent, r.BodySize, r.BodySHA256, r.Body)
	}
}

// sent VAR PATH BYTES waits until the server has sent so many bytes of a path's content.
func sent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: sent VAR PATH BYTES")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(server(ts, args[0]).WaitSent(ctx, args[1], size(ts, args[2])))
}

// asked VAR PATH N waits until the server has been asked for a path so often.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: asked VAR PATH N")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(server(ts, args[0]).WaitRequests(ctx, args[1], n))
}

// atonce VAR N expects that the server has answered at least N requests at once; with ! that it never has.
func atonce(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] atonce VAR N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if peak := server(ts, args[0]).Load().PeakRequests; peak >= n == neg {
		ts.Fatalf("%d requests at once, at most", peak)
	}
}

// size reads bytes with an optional k or M, of 1024.
func size(ts *testscript.TestScript, s string) int64 {
	unit := int64(1)
	switch {
	case strings.HasSuffix(s, "k"):
		s, unit = s[:len(s)-1], 1<<10
	case strings.HasSuffix(s, "M"):
		s, unit = s[:len(s)-1], 1<<20
	}
	n, err := strconv.ParseInt(s, 10, 64)
	ts.Check(err)
	return n * unit
}

// proxy VAR [USER PASSWORD] starts a proxy and sets $VAR to its host and port.
func proxy(ts *testscript.TestScript, neg bool, args []string) {
	var opts []urlsessiontest.ProxyOption
	switch {
	case neg || len(args) != 1 && len(args) != 3:
		ts.Fatalf("usage: proxy VAR [USER PASSWORD]")
	case len(args) == 3:
		opts = append(opts, urlsessiontest.ProxyCredentials(args[1], args[2]))
	}
	p := urlsessiontest.NewProxy(opts...)
	ts.Defer(p.Close)
	stateOf(ts).proxies[args[0]] = p
	ts.Setenv(args[0], strings.TrimPrefix(p.URL, "http://"))
}

// proxied VAR prints what the proxy was asked, a line a request.
func proxied(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || stateOf(ts).proxies[args[0]] == nil {
		ts.Fatalf("usage: proxied VAR")
	}
	out := ts.Stdout()
	for _, r := range stateOf(ts).proxies[args[0]].Requests() {
		fmt.Fprintf(out, "%s %s %s user=%s refused=%v\n", r.Kind, r.Method, r.Target, r.User, r.Refused)
	}
}
