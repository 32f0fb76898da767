package urlsession

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// Configuration says how a session behaves. It is a value made by Default, Ephemeral or Background, then changed field by
// field. New copies it: to change it later changes nothing. It is not for concurrent change.
type Configuration struct {
	kind    sessionKind    // 0: made by none of the three
	cookies *CookieStorage // as one of the three set CookieStorage; New takes another in its place, by the names that stand there then

	// Application names the folder in which default sessions keep what lasts, $XDG_DATA_HOME/urlsession/APPLICATION, else
	// ~/.local/share/urlsession/APPLICATION, and that of their URLCache. Programs that say the same name share it. Default sets the name of the
	// executable's file, which empty stands for too; a program that is built under several names, as by go run, should set
	// one. It is the name of a folder, and no path. Other kinds of session do not use it.
	Application string
	// Identifier names a background session, among those of its daemon; Background sets it. It is printable text of at
	// most 255 bytes.
	Identifier string

	// AdditionalHeaders are added to every request that has no such header of its own; names are compared
	// case-insensitively. Authorization, Proxy-Authorization and Cookie among them do not follow a redirect to another
	// origin, and Proxy-Authorization goes no further than a proxy of HTTP, where there is one. A User-Agent belongs here:
	// without one, requests say that of net/http.
	AdditionalHeaders http.Header

	// TimeoutForRequest is the idle timer of a task: how long no byte may arrive or leave, once its connection is being
	// made. 0: 60 s; negative: none.
	TimeoutForRequest time.Duration
	// TimeoutForResource is how long a task may take from start to end, retries and waits included; the time for which it
	// is suspended does not count. 0: 7 days; negative: none.
	TimeoutForResource time.Duration
	// WaitsForConnectivity lets a task that cannot connect wait for a network (event Waiting, once a wait) in place of
	// failing. Only TimeoutForResource ends the wait. Once connected, a lost connection is a failure all the same. A
	// background session always waits: New refuses false there.
	WaitsForConnectivity bool

	// MaximumConnectionsPerHost is the most connections to a host at a time, over all tasks of the session; tasks above
	// it wait in order of priority. Many requests share one HTTP/2 connection. 0: 6.
	MaximumConnectionsPerHost int
	// MaximumConnectionsPerDownload is the most connections that one download takes at once, and one upload that goes in parts. 0: as
	// many as its host may have (MaximumConnectionsPerHost) and add to its rate; 1: one.
	MaximumConnectionsPerDownload int

	// CookieStorage keeps cookies; nil: none are kept or sent. Ephemeral sets a new one in memory. Default sets that of
	// Application, and New takes that of the name that stands there then: one in the process, which all default sessions of
	// the application share, and over its file, which is encrypted, all processes. It is opened, and its folder made, no
	// earlier than it is needed. A cookie with an expiry is in the file within a second, and durably when Session.Flush or
	// Close has returned; one without ends with the process. Where the file cannot be read or written the cookies are in
	// memory all the same, and Flush and Close return the error.
	//
	// Another storage, such as OpenCookieFile's, is used by reference. One of a type of the app's own must be safe for concurrent
	// use; Session.Reset calls its method Reset(context.Context) error, and Flush and Close call Flush(context.Context) error, where it has them.
	//
	// Cookies of a background session are the daemon's, one set a session, in a file that lasts in the same way, also when the
	// session is invalidated and made anew. Background sets a storage over that file, which apps may list and edit while the
	// daemon uses it: New takes that of the Identifier and Daemon that stand there then. It or nil are the only values
	// there. A cookie without an expiry is known only to the process that got it, which the daemon's is for tasks.
	CookieStorage http.CookieJar
	// CookieAcceptPolicy says whose cookies are stored.
	CookieAcceptPolicy CookieAcceptPolicy
	// SetCookies says whether stored cookies are sent. Default: true. A Cookie header of a request is sent in any case.
	SetCookies bool

	// CredentialStorage keeps credentials; nil: none are kept, nor looked for. Ephemeral sets a new one in memory. Default sets
	// that of Application, which is sealed in a file, as CookieStorage; New takes that of the name that stands there then. It is
	// looked at when a server first wants to know who asks. Where its file cannot be read or written, credentials are in memory,
	// and Flush and Close return the error. What is stored is tried before OnChallenge is asked.
	//
	// Those of a background session are the daemon's, one set a session, kept also when the session is invalidated and made anew:
	// Background sets what stands for them, which or nil are the only values there. Session.CredentialStorage has them.
	CredentialStorage *CredentialStorage
	// Netrc is the path of a .netrc, which is asked for credentials after CredentialStorage. New reads it, and refuses what is
	// none, or missing; later changes of the file change nothing. That of a background session goes to the daemon, which
	// keeps it encrypted: 64 KiB are the most there. Empty: none.
	Netrc string

	// URLCache keeps the responses of data and upload tasks, and of RoundTripper; nil: none are kept. A download's go to its
	// file alone. Ephemeral sets a new one of 16 MiB in memory. Default sets that of Application, of 256 MiB in
	// $XDG_CACHE_HOME/urlsession/APPLICATION, else below ~/.cache; New takes that of the name that stands there then: one in the
	// process, which all default sessions of the application share, and over its folder, whose files are encrypted, all processes.
	// The folder is opened and made no earlier than it is needed. Where it cannot be, responses come all the same, and
	// Session.Flush and Close return the error. A background session has none.
	URLCache *URLCache
	// RequestCachePolicy is how URLCache is used for requests that do not say so themselves. CachePolicyDefault:
	// CacheUseProtocol.
	RequestCachePolicy CachePolicy
	// WillCache decides whether a response is stored, where the protocol allows it; nil: it is. It may change r.Header, of
	// which what it leaves is stored. It is called before the body comes, in the request's goroutine, and must not wait. r is to
	// be used by it alone.
	WillCache func(r *Response) bool

	// Retries is how many more attempts a task has after one that failed by the network, or was answered 408, 429, 500,
	// 502, 503 or 504; a download goes on from what it holds. Attempts stand apart by a random time that doubles, or
	// by the answer's Retry-After. POST and PATCH are sent again only where that cannot apply them twice, unless
	// Request.RetryUnsafe. 0: none; -1: until TimeoutForResource, as Background sets it.
	Retries int

	// Proxy says how servers are reached; the zero value is ProxyFromEnvironment.
	Proxy Proxy

	// TLSMinimumVersion is the oldest version of TLS that is spoken, such as tls.VersionTLS13. 0: TLS 1.2.
	TLSMinimumVersion uint16
	// RootCAs are the authorities that may sign a server's certificate, in PEM; nil: the system's. New refuses what holds
	// none.
	RootCAs []byte
	// ClientCertificates are shown to servers that ask for one of their authority. Those of a background session go to the
	// daemon, which keeps them encrypted: their private keys must be in memory, not in a device.
	ClientCertificates []tls.Certificate
	// Pins bind hosts to public keys: the certificate of a host, or one that vouches for it, must have one of those that stand
	// here for its name, each as "sha256//" and 44 characters of base64, the SHA-256 of its SubjectPublicKeyInfo (RFC 7469,
	// curl's --pinnedpubkey). A name is of lower-case ASCII or an address, without a port; "*.example.com" stands for names
	// one label below, and "*" for all hosts. The closest name counts, and it alone: exact, else "*.", else "*". Another key
	// is ErrCertificateUntrusted. Pins hold beside RootCAs and OnChallenge, also at https proxies, and with
	// InsecureSkipVerify; then, and where OnChallenge trusts what is wrong, the certificate itself must have the key. New
	// refuses what is no pin.
	Pins map[string][]string
	// InsecureSkipVerify takes ANY certificate: whoever sits between can read and change all that is sent and received,
	// passwords too. It is for tests only; to trust a private authority, set RootCAs.
	InsecureSkipVerify bool

	// AllowsExpensiveNetworkAccess and AllowsConstrainedNetworkAccess let tasks use a network that costs money, or that
	// the user wants used sparingly (on Linux, what NetworkManager calls metered); else they fail with ErrDataNotAllowed,
	// or wait with WaitsForConnectivity. Default: true, and the machine is not even asked.
	AllowsExpensiveNetworkAccess   bool
	AllowsConstrainedNetworkAccess bool

	// RateLimit is the most bytes of bodies that all tasks of the session together receive a second, and apart from those
	// the most that they send; it is exact within 2 % over 10 s. RoundTripper is not under it. 0: none. Session.SetRateLimit
	// changes it, and Request.RateLimit is a single task's.
	RateLimit int64

	// ForbidDowngrade makes a redirect from https to http an error (ErrRequiresSecureConnection). Without it such a
	// redirect is followed, without the request's Authorization, Proxy-Authorization and Cookie.
	ForbidDowngrade bool

	// Daemon is who runs the tasks of a background session; the zero value is the user's own daemon, which is started where
	// it does not run. Like the two fields below, it is for background sessions only.
	Daemon Daemon
	// Discretionary lets the tasks of a background session run only while the machine draws on no battery and the network
	// is not metered. Else they wait (WaitDiscretionary), also in the midst.
	Discretionary bool
	// LaunchCommand is a program and its arguments, which the daemon runs when events of a background session wait and
	// nobody listens to them as the owner: when its last task has ended, one waits for an answer (OnChallenge), an owner is gone before it was given all, or the
	// daemon is started. There is no shell. The session's identifier is added as the last argument, and stands in the
	// environment, which is the daemon's else, as URLSESSION_SESSION; URLSESSION_EVENT is backgroundtransfer. It runs in
	// the working directory that New was called in, once a wake-up, and again with growing pauses while the events stay
	// unacknowledged. A program without a slash is looked up in PATH by New.
	LaunchCommand []string
	// SendsLaunchEvents says whether LaunchCommand is run. Default: true.
	SendsLaunchEvents bool

	// OnChallenge answers servers and proxies that want to know who asks, where nothing that is stored is taken; nil: their
	// refusal (401, 407) is the response. It is called as OnRedirect is, where RoundTripper asks with a nil t.
	//
	// In a background session the task is parked meanwhile (WaitAuthentication), also where no process is attached: then the
	// function of one that is attached later answers, or Task.Answer. An answer that cannot be used is told to slog's default
	// logger, and leaves the question open. It is called once a ticket, 16 calls at once at most. Without a
	// function its tasks ask nobody, unless Request.WaitsForAnswer says so.
	//
	// In process it is also asked, with a nil t, whether a server or an https proxy is trusted (AuthServerTrust, at each
	// handshake of TLS), and for a client certificate where ClientCertificates has none that fits (AuthClientCertificate).
	// Meanwhile the timer of TimeoutForRequest goes on. Its context ends with the request that it is asked for, and with Close,
	// which waits until it has returned; what it answers then is not used.
	OnChallenge ChallengeFunc

	// OnTokenRefresh makes a new token in place of one that a server has refused, as by an OAuth refresh token; nil: tokens are
	// not refreshed. It may take its time; for one token it is called once, however many requests wait for it. A background
	// session has none.
	OnTokenRefresh func(ctx context.Context, space ProtectionSpace, refused Credential) (Credential, error)

	// OnRedirect decides each redirect that a task would follow; nil: all are followed. Either way 20 are the most. It
	// returns how to go on: &r.Request, changed or not, or &NewRequest{}, which is the same unchanged; nil refuses, and
	// then the redirect is the task's response.
	//
	// It is called in a goroutine of its own, at the same time for several tasks. The task waits for it, without its
	// idle timer. ctx ends when the answer is no longer wanted: the task has ended, or its session. It must not call
	// Session.Close, which waits for it. A background session has none, since its tasks go on without this process.
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

// Default is the configuration of a session whose cookies, credentials and cache last, and which shares them with the other
// default sessions of its Application, in this process and others. It does no I/O.
func Default() Configuration {
	c := base(kindDefault)
	c.Application = programName()
	c.setCookies(applicationCookies(c.Application))
	c.CredentialStorage = credentialsOf(c.Application)
	c.URLCache = urlCacheOf(c.Application)
	return c
}

// Ephemeral is the configuration of a session that keeps everything in memory, for itself: nothing is ever written to
// disk but the destination of a download and its part file.
func Ephemeral() Configuration {
	c := base(kindEphemeral)
	c.CookieStorage = NewCookieStorage()
	c.CredentialStorage = NewCredentialStorage()
	c.URLCache = NewURLCache(ephemeralCacheCapacity)
	return c
}

// Background is the configuration of a session whose tasks a daemon of this user runs, so that they go on when the app is
// gone. The identifier names it: New of one that is there attaches to that session, with its tasks and the events that
// nobody has acknowledged, and the newer configuration governs the tasks that are made from then on. A name such as
// com.example.sync keeps apart from other programs of the user.
//
// Such a session's tasks wait for a network and for room on the disk, and are tried again until TimeoutForResource. They
// always follow redirects.
func Background(identifier string) Configuration {
	c := base(kindBackground)
	c.Identifier = identifier
	c.WaitsForConnectivity = true
	c.Retries = -1
	c.setCookies(backgroundCookies(c.Daemon, identifier))
	c.CredentialStorage = daemonCredentials
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

// clone is a copy that shares nothing that can be changed, but for the storages, which are things and no settings.
func (c Configuration) clone() Configuration {
	c.AdditionalHeaders = c.AdditionalHeaders.Clone()
	c.ClientCertificates = slices.Clone(c.ClientCertificates)
	c.RootCAs = bytes.Clone(c.RootCAs)
	c.Daemon.Command = slices.Clone(c.Daemon.Command)
	c.LaunchCommand = slices.Clone(c.LaunchCommand)
	c.Pins = maps.Clone(c.Pins)
	for host, pins := range c.Pins {
		c.Pins[host] = slices.Clone(pins)
	}
	return c
}

// check refuses values that mean nothing, and makes the names of AdditionalHeaders canonical.
func (c *Configuration) check() error {
	switch s, ok := c.CookieStorage.(*CookieStorage); {
	case ok && s == nil:
		c.CookieStorage = nil // also of that type
	case ok && s.cookies == nil:
		return badField("CookieStorage", "was not made by NewCookieStorage, OpenCookieStorage, OpenCookieFile or ApplicationCookieStorage")
	case c.CredentialStorage != nil && c.CredentialStorage.storage == nil && c.CredentialStorage != daemonCredentials:
		return badField("CredentialStorage", "was not made by NewCredentialStorage, OpenCredentialStorage or ApplicationCredentialStorage")
	}
	if c.kind == 0 {
		return badField("", "was not made by Default, Ephemeral or Background; begin with one of them and change its fields")
	}
	if err := cmp.Or(c.checkKind(), c.checkCache()); err != nil {
		return err
	}
	switch {
	case c.MaximumConnectionsPerHost < 0:
		return badField("MaximumConnectionsPerHost", fmt.Sprintf("is %d; 0 is the default of %d", c.MaximumConnectionsPerHost, defaultConnectionsPerHost))
	case c.MaximumConnectionsPerDownload < 0:
		return badField("MaximumConnectionsPerDownload", fmt.Sprintf("is %d; 0 is as many as add to the rate, and 1 is one", c.MaximumConnectionsPerDownload))
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
	if err := transport.CheckPins(c.Pins); err != nil {
		return badField("Pins", err.Error())
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

// checkKind refuses what only the other kind of session, in the background or in process, can have.
func (c *Configuration) checkKind() error {
	const process = ", and tasks of a background session go on without this process, which it would have to be called in; leave it nil"
	const background = "is set, and only a background session has one; make it by Background, or leave it at its zero value"
	if c.kind != kindBackground {
		switch why := checkApplication(c.Application); {
		case c.kind == kindDefault && why != "":
			return badField("Application", why)
		case c.Identifier != "":
			return badField("Identifier", background)
		case c.Daemon.State != "" || c.Daemon.Command != nil:
			return badField("Daemon", background)
		case c.Discretionary:
			return badField("Discretionary", "is set, and only a background session can wait for it; make it by Background")
		case c.LaunchCommand != nil:
			return badField("LaunchCommand", background)
		case c.CredentialStorage == daemonCredentials:
			return badField("CredentialStorage", "is a background session's, whose credentials are in the daemon; take that of Default or Ephemeral, or nil")
		}
		return nil
	}
	if err := control.CheckIdentifier(c.Identifier); err != nil {
		return badField("Identifier", "cannot be used: "+err.Error())
	}
	switch {
	case c.OnRedirect != nil:
		return badField("OnRedirect", "is set"+process)
	case c.OnResponse != nil:
		return badField("OnResponse", "is set"+process)
	case c.CookieStorage != nil && c.CookieStorage != http.CookieJar(c.cookies):
		return badField("CookieStorage", "is another than the daemon's, which runs the tasks; leave it as Background sets it, or nil for none")
	case c.OnTokenRefresh != nil:
		return badField("OnTokenRefresh", "is set"+process)
	case c.CredentialStorage != nil && c.CredentialStorage != daemonCredentials:
		return badField("CredentialStorage", "is one of this process, and a background session's credentials are in the daemon; leave it as Background sets it, or nil for none")
	case !c.WaitsForConnectivity:
		return badField("WaitsForConnectivity", "is false, and a background session always waits; leave it true")
	case len(c.Daemon.Command) > 0 && c.Daemon.Command[0] == "":
		return badField("Daemon.Command", "names no program")
	case len(c.LaunchCommand) > 0 && c.LaunchCommand[0] == "":
		return badField("LaunchCommand", "names no program")
	}
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
		WaitsForSpace:        c.kind == kindBackground,
		Discretionary:        c.Discretionary,
		AllowsExpensive:      c.AllowsExpensiveNetworkAccess,
		AllowsConstrained:    c.AllowsConstrainedNetworkAccess,
		Connections:          c.MaximumConnectionsPerDownload,
		Cache:                cachePolicies[c.RequestCachePolicy],
		Retries:              c.Retries,
		ForbidDowngrade:      c.ForbidDowngrade,
		Ask: task.Ask{
			Redirect: c.OnRedirect != nil, Response: c.OnResponse != nil, Challenge: c.OnChallenge != nil,
		},
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

// transport is the chain that the configuration asks for, through proxies that were resolved. h is asked in its handshakes.
func (c *Configuration) transport(proxy transport.Proxy, h *handshakes) (*transport.Transport, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	secure := transport.TLS{
		MinVersion: c.TLSMinimumVersion, Roots: roots, Certificates: c.ClientCertificates, Insecure: c.InsecureSkipVerify, Pins: c.Pins,
	}
	if h != nil {
		secure.Trust, secure.Choose = h.trust, h.choose
	}
	authenticator, err := c.authenticator()
	if err != nil {
		return nil, err
	}
	var cache *httpcache.Storage
	if c.URLCache != nil {
		cache = c.URLCache.storage
	}
	t, err := transport.New(transport.Options{
		MaxConnsPerHost: c.MaximumConnectionsPerHost,
		Proxy:           proxy,
		TLS:             secure,
		Jar:             c.CookieStorage, SetCookies: c.SetCookies, AcceptPolicy: acceptPolicies[c.CookieAcceptPolicy],
		Authenticator: authenticator, Keep: c.keep(),
		Cache: cache, WillCache: c.willCache(),
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
