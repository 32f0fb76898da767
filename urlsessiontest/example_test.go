package urlsessiontest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

func Example() {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	file := urlsessiontest.Body{Seed: 1, Size: 4 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: file, ETag: `"v1"`})
	srv.Script("/f",
		urlsessiontest.Truncate(1<<20),
		urlsessiontest.Status(503, urlsessiontest.RetryAfter(2*time.Second)),
		urlsessiontest.Honest())

	for range 3 {
		resp, err := srv.Client().Get(srv.URL + "/f")
		if err != nil {
			fmt.Println(err)
			return
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, n, err)
	}
	// Output:
	// 200 1048576 unexpected EOF
	// 503 24 <nil>
	// 200 4194304 <nil>
}

// The origin that turns a careless resume into a file mixed of two versions.
func ExampleChanged() {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	old, changed := urlsessiontest.Body{Seed: 1, Size: 1000}, urlsessiontest.Body{Seed: 2, Size: 1000}
	srv.Publish("/f", urlsessiontest.Resource{Content: old, ETag: `"v1"`})
	srv.Script("/f",
		urlsessiontest.Truncate(400),
		urlsessiontest.Changed(urlsessiontest.Resource{Content: changed, ETag: `"v2"`}))

	resp, err := srv.Client().Get(srv.URL + "/f")
	if err != nil {
		fmt.Println(err)
		return
	}
	held, _ := io.ReadAll(resp.Body)
	resp.Body.Close()

	req, _ := http.NewRequest("GET", srv.URL+"/f", nil)
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", len(held)))
	req.Header.Set("If-Range", resp.Header.Get("ETag"))
	resp, err = srv.Client().Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, changed.Check(resp.Body))
	if err := srv.WaitIdle(req.Context()); err != nil { // until what was sent is counted
		fmt.Println(err)
	}
	fmt.Println(srv.Requests()[1].Range(), srv.Sent("/f"))
	// Output:
	// 200 OK <nil>
	// bytes=400- 1400
}

func ExampleGate() {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Body{Size: 1000}})
	gate := urlsessiontest.NewGate()
	srv.Script("/f", urlsessiontest.HoldAt(urlsessiontest.AtBody(600), gate))

	done := make(chan int64)
	go func() {
		resp, err := srv.Client().Get(srv.URL + "/f")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		n, _ := io.Copy(io.Discard, resp.Body)
		done <- n
	}()
	gate.Wait(context.Background())
	fmt.Println("held after", srv.Sent("/f"))
	gate.Open()
	fmt.Println("ended after", <-done)
	// Output:
	// held after 600
	// ended after 1000
}

func ExampleBody_Check() {
	file := urlsessiontest.Body{Seed: 1, Size: 1 << 30}
	fmt.Println(file.Check(io.LimitReader(file.Reader(), 1<<20)))
	// Output: content ends at byte 1048576 of 1073741824
}

func ExampleWithTLS() {
	srv := urlsessiontest.NewServer(urlsessiontest.InMemory(), urlsessiontest.WithTLS(urlsessiontest.ExpiredCertificate))
	defer srv.Close()
	_, err := srv.Client().Get(srv.URL)
	fmt.Println(err != nil)
	// Output: true
}

// A step of your own is a function that changes the reply.
func ExampleStep() {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Always(urlsessiontest.Every, func(r *urlsessiontest.Reply) {
		r.Status, r.Reason = 299, "Odd"
		r.Header.Set("X-Method", r.Request.Method)
	})
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status, resp.Header.Get("X-Method"))
	// Output: 299 Odd GET
}
