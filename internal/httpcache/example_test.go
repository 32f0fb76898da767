package httpcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
)

// A Cache stands right before what sends requests: cookies and credentials are in them by then, and codings are undone after it.
// In a transport it is a field beside the base, and RoundTrip sends through it.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "hello")
	}))
	defer server.Close()
	folder, err := os.MkdirTemp("", "cache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	storage, err := httpcache.Open(folder, httpcache.FolderOptions{Capacity: 64 << 20}) // or InMemory
	if err != nil {
		log.Fatal(err)
	}
	base := &http.Transport{DisableCompression: true}
	cache := httpcache.New(base, storage, httpcache.Options{})
	defer base.CloseIdleConnections()
	defer cache.Close()

	get := func(p httpcache.Policy, url string) {
		var from source
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			log.Fatal(err)
		}
		ctx := httpcache.WithPolicy(req.Context(), p) // a task's policy
		ctx = httpcache.WithReport(ctx, &from)
		resp, err := cache.RoundTrip(req.WithContext(ctx))
		if errors.Is(err, task.CannotLoadFromNetwork) {
			fmt.Println("nothing is stored")
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Println(string(body), from == source(httpcache.FromCache))
	}
	get(httpcache.ReturnDontLoad, server.URL)
	get(httpcache.UseProtocol, server.URL)
	get(httpcache.UseProtocol, server.URL)
	get(httpcache.ReloadIgnoringLocal, server.URL)
	if err := storage.Reset(context.Background()); err != nil {
		log.Fatal(err)
	}
	get(httpcache.ReturnDontLoad, server.URL)
	// Output:
	// nothing is stored
	// hello false
	// hello true
	// hello false
	// nothing is stored
}

// source is a Reporter.
type source httpcache.Source

func (s *source) Fetched(from httpcache.Source) { *s = source(from) }
