package engine_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func TestRetries(t *testing.T) {
	post := func(s *task.Spec) { s.Request.Method = "POST" }
	ok := answer(200)
	for _, c := range []struct {
		name   string
		spec   task.Spec
		run    runFunc
		code   task.Code // 0: success
		status int
		tries  int
	}{
		{"none by default", get("http://h/"), steps(fail(lost(false)), ok), task.ConnectionLost, 0, 1},
		{"wire failures", get("http://h/", retries(2)), steps(fail(lost(false)), fail(lost(false)), ok), 0, 200, 3},
		{"as often as allowed", get("http://h/", retries(2)), steps(fail(lost(false)), fail(lost(false)), fail(lost(false)), ok), task.ConnectionLost, 0, 3},
		{"503 is delivered when retries end", get("http://h/", retries(1)), steps(answer(503), answer(503), ok), 0, 503, 2},
		{"503 without retries is a response", get("http://h/"), steps(answer(503), ok), 0, 503, 1},
		{"429", get("http://h/", retries(1)), steps(answer(429), ok), 0, 200, 2},
		{"404 is final", get("http://h/", retries(5)), steps(answer(404), ok), 0, 404, 1},
		{"a bad certificate is final", get("http://h/", retries(5)), steps(fail(&task.Error{Code: task.CertificateUntrusted}), ok), task.CertificateUntrusted, 0, 1},
		{"a host that is not found is final", get("http://h/", retries(5)), steps(fail(&task.Error{Code: task.CannotFindHost}), ok), task.CannotFindHost, 0, 1},
		{"but not to a patient task", get("http://h/", retries(-1)), steps(fail(&task.Error{Code: task.CannotFindHost}), ok), 0, 200, 2},
		{"a handshake that is cut off is not", get("http://h/", retries(5)), steps(fail(&task.Error{Code: task.SecureConnectionFailed, Err: io.EOF}), ok), 0, 200, 2},
		{"one that is reset, either", get("http://h/", retries(5)), steps(fail(&task.Error{Code: task.SecureConnectionFailed, Err: &net.OpError{Err: os.NewSyscallError("read", syscall.ECONNRESET)}}), ok), 0, 200, 2},
		{"one that an alert ends is", get("http://h/", retries(-1)), steps(fail(&task.Error{Code: task.SecureConnectionFailed, Err: tls.AlertError(70)}), ok), task.SecureConnectionFailed, 0, 1},
		{"POST that may have been applied", get("http://h/", retries(5), post), steps(fail(lost(false)), ok), task.ConnectionLost, 0, 1},
		{"POST that timed out may have been applied too", get("http://h/", retries(5), post), steps(fail(&task.Error{Code: task.TimedOut}), ok), task.ConnectionLost, 0, 1},
		{"POST of which no byte had left", get("http://h/", retries(5), post), steps(fail(lost(true)), ok), 0, 200, 2},
		{"POST answered 503", get("http://h/", retries(5), post), steps(answer(503), ok), 0, 200, 2},
		{"POST answered 500", get("http://h/", retries(5), post), steps(answer(500), ok), 0, 500, 1},
		{"POST with retryUnsafe", get("http://h/", retries(5), post, func(s *task.Spec) { s.Policy.RetryUnsafe = true }), steps(fail(lost(false)), ok), 0, 200, 2},
		{"POST with an Idempotency-Key", get("http://h/", retries(5), post, func(s *task.Spec) { s.Request.Header = http.Header{"Idempotency-Key": {"k"}} }), steps(fail(lost(false)), ok), 0, 200, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, c.run)
				id := create(t, e, c.spec)
				evs := collect(t, e, id)
				rec := end(t, e, id)
				code := task.Code(0)
				if rec.Failure != nil {
					code = rec.Failure.Code
				}
				if code != c.code || rec.Attempt != c.tries {
					t.Errorf("code %d after %d attempts, want %d after %d: %v", code, rec.Attempt, c.code, c.tries, rec.Failure.Err())
				}
				if c.status != 0 && (rec.Response == nil || rec.Response.Status != c.status) {
					t.Errorf("response %+v, want %d", rec.Response, c.status)
				}
				if n := strings.Count(names(evs), "willretry"); n != c.tries-1 {
					t.Errorf("%d willretry in %s", n, names(evs))
				}
			})
		})
	}
}

func TestBackoffIsBoundedAndJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last time.Time
		var gaps []time.Duration
		e := start(t, func(context.Context, *transfer.Attempt) (transfer.Result, error) {
			if !last.IsZero() {
				gaps = append(gaps, time.Since(last))
			}
			last = time.Now()
			return transfer.Result{}, lost(false)
		})
		end(t, e, create(t, e, get("http://h/", retries(40))))
		if len(gaps) != 40 {
			t.Fatalf("%d retries", len(gaps))
		}
		seen := map[time.Duration]bool{}
		for i, d := range gaps {
			if limit := min(5*time.Minute, time.Second<<min(i, 20)); d > limit {
				t.Errorf("retry %d after %v, more than %v", i+1, d, limit)
			}
			seen[d] = true
		}
		if len(seen) < 35 {
			t.Errorf("only %d different delays of 40: no jitter", len(seen))
		}
	})
}

func TestResourceTimeoutBoundsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		e := start(t, func(context.Context, *transfer.Attempt) (transfer.Result, error) {
			return transfer.Result{}, lost(false)
		})
		id := create(t, e, get("http://h/", retries(-1), func(s *task.Spec) { s.Policy.ResourceTimeout = time.Hour }))
		rec := end(t, e, id)
		if rec.Failure.Code != task.TimedOut || time.Since(from) != time.Hour {
			t.Errorf("after %v: %v", time.Since(from), rec.Failure.Err())
		}
	})
}
