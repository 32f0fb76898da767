package test

import (
	"net/http/httptest"

	"github.com/mccutchen/go-httpbin/v2/httpbin"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/urlsession/urlsession/internal/credential/credentialtest"
)

// startHTTPBin is httpbin VAR: it starts go-httpbin, which others have written and which wants to know who asks in several ways,
// and sets $VAR to its URL.
func startHTTPBin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: httpbin VAR")
	}
	srv := httptest.NewServer(httpbin.New())
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.URL)
}

// startNTLM is ntlm VAR: it starts a server that wants NTLM of Domain\User with Password, and sends back what it is sent.
func startNTLM(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ntlm VAR")
	}
	srv := credentialtest.NewServer(credentialtest.NTLM("NTLM"), nil)
	srv.Start()
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.URL)
}
