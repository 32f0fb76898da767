package test

import (
	"net/http/httptest"

	"github.com/mccutchen/go-httpbin/v2/httpbin"
	"github.com/rogpeppe/go-internal/testscript"
)

// httpbin VAR starts go-httpbin, which others have written and which wants to know who asks in several ways, and sets $VAR to
// its URL.
func startHTTPBin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: httpbin VAR")
	}
	srv := httptest.NewServer(httpbin.New())
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.URL)
}
