package urlsession

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// Configuration says how a session behaves. It is a value made by Default, Ephemeral or Background, then changed field by
// field. New copies it: to change it later changes nothing. It is not for concurrent change.
type Configuration struct {
	kind sessionKind // 0: made by none of the three

	// Application names the user's folders for what default sessions keep; Default sets the executable's name. No
	// session keeps anything on disk yet (cookies live in memory, and there is no cache), so that it has no effect so
	// far.
	Application string
	// Identifier names a background session; Background sets it.
	Identifier string

	// AdditionalHeaders are added to every request that has no such header of its own; names are compared
	// case-insensitively. Authorization, Proxy-Authorization and Cookie among them do not follow a redirect to another
	// origin. A User-Agent belongs here: without one, requests say that of net/http.
	AdditionalHeaders http.Header

	// TimeoutForRequest is the idle timer of a task: how long no byte may arrive or leave, once its connection is being
	// made. 0: 60 s; negative: none.
	TimeoutForRequest time.Duration
	// TimeoutForResource is how long a task may take from start to end, retries and waits included; the time for which it
	// is suspended does not count. 0: 7 days; negative: none.
	TimeoutForResource time.Duration
	// WaitsForConnectivity lets a task that cannot connect wait for a network (event Waiting, once a wait) in place of
	// failing. Only TimeoutForResource ends the wait. Once connected, a lost connection is a failure all the same.
	WaitsForConnectivity bool

	// MaximumConnectionsPerHost is the most connections to a host at a time, over all tasks of the session; tasks above
	// it wait in order of priority. Many requests share one HTTP/2 connection. 0: 6.
	MaximumConnectionsPerHost int

	// CookieStorage keeps cookies; nil: none are kept or sent. All default sessions of the process share one, each
	// ephemeral one has its own; both are in memory, and know the public suffixes. A storage of the app's own is used
	// by reference; it must be safe for concurrent use, and Session.Reset empties it where it has a method
	// Reset() error.
	CookieStorage http.CookieJar
	// CookieAcceptPolicy says whose cookies are stored.
	CookieAcceptPolicy CookieAcceptPolicy
	// SetCookies says whether stored cookies are sent. Default: true. A Cookie header of a request is sent in any case.
	SetCookies bool

	// Retries is how many more attempts a task has after one that failed by the network, or was answered 408, 429, 500,
	// 502, 503 or 504; a download goes on from what it holds. Attempts stand apart by a random time that doubles, or
	// by the answer's Retry-After. POST and PATCH are sent again only where that cannot apply them twice, unless
	// Request.RetryUnsafe. 0: none; -1: until TimeoutForResource.
	Retries int

	// Proxy says how servers are reached; the zero value is ProxyFromEnvironment.
	Proxy Proxy

	// TLSMinimumVersion is the oldest version of TLS that is spoken, such as tls.VersionTLS13. 0: TLS 1.2.
	TLSMinimumVersion uint16
	// RootCAs are the authorities that may sign a server's certificate, in PEM; nil: the system's. New refuses what holds
	// none.
	RootCAs []byte
	// ClientCertificates are shown to servers that ask for one of their authority.
	ClientCertificates []tls.Certificate
	// InsecureSkipVerify takes ANY certificate: whoever sits between can read and change all that is sent and received,
	// passwords too. It is for tests only; to trust a private authority, set RootCAs.
	InsecureSkipVerify bool

	// AllowsExpensiveNetworkAccess and AllowsConstrainedNetworkAccess let tasks use a network that costs money, or that
	// the user wants used sparingly (on Linux, what NetworkManager calls metered); else they fail with ErrDataNotAllowed,
	// or wait with WaitsForConnectivity. Default: true, and the machine is not even asked.
	AllowsExpensiveNetworkAccess   bool
	AllowsConstrainedNetworkAccess bool

	// RateLimit is the most bytes a second of bodies in each direction, over all tasks of the session; RoundTripper is
	// not under it. 0: none.
	RateLimit int64

	// ForbidDowngrade makes a redirect from https to http an error (ErrRequiresSecureConnection). Without it such a
	// redirect is followed, without the request's Authorization, Proxy-Authorization and Cookie.
	ForbidDowngrade bool

	// Daemon is who runs the tasks of a background session; the zero value is the user's own daemon, which is started where
	// it does not run.
	Daemon Daemon
	// Discretionary lets the tasks of a background session run only while the machine draws on no battery and the network
	// is not metered. Else they wait (WaitDiscretionary), also in the midst.
	Discretionary bool
	// LaunchCommand is a program and its arguments, which the daemon runs when events of a background session wait and
	// nobody listens to them as the owner: when its last task has ended. There is no shell. The session's identifier is
	// added as the last argument, and stands in the environment as URLSESSION_SESSION; URLSESSION_EVENT is
	// backgroundtransfer. It runs in the working directory that New was called in, once a wake-up, and again with growing
	// pauses while the events stay unacknowledged. A program without a slash is looked up in PATH by New.
	LaunchCommand []string
	// SendsLaunchEvents says whether LaunchCommand is run. Default: true.
	SendsLaunchEvents bool

	// OnRedirect decides each redirect that a task would follow; nil: all are followed. Either way 20 are the most. It
	// returns how to go on: &r.Request, changed or not, or &NewRequest{}, which is the same unchanged; nil refuses, and
	// then the redirect is the task's response.
	//
	// It is called in a goroutine of its own, at the same time for several tasks. The task waits for it, without its
	// idle timer. ctx ends when the answer is no longer wanted: the task has ended, or its session. It must not call
	// Session.Close, which waits for it.
	OnRedirect func(ctx context.Context, t *Task, r Redirect) *NewRequest

	// OnResponse decides, from the head of a final response, whether a task goes on to its body; nil: it does. It is
	// called as OnRedirect is. r is its own to keep.
	OnResponse func(ctx context.Context, t *Task, r *Response) Disposition
}

type sessionKind int

const (
	kindDefault sessionKind = iota + 1
	kindEphemeral
	kindBackground
)

// The defaults that stand where a Configuration says 0.
const (
	defaultTimeoutForRequest  = 60 * time.Second
	defaultTimeoutForResource = 7 * 24 * time.Hour
	defaultConnectionsPerHost = 6
)

// Default is the configuration of a session that shares its cookies with the other default sessions of this process.
// They are kept in memory: cookies on disk, one set an application, are not built yet.
func Default() Configuration {
	c := base(kindDefault)
	c.CookieStorage = processCookies()
	if exe, err := os.Executable(); err == nil {
		c.Application = filepath.Base(exe)
	}
	return c
}

// Ephemeral is the configuration of a session that keeps everything in memory, for itself: nothing is ever written to
// disk but the destination of a download and its part file.
func Ephemeral() Configuration {
	c := base(kindEphemeral)
	c.CookieStorage = cookie.NewMemory()
	return c
}

// Background is the configuration of a session whose tasks a daemon runs on when the app is gone, under this
// identifier. It is not built yet: New refuses it with ErrNoSharedContainer.
func Background(identifier string) Configuration {
	c := base(kindBackground)
	c.Identifier = identifier
	c.WaitsForConnectivity = true
	c.Retries = -1
	return c
}

func base(k sessionKind) Configuration {
	return Configuration{
		kind:                           k,
		TimeoutForRequest:              defaultTimeoutForRequest,
		TimeoutForResource:             defaultTimeoutForResource,
		MaximumConnectionsPerHost:      defaultConnectionsPerHost,
		SetCookies:                     true,
		TLSMinimumVersion:              tls.VersionTLS12,
		AllowsExpensiveNetworkAccess:   true,
		AllowsConstrainedNetworkAccess: true,
		SendsLaunchEvents:              true,
	}
}

// clone is a copy that shares nothing that can be changed, but for CookieStorage, which is a thing and no setting.
func (c Configuration) clone() Configuration {
	c.AdditionalHeaders = c.AdditionalHeaders.Clone()
	c.ClientCertificates = slices.Clone(c.ClientCertificates)
	c.RootCAs = bytes.Clone(c.RootCAs)
	return c
}

// check refuses values that mean nothing, and makes the names of AdditionalHeaders canonical.
func (c *Configuration) check() error {
	const background = "background sessions are not built yet; use Default or Ephemeral, which run tasks in this process (%w)"
	switch {
	case c.kind == 0:
		return badField("", "was not made by Default, Ephemeral or Background; begin with one of them and change its fields")
	case c.kind == kindBackground && c.Identifier == "":
		return badField("Identifier", "is empty; name the background session, such as com.example.sync")
	case c.kind == kindBackground:
		return &Error{Op: fmt.Sprintf("new background session %q", c.Identifier), Code: ErrNoSharedContainer,
			Err: fmt.Errorf(background, errors.ErrUnsupported)}
	case c.Identifier != "":
		return badField("Identifier", "is set, and only a background session has one; make it by Background")
	case c.MaximumConnectionsPerHost < 0:
		return badField("MaximumConnectionsPerHost", fmt.Sprintf("is %d; 0 is the default of %d", c.MaximumConnectionsPerHost, defaultConnectionsPerHost))
	case c.Retries < -1:
		return badField("Retries", fmt.Sprintf("is %d; 0 is none, and -1 until TimeoutForResource", c.Retries))
	case c.Retries == -1 && c.TimeoutForResource < 0:
		return badField("Retries", "is -1 and TimeoutForResource is none: a task might never end; limit one of them")
	case c.RateLimit < 0:
		return badField("RateLimit", fmt.Sprintf("is %d bytes a second; 0 is none", c.RateLimit))
	case c.TLSMinimumVersion != 0 && (c.TLSMinimumVersion < tls.VersionTLS10 || c.TLSMinimumVersion > tls.VersionTLS13):
		return badField("TLSMinimumVersion", fmt.Sprintf("is %#04x, which is no version of TLS; use tls.VersionTLS12 or tls.VersionTLS13", c.TLSMinimumVersion))
	case c.CookieAcceptPolicy < CookieAcceptOnlyFromMainDocumentDomain || c.CookieAcceptPolicy > CookieAcceptNever:
		return badField("CookieAcceptPolicy", fmt.Sprintf("is %d; use one of its constants", c.CookieAcceptPolicy))
	}
	for i, cert := range c.ClientCertificates {
		if len(cert.Certificate) == 0 || cert.PrivateKey == nil {
			return badField(fmt.Sprintf("ClientCertificates[%d]", i), "has no certificate or no private key; load it by tls.LoadX509KeyPair")
		}
	}
	header, why := mergeHeader(c.AdditionalHeaders, nil, "")
	if why == "" {
		why = checkHeader(task.Data, header)
	}
	for _, name := range []string{"Host", "Range", "If-Range"} {
		if _, ok := header[name]; ok && why == "" {
			why = fmt.Sprintf("has the field %q, which belongs to single requests; set it in Request.Header", name)
		}
	}
	if why != "" {
		return badField("AdditionalHeaders", why)
	}
	c.AdditionalHeaders = header
	return nil
}

// badField is the error of a field that New refuses; of the whole, where field is empty.
func badField(field, why string) error {
	name := "Configuration"
	if field != "" {
		name += "." + field
	}
	return &Error{Op: "new session", Code: ErrUnknown, Err: errors.New(name + " " + why)}
}

// policy is what the configuration says of each task.
func (c *Configuration) policy() task.Policy {
	return task.Policy{
		RequestTimeout:       timeout(c.TimeoutForRequest, defaultTimeoutForRequest),
		ResourceTimeout:      timeout(c.TimeoutForResource, defaultTimeoutForResource),
		WaitsForConnectivity: c.WaitsForConnectivity,
		AllowsExpensive:      c.AllowsExpensiveNetworkAccess,
		AllowsConstrained:    c.AllowsConstrainedNetworkAccess,
		Retries:              c.Retries,
		ForbidDowngrade:      c.ForbidDowngrade,
		Ask:                  task.Ask{Redirect: c.OnRedirect != nil, Response: c.OnResponse != nil},
	}
}

// timeout is a configuration's timeout as a policy has it: 0 is none there.
func timeout(d, byDefault time.Duration) time.Duration {
	switch {
	case d == 0:
		return byDefault
	case d < 0:
		return 0
	}
	return d
}

// roots are RootCAs; nil: the system's.
func (c *Configuration) roots() (*x509.CertPool, error) {
	if c.RootCAs == nil {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.RootCAs) {
		return nil, badField("RootCAs", "holds no certificate in PEM; read a file such as ca.pem whole, or leave it nil for the system's")
	}
	return pool, nil
}

// transport is the chain that the configuration asks for. It resolves the environment's proxies.
func (c *Configuration) transport() (*transport.Transport, error) {
	proxy, err := c.Proxy.resolve()
	if err != nil {
		return nil, badField("Proxy", "cannot be used: "+err.Error())
	}
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	t, err := transport.New(transport.Options{
		MaxConnsPerHost: c.MaximumConnectionsPerHost,
		Proxy:           proxy,
		TLS: transport.TLS{
			MinVersion: c.TLSMinimumVersion, Roots: roots,
			Certificates: c.ClientCertificates, Insecure: c.InsecureSkipVerify,
		},
		Jar: c.CookieStorage, SetCookies: c.SetCookies, AcceptPolicy: acceptPolicies[c.CookieAcceptPolicy],
	})
	if err != nil {
		return nil, badField("Proxy", "cannot be used: "+err.Error())
	}
	return t, nil
}

// CookieAcceptPolicy says whose cookies are stored.
type CookieAcceptPolicy int

const (
	// CookieAcceptOnlyFromMainDocumentDomain stores the cookies of the site that the task's own URL names; those of other
	// sites that it is redirected to are not stored. A site is a public suffix and one label.
	CookieAcceptOnlyFromMainDocumentDomain CookieAcceptPolicy = iota
	// CookieAcceptAlways stores all.
	CookieAcceptAlways
	// CookieAcceptNever stores none.
	CookieAcceptNever
)

var acceptPolicies = [...]transport.AcceptPolicy{
	CookieAcceptOnlyFromMainDocumentDomain: transport.AcceptFromMainDocument,
	CookieAcceptAlways:                     transport.AcceptAlways,
	CookieAcceptNever:                      transport.AcceptNever,
}
