package transfer

import (
	"bufio"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// A server that speaks HTTP/2 is asked for further parts over HTTP/1.1, each over a connection of its own.
func TestSpreadHTTP2(t *testing.T) {
	body := Body{Seed: 9, Size: 6 << 20}
	var (
		mu      sync.Mutex
		protos  []string
		further = make(chan struct{})
		once    sync.Once
	)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		protos = append(protos, r.Proto)
		mu.Unlock()
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("Range") != "" {
			once.Do(func() { close(further) })
			http.ServeContent(w, r, "", time.Time{}, body.Reader())
			return
		}
		// The rest comes when somebody else has been asked for some.
		w.Header().Set("Content-Length", fmt.Sprint(body.Size))
		w.Write(body.Bytes()[:1<<20])
		w.(http.Flusher).Flush()
		select {
		case <-further:
			w.Write(body.Bytes()[1<<20:])
		case <-r.Context().Done():
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	rt := newTransport(t, transport.Options{TLS: transport.TLS{Roots: pool}})
	a := newDownload(t, rt, srv.URL+"/f", filepath.Join(t.TempDir(), "x"))
	a.Connections = newConnections(1)
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, body)
	mu.Lock()
	defer mu.Unlock()
	if res.Response.Proto != "HTTP/2.0" || len(protos) < 2 {
		t.Errorf("%s, then %v", res.Response.Proto, protos)
	}
	for _, p := range protos[1:] {
		if p != "HTTP/1.1" {
			t.Errorf("a further request came over %s", p)
		}
	}
}

// The URL and the destination of what this test binary downloads, instead of tests, until it is killed.
const (
	killedURL  = "TRANSFER_TEST_URL"
	killedPath = "TRANSFER_TEST_PATH"
)

// downloadUntilKilled is the child.
func downloadUntilKilled() {
	rt, err := transport.New(transport.Options{})
	if err != nil {
		panic(err)
	}
	path := os.Getenv(killedPath)
	say := &observer{onReceived: func(total int64) { fmt.Println(total) }}
	a := &Attempt{
		ID: 1, Number: 1, RoundTripper: rt, Observer: say, Connections: newConnections(5),
		Spec: &task.Spec{
			Kind: task.Download, Request: task.Request{Method: "GET", URL: os.Getenv(killedURL)},
			Download: &task.DownloadSpec{Destination: path, Path: path},
		},
	}
	_, err = Run(context.Background(), a)
	panic(fmt.Sprint("it was not killed: ", err))
}

// What kill -9 costs a download over several connections is what it costs one: 8 MiB of what had arrived, and what each has
// in its buffer.
func TestSpreadKilled(t *testing.T) {
	srv := NewServer(ConnectionRate(8 << 20))
	defer srv.Close()
	body := Body{Seed: 9, Size: 96 << 20}
	srv.Publish("/f", Resource{Content: body, ETag: `"v1"`})
	rt := newTransport(t, transport.Options{})
	a := newDownload(t, rt, srv.URL+"/f", filepath.Join(t.TempDir(), "x"))
	a.Connections = newConnections(5)

	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), killedURL+"="+a.Spec.Request.URL, killedPath+"="+a.Spec.Download.Path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var arrived int64
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if arrived, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
			t.Error(err)
		}
		if arrived >= body.Size/2 {
			_ = child.Process.Kill()
		}
	}
	_ = child.Wait()
	if srv.Load().PeakRequests < 3 {
		t.Errorf("only %d requests at once", srv.Load().PeakRequests)
	}
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, body)
	held := a.Observer.(*observer).received[0]
	if lost := arrived - held; held == 0 || lost > partial.UnrecordedLimit+6*(bufferSize+flushBytes) {
		t.Errorf("%d bytes had arrived, and %d were held", arrived, held)
	}
}
