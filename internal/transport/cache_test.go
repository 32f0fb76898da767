package transport

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// TestAnswersOfTheCacheAreTransactions, without a connection, and nothing of them has left.
func TestAnswersOfTheCacheAreTransactions(t *testing.T) {
	maxAge := "60"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Cache-Control", "max-age="+maxAge)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write([]byte("content"))
	}))
	defer server.Close()
	tr := newTransport(t, Options{Cache: httpcache.InMemory(1 << 20)})
	for _, want := range []task.FetchType{task.FetchNetwork, task.FetchCache, task.FetchValidated} {
		req := get(t, server.URL)
		if want == task.FetchValidated {
			req.Header.Set("Cache-Control", "no-cache")
		}
		ctx, m := Trace(req.Context(), nil)
		resp, body, err := fetch(tr, req.WithContext(ctx))
		if err != nil || resp.StatusCode != 200 || string(body) != "content" {
			t.Fatalf("%q, %v", body, err)
		}
		x := m.Transactions()[0]
		if x.Fetch != want || m.Fetch() != want || x.Status != 200 || x.FirstByte <= 0 || x.End < x.FirstByte {
			t.Errorf("want %q: %+v", want, x)
		}
		if offline := want == task.FetchCache; m.Unsent() != offline || (x.Remote == "") != offline || offline && x.Connect+x.DNS+x.TLS > 0 {
			t.Errorf("from %q, unsent %v: %+v", want, m.Unsent(), x)
		}
	}
}

// TestErrorsOfTheCache are task.Errors as all are, and pass Classify as they are.
func TestErrorsOfTheCache(t *testing.T) {
	for _, storage := range []*httpcache.Storage{nil, httpcache.InMemory(1 << 20)} {
		tr := newTransport(t, Options{Cache: storage})
		for _, method := range []string{"GET", "POST"} {
			req, err := http.NewRequestWithContext(httpcache.WithPolicy(t.Context(), httpcache.ReturnDontLoad), method,
				"http://user:secret@127.0.0.1:1/?secret", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = tr.RoundTrip(req)
			e := wantCode(t, err, task.CannotLoadFromNetwork)
			if got := Classify("x", "y", err); got != e || !e.Unsent {
				t.Errorf("%+v became %+v", e, got)
			}
		}
	}
}

// TestRenewalsOfATransport: what goes on behind an answer has no part in its metrics, and Close joins it.
func TestRenewalsOfATransport(t *testing.T) {
	asked := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
		w.Header().Set("Set-Cookie", "k="+r.URL.Query().Get("q"))
		asked <- struct{}{}
		if len(asked) == 2 { // the renewal: it would go on for ever
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(30 * time.Second):
			}
		}
	}))
	defer server.Close()
	tr := newTransport(t, Options{Cache: httpcache.InMemory(1 << 20)})
	if _, _, err := fetch(tr, get(t, server.URL)); err != nil {
		t.Fatal(err)
	}
	ctx, m := Trace(t.Context(), nil)
	resp, _, err := fetch(tr, get(t, server.URL).WithContext(ctx))
	if err != nil || m.Fetch() != task.FetchCache {
		t.Fatalf("%v, %v, from %q", resp, err, m.Fetch())
	}
	for deadline := time.Now().Add(30 * time.Second); len(asked) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was renewed")
		}
	}
	tr.Close() // goleak sees whether it is joined
	if all := m.Transactions(); len(all) != 1 || !m.Unsent() {
		t.Errorf("the renewal is among %+v", all)
	}
	tr.Close()
	if _, _, err := fetch(tr, get(t, server.URL)); err != nil {
		t.Errorf("after Close: %v", err)
	}
	tr.CloseIdleConnections()
}

// TestRenewalsGoThroughTheProxy, also where that takes a tunnel.
func TestRenewalsGoThroughTheProxy(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var opts []origin.Option
		if secure {
			opts = append(opts, origin.WithTLS(origin.ValidCertificate))
		}
		srv := origin.NewServer(opts...)
		t.Cleanup(srv.Close)
		proxy := origin.NewProxy()
		t.Cleanup(proxy.Close)
		srv.Publish("/f", origin.Resource{ETag: `"1"`, Header: http.Header{"Cache-Control": {"max-age=0, stale-while-revalidate=600"}}})
		tr := newTransport(t, Options{Cache: httpcache.InMemory(1 << 20), Proxy: Proxy{URL: proxy.URL}, TLS: TLS{Roots: origin.CAPool()}})
		for range 2 {
			if _, _, err := fetch(tr, get(t, srv.URL+"/f")); err != nil {
				t.Fatal(err)
			}
			tr.CloseIdleConnections() // the renewal makes one of its own
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := srv.WaitRequests(ctx, "/f", 2); err != nil {
			t.Fatal(err)
		}
		cancel()
		if n := len(proxy.Requests()); n != 2 {
			t.Errorf("over TLS %v: %d requests came to the proxy, and 2 to the server", secure, n)
		}
		tr.Close()
	}
}

// TestWhatAConnectionProvesIsNotKept: no field of a request says whose response it is.
func TestWhatAConnectionProvesIsNotKept(t *testing.T) {
	storage := httpcache.InMemory(1 << 20)
	s := start(t, credentialtest.NewServer(credentialtest.NTLM("NTLM"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Write([]byte("mine"))
	})))
	tr := newTransport(t, Options{Authenticator: knowing(t, get(t, s.URL+"/"), ntlmUser()), Cache: storage})
	for range 2 {
		ctx, m := Trace(t.Context(), nil)
		resp, body, err := fetch(tr, get(t, s.URL+"/").WithContext(ctx))
		if err != nil || resp.StatusCode != 200 || string(body) != "mine" || m.Fetch() != task.FetchNetwork {
			t.Errorf("%v, %q, from %q, %v", resp, body, m.Fetch(), err)
		}
	}
	nobody := newTransport(t, Options{Cache: storage})
	if resp, body, err := fetch(nobody, get(t, s.URL+"/")); err != nil || resp.StatusCode != 401 {
		t.Errorf("whoever has proved nothing gets %q, %v", body, err)
	}
	if all, err := storage.Entries(); err != nil || len(all) != 0 {
		t.Errorf("kept are %+v, %v", all, err)
	}
}
