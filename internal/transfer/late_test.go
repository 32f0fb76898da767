package transfer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// late answers when its request's time is over, and has not heard of that.
type late struct{}

func (late) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	w := httptest.NewRecorder()
	w.WriteHeader(http.StatusOK)
	return w.Result(), nil
}

// asking asks somebody about a response, and is told that the attempt has ended.
type asking struct{ *observer }

func (asking) Response(ctx context.Context, _ *task.Response) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// An Observer that ends with the context of an attempt ends as that did: the idle timer's end is a time that is over.
func TestIdleAsTheObserverIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTask(task.Data, late{}, "http://h/f")
		a.Spec.Policy.RequestTimeout = time.Minute
		a.Observer = asking{new(observer)}
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.TimedOut)
	})
}
