package credential_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/urlsession/urlsession/internal/credential"
)

// driver is a RoundTripper that authenticates: all that a transport does with an Exchange of an origin. In process, ask calls
// the session's function; in the background it makes a ticket, and returns when that is answered.
type driver struct {
	base    http.RoundTripper
	auth    *credential.Authenticator
	storage *credential.Storage
	ask     func(context.Context, *credential.Challenge) (credential.Answer, error)
}

func (d *driver) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	exchange := d.auth.Begin(req)
	exchange.Asks = d.ask != nil
	out := req
	if value := exchange.Authorize(); !value.IsZero() {
		out = req.Clone(ctx)
		out.Header.Set(exchange.Field(), value.Reveal())
	}
	for {
		resp, err := d.base.RoundTrip(out)
		if err != nil {
			return nil, err
		}
		step := exchange.Next(resp)
		for step.Action == credential.Ask || step.Action == credential.Refresh {
			if step.Action == credential.Refresh {
				step = exchange.Refresh(ctx)
				continue
			}
			answer, err := d.ask(ctx, step.Challenge)
			if err != nil {
				resp.Body.Close()
				return nil, err
			}
			step = exchange.Answer(answer)
		}
		switch step.Action {
		case credential.Deliver:
			if keep := step.Keep; keep != nil && d.storage != nil {
				err := d.storage.SetDefault(ctx, keep.Space, keep.Credential)
				if err != nil { // the response is there all the same: it is said, and no more
					fmt.Println(err)
				}
			}
			return resp, nil
		case credential.Fail:
			resp.Body.Close()
			return nil, step.Err
		}
		// Send. step.HTTP1 and step.SameConnection are kept here by base, which has one connection of HTTP/1.1.
		io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close()
		out = req.Clone(ctx)
		if !step.Value.IsZero() {
			out.Header.Set(step.Field, step.Value.Reveal())
		}
		switch {
		case step.NoBody:
			out.Body, out.GetBody, out.ContentLength = http.NoBody, nil, 0
		case req.GetBody != nil:
			if out.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

func ExampleExchange() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "alice" || password != "s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="staff only", charset="UTF-8"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "hello")
	}))
	defer server.Close()

	storage := credential.New()
	client := &http.Client{Transport: &driver{
		base:    server.Client().Transport,
		auth:    credential.NewAuthenticator(storage, credential.Policy{}),
		storage: storage,
		ask: func(_ context.Context, c *credential.Challenge) (credential.Answer, error) {
			fmt.Printf("who is there in %q (%s)? %d failures\n", c.Space.Realm, c.Space.Method, c.Failures)
			password := "secret"
			if c.Failures > 0 {
				fmt.Println(c.Err)
				password = "s3cret"
			}
			return credential.Answer{Disposition: credential.Use, Credential: credential.Credential{
				User: "alice", Password: credential.NewSecret(password), Persistence: credential.Session,
			}}, nil
		},
	}}
	for range 2 { // the second is authenticated unasked
		resp, err := client.Get(server.URL + "/a/b")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, string(body))
	}
	for _, stored := range storage.All() {
		fmt.Printf("%s: %v\n", stored.Space.Realm, stored.Credential)
	}
	// Output:
	// who is there in "staff only" (Basic)? 0 failures
	// who is there in "staff only" (Basic)? 1 failures
	// the server refuses the credential of user "alice"
	// 200 hello
	// 200 hello
	// staff only: {alice REDACTED   session}
}
