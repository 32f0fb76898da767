package urlsession

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// secureOrigin is a server with one resource, /f.
func secureOrigin(t *testing.T, h urlsessiontest.Handshake) *urlsessiontest.Server {
	t.Helper()
	srv := urlsessiontest.NewServer(urlsessiontest.WithTLS(h))
	t.Cleanup(srv.Close)
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	return srv
}

// asking is a session whose OnChallenge is fn.
func asking(t *testing.T, fn ChallengeFunc) *Session {
	t.Helper()
	return offline(t, func(c *Configuration) { c.RootCAs, c.OnChallenge = urlsessiontest.CAPEM(), fn })
}

func TestServerTrustIsAsked(t *testing.T) {
	for _, c := range []struct {
		handshake urlsessiontest.Handshake
		found     Code // 0: nothing
		answer    ChallengeDisposition
		code      Code // 0: success
	}{
		{urlsessiontest.ValidCertificate, 0, UseDefaultHandling, 0},
		{urlsessiontest.ValidCertificate, 0, AnswerLater, 0},
		{urlsessiontest.ValidCertificate, 0, UseCredential, 0},
		{urlsessiontest.ValidCertificate, 0, CancelChallenge, ErrUserCancelledAuth},
		{urlsessiontest.ValidCertificate, 0, RejectProtectionSpace, ErrCertificateUntrusted},
		{urlsessiontest.ExpiredCertificate, ErrCertificateBadDate, UseDefaultHandling, ErrCertificateBadDate},
		{urlsessiontest.ExpiredCertificate, ErrCertificateBadDate, AnswerLater, ErrCertificateBadDate},
		{urlsessiontest.ExpiredCertificate, ErrCertificateBadDate, UseCredential, 0},
		{urlsessiontest.ExpiredCertificate, ErrCertificateBadDate, CancelChallenge, ErrUserCancelledAuth},
		{urlsessiontest.ExpiredCertificate, ErrCertificateBadDate, RejectProtectionSpace, ErrCertificateUntrusted},
		{urlsessiontest.NotYetValidCertificate, ErrCertificateNotYetValid, UseDefaultHandling, ErrCertificateNotYetValid},
		{urlsessiontest.SelfSignedCertificate, ErrCertificateUnknownRoot, UseDefaultHandling, ErrCertificateUnknownRoot},
		{urlsessiontest.WrongHostCertificate, ErrCertificateUntrusted, UseDefaultHandling, ErrCertificateUntrusted},
	} {
		srv := secureOrigin(t, c.handshake)
		var calls []Challenge
		s := asking(t, func(_ context.Context, task *Task, c2 Challenge) ChallengeAnswer {
			if task != nil {
				t.Errorf("asked of the task %v", task)
			}
			calls = append(calls, c2)
			return ChallengeAnswer{Disposition: c.answer}
		})
		resp, err := s.RoundTripper().RoundTrip(newRequest(t, srv.URL+"/f"))
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		_, _, taskErr := s.Data(t.Context(), Get(srv.URL+"/f"))
		for _, err := range []error{err, taskErr} {
			if c.code == 0 && err != nil || c.code != 0 && !errors.Is(err, c.code) {
				t.Errorf("handshake %d, answer %d: %v, want %d", c.handshake, c.answer, err, c.code)
			}
		}
		want := 2
		if c.code == 0 {
			want = 1 // the connection is kept
		}
		if len(calls) != want {
			t.Fatalf("handshake %d, answer %d: %d calls, want %d", c.handshake, c.answer, len(calls), want)
		}
		got := calls[0]
		if got.Space.Method != AuthServerTrust || got.Space.Scheme != "https" || got.Space.Proxy || "https://"+got.Space.address() != srv.URL ||
			got.Ticket != "" || len(got.Chain) == 0 || got.Certificate != nil {
			t.Errorf("handshake %d: asked %+v", c.handshake, got)
		}
		if c.found == 0 && got.Err != nil || c.found != 0 && !errors.Is(got.Err, c.found) {
			t.Errorf("handshake %d: found %v, want %d", c.handshake, got.Err, c.found)
		}
		if got.Err != nil && !strings.Contains(got.Err.Error(), got.Space.address()) {
			t.Errorf("%v does not name the server", got.Err)
		}
	}
}

func TestClientCertificateIsAskedFor(t *testing.T) {
	srv := secureOrigin(t, urlsessiontest.ClientCertificate)
	good, bad := urlsessiontest.ClientIdentity(), urlsessiontest.WrongClientIdentity()
	for name, c := range map[string]struct {
		ours   []tls.Certificate
		answer ChallengeAnswer
		code   Code // 0: success
		asked  bool
	}{
		"there is one":     {[]tls.Certificate{good}, ChallengeAnswer{}, 0, false},
		"the right one":    {nil, ChallengeAnswer{Disposition: UseCredential, Credential: Credential{Certificate: &good}}, 0, true},
		"a wrong one":      {nil, ChallengeAnswer{Disposition: UseCredential, Credential: Credential{Certificate: &bad}}, ErrClientCertRejected, true},
		"a password":       {nil, ChallengeAnswer{Disposition: UseCredential, Credential: Credential{User: "u", Password: "S3CRET"}}, ErrClientCertRequired, true},
		"default":          {nil, ChallengeAnswer{}, ErrClientCertRequired, true},
		"default, a wrong": {[]tls.Certificate{bad}, ChallengeAnswer{}, ErrClientCertRejected, true},
		"none, a wrong":    {[]tls.Certificate{bad}, ChallengeAnswer{Disposition: RejectProtectionSpace}, ErrClientCertRequired, true},
		"cancelled":        {nil, ChallengeAnswer{Disposition: CancelChallenge}, ErrUserCancelledAuth, true},
	} {
		asked := false
		s := offline(t, func(config *Configuration) {
			config.RootCAs, config.ClientCertificates = urlsessiontest.CAPEM(), c.ours
			config.OnChallenge = func(_ context.Context, _ *Task, q Challenge) ChallengeAnswer {
				if q.Space.Method == AuthServerTrust {
					return ChallengeAnswer{}
				}
				asked = true
				if q.Space.Method != AuthClientCertificate || "https://"+q.Space.address() != srv.URL || len(q.Certificate.AcceptableCAs) != 1 {
					t.Errorf("asked %+v", q)
				}
				return c.answer
			}
		})
		_, _, err := s.Data(t.Context(), Get(srv.URL+"/f"))
		if c.code == 0 && err != nil || c.code != 0 && !errors.Is(err, c.code) {
			t.Errorf("%s: %v, want %d", name, err, c.code)
		}
		if err != nil && strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%v tells a secret", err)
		}
		if asked != c.asked {
			t.Errorf("%s: asked %v", name, asked)
		}
	}
}

// Close ends the calls under way, of tasks and of RoundTripper's requests, and no other begins.
func TestCloseWhileTrustIsAsked(t *testing.T) {
	srv := secureOrigin(t, urlsessiontest.ValidCertificate)
	asked, told, leave := make(chan struct{}, 2), make(chan struct{}, 2), make(chan struct{})
	c := Ephemeral()
	c.RootCAs = urlsessiontest.CAPEM()
	c.OnChallenge = func(ctx context.Context, _ *Task, _ Challenge) ChallengeAnswer {
		asked <- struct{}{}
		<-ctx.Done()
		told <- struct{}{}
		<-leave
		return ChallengeAnswer{}
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	task, err := s.DataTask(t.Context(), Get(srv.URL+"/f"))
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	failed := make(chan error, 1)
	go func() {
		resp, err := s.RoundTripper().RoundTrip(newRequest(t, srv.URL+"/f"))
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-asked
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- s.Close() }()
	}
	for range 2 {
		select {
		case <-told:
		case <-time.After(time.Minute):
			t.Fatal("the functions are not told to end")
		}
	}
	select {
	case err := <-closed:
		t.Errorf("Close returned before the functions had: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	for range 2 {
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("Close does not return")
		}
	}
	if err := <-failed; !errors.Is(err, ErrSessionInvalidated) {
		t.Errorf("the request failed with %v", err)
	}
	if _, err := task.Wait(t.Context()); !errors.Is(err, ErrCancelled) {
		t.Errorf("the task ended with %v", err)
	}
	if _, err := s.handshakes.ask(t.Context(), Challenge{}); err == nil || len(asked) != 0 {
		t.Errorf("after Close: %v, and the function was called %d times", err, len(asked))
	}
}

func newRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A task that is cancelled, or whose timer runs out, does not wait for the function; whose context ends too.
func TestCancelWhileTrustIsAsked(t *testing.T) {
	srv := secureOrigin(t, urlsessiontest.ValidCertificate)
	for code, timeout := range map[Code]time.Duration{ErrCancelled: 0, ErrTimedOut: 50 * time.Millisecond} {
		asked, ended := make(chan struct{}), make(chan struct{})
		s := offline(t, func(c *Configuration) {
			c.RootCAs, c.TimeoutForRequest = urlsessiontest.CAPEM(), timeout
			c.OnChallenge = func(ctx context.Context, _ *Task, _ Challenge) ChallengeAnswer {
				close(asked)
				<-ctx.Done()
				close(ended)
				return ChallengeAnswer{}
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if code == ErrCancelled {
			go func() {
				<-asked
				cancel()
			}()
		}
		if _, _, err := s.Data(ctx, Get(srv.URL+"/f")); !errors.Is(err, code) {
			t.Errorf("%v, want %d", err, code)
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("the function's context did not end with the task")
		}
	}
}

func TestPins(t *testing.T) {
	srv := secureOrigin(t, urlsessiontest.ValidCertificate)
	block, _ := pem.Decode(urlsessiontest.CAPEM())
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	right := "sha256//" + base64.StdEncoding.EncodeToString(sum[:])
	wrong := "sha256//" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, c := range []struct {
		pins   map[string][]string
		answer ChallengeDisposition
		ok     bool
	}{
		{map[string][]string{"127.0.0.1": {right}}, UseDefaultHandling, true},
		{map[string][]string{"127.0.0.1": {wrong, right}}, UseDefaultHandling, true},
		{map[string][]string{"127.0.0.1": {right}, "*": {wrong}}, UseDefaultHandling, true},
		{map[string][]string{"127.0.0.1": {wrong}, "*": {right}}, UseDefaultHandling, false},
		{map[string][]string{"*": {wrong}}, UseDefaultHandling, false},
		{map[string][]string{"*": {wrong}}, UseCredential, false}, // the function cannot undo it
		{map[string][]string{"localhost": {wrong}}, UseDefaultHandling, true},
	} {
		for _, fn := range []ChallengeFunc{nil, func(context.Context, *Task, Challenge) ChallengeAnswer {
			return ChallengeAnswer{Disposition: c.answer}
		}} {
			s := offline(t, func(config *Configuration) {
				config.RootCAs, config.Pins, config.OnChallenge = urlsessiontest.CAPEM(), c.pins, fn
			})
			_, _, err := s.Data(t.Context(), Get(srv.URL+"/f"))
			if c.ok && err != nil || !c.ok && !errors.Is(err, ErrCertificateUntrusted) {
				t.Errorf("%v: %v", c.pins, err)
			}
			if !c.ok && !strings.Contains(err.Error(), "127.0.0.1 shows none") {
				t.Errorf("%v names no host", err)
			}
		}
	}
	for host, pin := range map[string]string{"Example.com": right, "example.com:443": right, "example.com": "sha1//x"} {
		c := Ephemeral()
		c.Pins = map[string][]string{host: {pin}}
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), "Configuration.Pins") || !strings.Contains(err.Error(), `"`+host+`"`) {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// Requests of RoundTripper ask for credentials without a task.
func TestRoundTripperAsks(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	srv.Always("/f", urlsessiontest.When(urlsessiontest.Without("Authorization"), urlsessiontest.Unauthorized(`Basic realm="r"`)))
	for answer, want := range map[ChallengeDisposition]struct {
		status int
		code   Code
	}{
		UseCredential:         {200, 0},
		UseDefaultHandling:    {401, 0},
		AnswerLater:           {401, 0},
		RejectProtectionSpace: {401, 0},
		CancelChallenge:       {0, ErrUserCancelledAuth},
	} {
		var asked Challenge
		s := asking(t, func(_ context.Context, task *Task, q Challenge) ChallengeAnswer {
			if task != nil {
				t.Errorf("asked of the task %v", task)
			}
			asked = q
			return ChallengeAnswer{Disposition: answer, Credential: Credential{User: "u", Password: "S3CRET"}}
		})
		resp, err := (&http.Client{Transport: s.RoundTripper()}).Get(srv.URL + "/f")
		status := 0
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			status = resp.StatusCode
		}
		if status != want.status || want.code == 0 && err != nil || want.code != 0 && !errors.Is(err, want.code) {
			t.Errorf("answer %d: status %d, %v", answer, status, err)
		}
		if asked.Space.Method != AuthBasic || asked.Space.Realm != "r" || "http://"+asked.Space.address() != srv.URL || asked.PreviousFailures != 0 || asked.Err != nil {
			t.Errorf("asked %+v", asked)
		}
	}
}
