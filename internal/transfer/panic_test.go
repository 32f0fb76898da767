package transfer

import (
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/internal/transport"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// leaving leaves its caller's goroutine, as an app's function may.
type leaving func()

func (f leaving) RoundTrip(*http.Request) (*http.Response, error) {
	f()
	return nil, http.ErrAbortHandler
}

// A download that is left in the midst, and whose caller lives on, leaves its part file to the next.
func TestDownloadLeftByPanic(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("the app's") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			srv := newOrigin(t)
			rt := newTransport(t, transport.Options{})
			body := urlsessiontest.Body{Seed: 7, Size: 1000}
			srv.Publish("/f", urlsessiontest.Resource{Content: body})
			a := newDownload(t, leaving(leave), srv.URL+"/f", filepath.Join(t.TempDir(), "f"))
			var left sync.WaitGroup
			left.Go(func() {
				defer func() { _ = recover() }()
				_, _ = Run(t.Context(), a)
			})
			left.Wait()
			next := again(a)
			next.RoundTripper = rt
			res, err := Run(t.Context(), next)
			wantFile(t, res, err, body)
		})
	}
}
