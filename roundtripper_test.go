package urlsession

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestRoundTripperIsTheWholeChain(t *testing.T) {
	other := urlsessiontest.NewServer()
	defer other.Close()
	s, srv := start(t, func(c *Configuration) {
		c.AdditionalHeaders = http.Header{"authorization": {"Basic hunter2"}, "X-App": {"a"}, "X-Own": {"session"}}
	})
	client := &http.Client{Transport: s.RoundTripper()}
	body := urlsessiontest.Body{Seed: 1, Size: 100_000}
	srv.Publish("/f", urlsessiontest.Resource{Content: body})
	srv.Script("/f", urlsessiontest.All(urlsessiontest.Gzip(), urlsessiontest.SetCookie("k=v")))
	for range 2 {
		req, err := http.NewRequest("GET", srv.URL+"/f", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["x-own"] = []string{"mine"}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := body.Check(resp.Body); err != nil {
			t.Error(err)
		}
		resp.Body.Close()
		if len(req.Header) != 1 || resp.Request != req {
			t.Errorf("the request was changed: %v", req.Header)
		}
	}
	reqs := srv.RequestsTo("/f")
	if h := reqs[0].Header; h.Get("Authorization") == "" || h.Get("X-App") != "a" || h.Get("X-Own") != "mine" || len(h.Values("X-Own")) != 1 {
		t.Errorf("%v", h)
	}
	if got := reqs[1].Header.Get("Cookie"); got != "k=v" {
		t.Errorf("the cookie is %q", got)
	}

	srv.Script("/r", urlsessiontest.Redirect(302, other.URL+"/f"), urlsessiontest.Redirect(302, "/f"))
	for range 2 {
		resp, err := client.Get(srv.URL + "/r")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if h := other.RequestsTo("/f")[0].Header; h.Get("Authorization") != "" || h.Get("X-App") != "a" {
		t.Errorf("to another origin went %v", h)
	}
	if h := srv.RequestsTo("/f")[2].Header; h.Get("Authorization") == "" {
		t.Errorf("within the origin went %v", h)
	}
}

func TestRoundTripperFailsByCode(t *testing.T) {
	s, srv := start(t, nil)
	client := &http.Client{Transport: s.RoundTripper()}
	_, err := client.Get("http://127.0.0.1:1/?key=hunter2")
	if !errors.Is(err, ErrCannotConnect) {
		t.Errorf("%v", err)
	}
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Body{Size: 1000}})
	srv.Script("/f", urlsessiontest.MislabelCoding("gzip"))
	resp, err := client.Get(srv.URL + "/f")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != ErrCannotDecodeRaw {
		t.Errorf("%v", err)
	}
	s.Close()
	closed := &closeNoting{Reader: strings.NewReader("x")}
	_, err = client.Post(srv.URL, "", closed)
	if !errors.Is(err, ErrSessionInvalidated) || !closed.closed {
		t.Errorf("%v; body closed: %v", err, closed.closed)
	}
}

type closeNoting struct {
	io.Reader
	closed bool
}

func (c *closeNoting) Close() error { c.closed = true; return nil }
