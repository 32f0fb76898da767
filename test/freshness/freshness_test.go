// Package freshness compares when a session asks the server, and when its cache answers, with a model that is written from RFC
// 9111, sections 4.2 and 5.2.
package freshness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/urlsession/urlsession"
)

// TestModel stores a response, waits, and asks again. Time is synctest's.
func TestModel(t *testing.T) {
	var header http.Header // of the server's answers
	var status int
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header()["Date"] = nil // unless the case has one
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		io.WriteString(w, "content")
	}))
	defer srv.Close()
	cases := rapid.Custom(drawCase)
	rapid.Check(t, func(r *rapid.T) {
		c := cases.Draw(r, "case")
		var err error
		synctest.Test(t, func(*testing.T) {
			begin := time.Now()
			header, status = c.response(begin), c.Status
			err = compare(srv.URL, c, &asked)
		})
		if err != nil {
			r.Fatal(err)
		}
	})
}

func compare(url string, c exchange, asked *atomic.Int32) error {
	config := urlsession.Ephemeral()
	config.Proxy = urlsession.NoProxy()
	s, err := urlsession.New(config)
	if err != nil {
		return err
	}
	defer s.Close()
	get := func(h http.Header) (int, error) {
		before := asked.Load()
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		req.Header = h
		resp, err := s.RoundTripper().RoundTrip(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && (string(body) != "content" || resp.StatusCode != c.Status) {
			err = fmt.Errorf("it answers %s, %q", resp.Status, body)
		}
		return int(asked.Load() - before), err
	}
	if n, err := get(http.Header{}); n != 1 || err != nil {
		return fmt.Errorf("at first the server was asked %d times, error %v", n, err)
	}
	if err := s.Flush(context.Background()); err != nil { // closes the connection, for which no bubble waits
		return err
	}
	time.Sleep(seconds(c.Wait))
	want := 1
	if c.mayBeUsed() {
		want = 0
	}
	if n, err := get(c.request()); n != want || err != nil {
		return fmt.Errorf("the server was asked %d times, want %d, at age %v of lifetime %v, error %v", n, want, c.age(), c.lifetime(), err)
	}
	return nil
}
