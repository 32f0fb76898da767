package urlsession_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// origin is a server with a file, for the examples.
func origin() *urlsessiontest.Server {
	srv := urlsessiontest.NewServer()
	srv.Publish("/go.tar.gz", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 1, Size: 1 << 20}, ETag: `"v1"`})
	srv.Publish("/films", urlsessiontest.Resource{})
	srv.Publish("/hello", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello"), ContentType: "text/plain"})
	return srv
}

func ExampleSession_Data() {
	srv := origin()
	defer srv.Close()
	s, err := urlsession.New(urlsession.Default())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	body, resp, err := s.Data(context.Background(), urlsession.Get(srv.URL+"/hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.StatusCode, string(body))

	// An error status is a response, too.
	_, resp, err = s.Data(context.Background(), urlsession.Get(srv.URL+"/nothing"))
	fmt.Println(resp.StatusCode, err)
	// Output:
	// 200 hello
	// 404 <nil>
}

func ExampleSession_Download() {
	srv := origin()
	defer srv.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	r := urlsession.Get(srv.URL + "/go.tar.gz")
	r.FailOnHTTPError = true // a 404 is no file
	resp, err := s.Download(context.Background(), r, dir+"/")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filepath.Base(resp.Path), resp.ContentLength)

	// The name is taken now.
	_, err = s.Download(context.Background(), r, resp.Path)
	fmt.Println(errors.Is(err, urlsession.ErrDestinationExists))
	// Output:
	// go.tar.gz 1048576
	// true
}

func ExampleSession_Upload() {
	srv := origin()
	defer srv.Close()
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	body := urlsession.Form(
		urlsession.Field("title", "Film"),
		urlsession.DataField("film", "film.mov", "video/quicktime", []byte("frames")),
	)
	_, resp, err := s.Upload(context.Background(), urlsession.Post(srv.URL+"/films", body))
	if err != nil {
		log.Fatal(err)
	}
	sent := srv.RequestsTo("/films")[0]
	fmt.Println(resp.StatusCode, sent.Method, strings.HasPrefix(sent.Header.Get("Content-Type"), "multipart/form-data"))
	// Output:
	// 200 POST true
}

func ExampleMultipart() {
	store := urlsessiontest.NewMultipartServer(urlsessiontest.MinimumPart(1000))
	defer store.Close()
	signed := store.Create("film.mov", 4) // as somebody with the key does
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	film := urlsessiontest.Body{Size: 10_000}
	r := urlsession.Post(signed.Complete, urlsession.Bytes(film.Bytes()))
	r.Multipart = &urlsession.Multipart{Parts: signed.Parts, PartSize: 2500, Abort: signed.Abort}
	_, resp, err := s.Upload(context.Background(), r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.StatusCode, signed.Held(), signed.Check(film))
	// Output:
	// 200 [1 2 3 4] <nil>
}

// Whoever has the key may complete the upload, too: it needs the parts' ETags.
func ExampleMultipart_uploadedParts() {
	store := urlsessiontest.NewMultipartServer(urlsessiontest.MinimumPart(1000))
	defer store.Close()
	signed := store.Create("film.mov", 2)
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ctx := context.Background()
	t, err := s.UploadTask(ctx, urlsession.Request{
		Body:      urlsession.Text("the first part, and the second"),
		Multipart: &urlsession.Multipart{Parts: signed.Parts, PartSize: 15},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := t.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	status, err := t.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range status.UploadedParts {
		fmt.Println(p.Number, p.ETag)
	}
	// Output:
	// 1 "03f71d86ba5e4dba1454544611524aea"
	// 2 "177c90194c62a43dab3c49b833924b37"
}

func ExampleTask_Events() {
	srv := origin()
	defer srv.Close()
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ctx := context.Background()
	t, err := s.DownloadTask(ctx, urlsession.Get(srv.URL+"/go.tar.gz"), "") // to a temporary file
	if err != nil {
		log.Fatal(err)
	}
	for ev, err := range t.Events(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		switch ev := ev.(type) {
		case urlsession.DownloadProgress:
			// show ev.TotalBytesWritten of ev.TotalBytesExpected
		case urlsession.DownloadCompleted:
			info, err := os.Stat(ev.Path)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("a file of", info.Size(), "bytes")
			os.Remove(ev.Path)
		case urlsession.Completed:
			fmt.Println("the end:", ev.StatusCode, ev.Err)
		}
	}
	// Output:
	// a file of 1048576 bytes
	// the end: 200 <nil>
}

// A task's rate limit, and its session's, change while it runs; both hold.
func ExampleTask_SetRateLimit() {
	srv := origin()
	defer srv.Close()
	ctx := context.Background()
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	r := urlsession.Get(srv.URL + "/go.tar.gz")
	r.RateLimit = 1 << 10 // bytes a second: it would take a quarter of an hour
	task, err := s.DataTask(ctx, r)
	if err != nil {
		log.Fatal(err)
	}
	if err := s.SetRateLimit(ctx, 100<<20); err != nil {
		log.Fatal(err)
	}
	if err := task.SetRateLimit(ctx, 0); err != nil { // none of its own any more
		log.Fatal(err)
	}
	body, err := task.Body(ctx)
	fmt.Println(len(body), err)
	// Output: 1048576 <nil>
}

func ExampleTask_CancelForResumeData() {
	srv := origin()
	defer srv.Close()
	srv.Script("/go.tar.gz", urlsessiontest.StallAt(urlsessiontest.AtBody(1<<19), urlsessiontest.Forever))
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ctx := context.Background()
	t, err := s.DownloadTask(ctx, urlsession.Get(srv.URL+"/go.tar.gz"), filepath.Join(dir, "go.tar.gz"))
	if err != nil {
		log.Fatal(err)
	}
	for ev := range t.Events(ctx) {
		if p, ok := ev.(urlsession.DownloadProgress); ok && p.TotalBytesWritten > 0 {
			break
		}
	}
	data, err := t.CancelForResumeData(ctx)
	if err != nil {
		log.Fatal(err)
	}
	t, err = s.DownloadTaskWithResumeData(ctx, data)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := t.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.StatusCode, filepath.Base(resp.Path))
	// Output:
	// 206 go.tar.gz
}

func ExampleSession_UploadTaskWithResumeData() {
	srv := urlsessiontest.NewUploadServer()
	defer srv.Close()
	srv.Script("/films", urlsessiontest.UploadStall(1<<20, urlsessiontest.Forever))
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	film := filepath.Join(dir, "film.mov")
	if err := os.WriteFile(film, make([]byte, 3<<20), 0o600); err != nil {
		log.Fatal(err)
	}
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ctx := context.Background()
	t, err := s.UploadTask(ctx, urlsession.Post(srv.URL+"/films", urlsession.File(film)))
	if err != nil {
		log.Fatal(err)
	}
	if err := srv.WaitReceived(ctx, 1<<20); err != nil {
		log.Fatal(err)
	}
	data, err := t.CancelForResumeData(ctx) // to be kept, as by os.WriteFile(name, data, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	t, err = s.UploadTaskWithResumeData(ctx, data)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := t.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(srv.Received() == 3<<20, "nothing was sent twice")
	// Output:
	// true nothing was sent twice
}

func ExampleSession_Events() {
	srv := origin()
	defer srv.Close()
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ctx := context.Background()
	for range 3 {
		if _, err := s.DataTask(ctx, urlsession.Get(srv.URL+"/hello")); err != nil {
			log.Fatal(err)
		}
	}
	s.FinishTasksAndInvalidate(context.Background()) // the loop ends when the tasks have
	ended := 0
	for ev, err := range s.Events(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if _, ok := ev.(urlsession.Completed); ok {
			ended++
		}
	}
	fmt.Println(ended, "tasks have ended")
	// Output:
	// 3 tasks have ended
}

// A task of a background session goes on when the program has ended. Run again, this finds it by its name.
func ExampleBackground() {
	ctx := context.Background()
	c := urlsession.Background("com.example.sync")
	c.LaunchCommand = []string{"/usr/lib/example/sync", "--events"} // for when it is done and we are not there
	s, err := urlsession.New(c)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close() // the tasks go on

	r := urlsession.Get("https://example.com/film.mov")
	r.Description = "the film"
	for st, err := range s.Statuses(ctx, 0) {
		if err != nil {
			log.Fatal(err)
		}
		if st.Description == r.Description && st.State != urlsession.StateCompleted {
			fmt.Printf("%d bytes are here\n", st.BytesReceived)
			return
		}
	}
	if _, err := s.DownloadTask(ctx, r, "film.mov"); err != nil { // once this has returned, it is not lost
		log.Fatal(err)
	}
}

// What happened while nobody listened comes first; an event is acknowledged when the next is asked for.
func ExampleSession_Events_background() {
	ctx := context.Background()
	s, err := urlsession.New(urlsession.Background("com.example.sync"))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for ev, err := range s.Events(ctx) {
		if errors.Is(err, urlsession.ErrSessionInUse) {
			return // another process deals with them
		}
		if err != nil {
			log.Fatal(err)
		}
		switch ev := ev.(type) {
		case urlsession.DownloadCompleted:
			fmt.Println("done:", ev.Path)
		case urlsession.Completed:
			if ev.Err != nil {
				fmt.Println(ev.Err)
			}
		case urlsession.EventsCompleted:
			return // nothing is missed any more
		}
	}
}

func ExampleDaemon_Status() {
	st, err := urlsession.Daemon{}.Status(context.Background())
	if errors.Is(err, urlsession.ErrDaemonLost) {
		fmt.Println("it does not run")
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("process %d: %d tasks, %d bytes in %s\n", st.PID, st.Tasks, st.Used, st.State)
}

func ExampleSession_DownloadTasks() {
	srv := origin()
	defer srv.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := urlsession.New(urlsession.Ephemeral()) // or Background, which makes all of them durable in one step
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ctx := context.Background()
	tasks, err := s.DownloadTasks(ctx, []urlsession.Download{
		{Request: urlsession.Get(srv.URL + "/hello"), Destination: dir + "/"},
		{Request: urlsession.Get(srv.URL + "/go.tar.gz"), Destination: dir + "/"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range tasks {
		resp, err := t.Wait(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(filepath.Base(resp.Path))
	}
	// Output:
	// hello
	// go.tar.gz
}

func ExampleCredentialStorage() {
	ctx := context.Background()
	srv := origin()
	defer srv.Close()
	srv.Always("/hello", urlsessiontest.When(urlsessiontest.Without("Authorization"), urlsessiontest.Unauthorized(`Basic realm="r"`)))

	s, err := urlsession.New(urlsession.Ephemeral()) // Default keeps them in an encrypted file
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	space, err := urlsession.SpaceOf(srv.URL) // all that this server asks for
	if err != nil {
		log.Fatal(err)
	}
	c := urlsession.Credential{User: "me", Password: "open sesame", Persistence: urlsession.PersistencePermanent}
	if err := s.CredentialStorage().Set(ctx, space, c); err != nil {
		log.Fatal(err)
	}
	body, _, err := s.Data(ctx, urlsession.Get(srv.URL+"/hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", body)
	for _, stored := range s.CredentialStorage().All() {
		fmt.Println(stored.Credential)
	}
	// Output:
	// hello
	// credential (user and password) of "me"
}

func ExampleSession_RoundTripper() {
	srv := origin()
	defer srv.Close()
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	client := &http.Client{Transport: s.RoundTripper()}
	resp, err := client.Get(srv.URL + "/hello")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output:
	// hello <nil>
}

func ExampleSession_CookieStorage() {
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	cookies := s.CookieStorage()
	if _, err := cookies.Import(strings.NewReader("example.com\tFALSE\t/\tTRUE\t0\tsession\tsecret\n")); err != nil {
		log.Fatal(err)
	}
	for _, c := range cookies.All() {
		fmt.Println(c, c.Secure) // c.Value is the value
	}
	fmt.Println(cookies.RemoveDomain("example.com"))
	// Output:
	// cookie "session" of example.com/ true
	// 1
}

func ExampleConfiguration_onRedirect() {
	srv := origin()
	defer srv.Close()
	srv.Script("/old", urlsessiontest.Redirect(301, "/hello"))
	c := urlsession.Ephemeral()
	c.OnRedirect = func(_ context.Context, _ *urlsession.Task, r urlsession.Redirect) *urlsession.NewRequest {
		if !strings.HasPrefix(r.Request.URL, srv.URL+"/") {
			return nil // stay here: the redirect is the response
		}
		r.Request.Header.Set("X-Moved", "yes")
		return &r.Request
	}
	s, err := urlsession.New(c)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	body, _, err := s.Data(context.Background(), urlsession.Get(srv.URL+"/old"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body), srv.RequestsTo("/hello")[0].Header.Get("X-Moved"))
	// Output:
	// hello yes
}

// A device presents a certificate that nobody vouches for, but that the app knows.
func ExampleConfiguration_serverTrust() {
	device := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer device.Close()
	known := device.Certificate()

	c := urlsession.Ephemeral()
	c.OnChallenge = func(_ context.Context, _ *urlsession.Task, q urlsession.Challenge) urlsession.ChallengeAnswer {
		if q.Space.Method == urlsession.AuthServerTrust && errors.Is(q.Err, urlsession.ErrCertificateUnknownRoot) && q.Chain[0].Equal(known) {
			return urlsession.ChallengeAnswer{Disposition: urlsession.UseCredential} // trust it
		}
		return urlsession.ChallengeAnswer{} // as if nobody had been asked
	}
	s, err := urlsession.New(c)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	body, _, err := s.Data(context.Background(), urlsession.Get(device.URL))
	fmt.Println(string(body), err)
	// Output:
	// hello <nil>
}

func ExampleError() {
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	_, _, err = s.Data(context.Background(), urlsession.Get("ftp://user:secret@example.com/f?key=secret"))
	fmt.Println(err)
	fmt.Println(errors.Is(err, urlsession.ErrUnsupportedURL))
	// Output:
	// create data task ftp://example.com/f?REDACTED: unsupported scheme (-1002): the scheme is "ftp"; only http and https are supported
	// true
}

func ExampleURLCache() {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/news", urlsessiontest.Resource{
		Content: urlsessiontest.Bytes("news"), ETag: `"v1"`, Header: http.Header{"Cache-Control": {"max-age=60"}},
	})
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	// Default sessions have one of their application's; this one is the app's own.
	cache, err := urlsession.OpenURLCache(filepath.Join(folder, "news"), 64<<20)
	if err != nil {
		log.Fatal(err)
	}
	c := urlsession.Ephemeral()
	c.URLCache = cache
	s, err := urlsession.New(c)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	for range 3 {
		if _, _, err := s.Data(context.Background(), urlsession.Get(srv.URL+"/news")); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("the server was asked", srv.Count("/news"), "time")

	kept, err := cache.Entries()
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range kept {
		fmt.Println(strings.TrimPrefix(r.URL, srv.URL), r.StatusCode, r.Length, time.Until(r.FreshUntil) > 0)
	}
	if err := cache.Remove(srv.URL + "/news"); err != nil {
		log.Fatal(err)
	}
	// Output:
	// the server was asked 1 time
	// /news 200 4 true
}

func ExampleRequest_cachePolicy() {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/news", urlsessiontest.Resource{Content: urlsessiontest.Bytes("news"), ETag: `"v1"`})
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	r := urlsession.Get(srv.URL + "/news")
	r.CachePolicy = urlsession.CacheReturnDontLoad // as without a network
	_, _, err = s.Data(context.Background(), r)
	fmt.Println(errors.Is(err, urlsession.ErrCannotLoadFromNetwork))

	r.CachePolicy = urlsession.CacheReturnElseLoad
	body, _, err := s.Data(context.Background(), r)
	fmt.Println(string(body), err)

	r.CachePolicy = urlsession.CacheReturnDontLoad
	body, _, err = s.Data(context.Background(), r)
	fmt.Println(string(body), err)
	// Output:
	// true
	// news <nil>
	// news <nil>
}
