package main

import (
	"crypto/tls"
	"crypto/x509"
	"math"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// sharedFlags are those of every command that transfers.
type sharedFlags struct {
	headers     []string
	user        string
	netrc       bool
	netrcFile   string
	proxy       string
	cacert      string
	cert, key   string
	pins        []string
	insecure    bool
	cookieJar   string
	retry       int
	timeout     value[time.Duration]
	maxTime     value[time.Duration]
	limitRate   value[int64]
	description string
	priority    value[urlsession.Priority]
	earliest    value[time.Time]
	json, quiet bool
	cache       bool // of data

	manyFlags

	resumable string // of upload

	session string // empty: the transfer runs in this process
	detach  bool
	// netrcGiven says that the command line has --netrc or --netrc-file.
	netrcGiven bool
	// configures says that the command line has a flag of the session's configuration, and retryGiven and parallelGiven that
	// it or the config file has these.
	configures, retryGiven, parallelGiven bool
	limitGiven                            bool // the command line has --limit-rate
}

// configuring are the flags that are of a session's configuration, but for limit-rate, which is changed by itself.
var configuring = []string{"netrc", "netrc-file", "proxy", "cacert", "cert", "key", "pin", "insecure", "retry", "timeout", "max-time", "parallel", "connections"}

func (f *sharedFlags) register(cmd *cobra.Command) {
	f.timeout = value[time.Duration]{kind: "duration", parse: parseSeconds}
	f.maxTime = value[time.Duration]{kind: "duration", parse: parseSeconds}
	f.limitRate = value[int64]{kind: "rate", parse: parseRate}
	f.priority = value[urlsession.Priority]{kind: "priority", parse: parsePriority}
	f.earliest = value[time.Time]{kind: "time", parse: func(s string) (time.Time, error) { return parseMoment(s, time.Now()) }}

	p := cmd.Flags()
	p.SortFlags = false
	p.StringArrayVarP(&f.headers, "header", "H", nil, "add a request header, `'K: V'` or @FILE with one a line (@- standard input)")
	p.StringVar(&f.user, "user", "", "log in as `NAME`; the password is asked for, or taken from $"+passwordVariable)
	p.BoolVar(&f.netrc, "netrc", false, "log in as ~/.netrc says for the host, or the file that $NETRC names")
	p.StringVar(&f.netrcFile, "netrc-file", "", "log in as `FILE` says for the host")
	p.StringVar(&f.proxy, "proxy", "", "go through the proxy at `URL` (http, https, socks5), or none; default: the environment")
	p.StringVar(&f.cacert, "cacert", "", "trust the PEM certificates in `FILE` in place of the system's")
	p.StringVar(&f.cert, "cert", "", "present the client certificate in `FILE` (PEM)")
	p.StringVar(&f.key, "key", "", "its private key, if it is not in the same `FILE`")
	p.StringArrayVar(&f.pins, "pin", nil, "trust only servers with the public key `[HOST=]sha256//BASE64`, or one of several; without HOST= it is for all hosts")
	p.BoolVar(&f.insecure, "insecure", false, "do not verify the server's certificate: anybody on the way can read and change the transfer")
	p.StringVar(&f.cookieJar, "cookie-jar", "", "send the cookies of `FILE` (a cookies.txt), and write to it at the end what servers have set")
	p.IntVar(&f.retry, "retry", 5, "try `N` times more after a failure that may pass (with --session: as often as --max-time allows)")
	p.Var(&f.timeout, "timeout", "give up when nothing arrives or leaves for so long; 0 is never (default 1m)")
	p.Var(&f.maxTime, "max-time", "give up a transfer that takes longer in all; 0 is never (default 168h)")
	p.Var(&f.limitRate, "limit-rate", "at most so many bytes a second over all transfers, such as 10MiB, or none (with --session: over all of the session)")
	p.StringVar(&f.description, "description", "", "call the task `TEXT`")
	p.Var(&f.priority, "priority", "low, default, high, or a number up to 1, among the tasks that wait for a host")
	p.Var(&f.earliest, "earliest", "do not begin before: 2026-12-24T18:00, 18:00, or 2h for two hours from now")
	p.BoolVar(&f.json, "json", false, "print one event a line, as JSON, to standard output")
	p.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress; errors are shown all the same")

	p.StringVar(&f.session, "session", "", "let the daemon do it, in the background session `ID`")
	p.BoolVar(&f.detach, "detach", false, "with --session: print the new tasks' numbers and leave")
	f.resumable = "auto"
}

// manyFlags are those of download and upload, which transfer many files.
type manyFlags struct {
	// parallel are the transfers at once, connections the most that one of them takes; 0: as many as add to its rate.
	parallel, connections int
	failFast              bool
}

// register adds the flags; which says what takes several connections.
func (f *manyFlags) register(cmd *cobra.Command, which string) {
	p := cmd.Flags()
	p.IntVarP(&f.parallel, "parallel", "j", 6, "transfer `N` files at once")
	p.IntVarP(&f.connections, "connections", "x", 0, "take at most `N` connections "+which+" (default: as many as add to the rate)")
	p.BoolVar(&f.failFast, "fail-fast", false, "stop all transfers at the first failure")
}

// check refuses what makes no sense; session is --session.
func (f *manyFlags) check(session string) error {
	switch {
	case f.parallel < 1:
		return usagef("-j %d: at least one transfer at once", f.parallel)
	case f.connections < 0:
		return usagef("-x %d: a number of connections is not negative; 0 is as many as add to the rate", f.connections)
	case f.failFast && session != "":
		return usagef("--fail-fast and --session contradict each other: the session's tasks go on without this command")
	}
	return nil
}

// prepare refuses what must not stand in a command line, what is not built and what contradicts itself, and sets the
// config file's defaults. It comes before all else.
func (f *sharedFlags) prepare(cmd *cobra.Command, args []string) error {
	if err := refuseSecretArguments(cmd.Flags(), args); err != nil {
		return err
	}
	f.configures = slices.ContainsFunc(configuring, cmd.Flags().Changed)
	f.limitGiven = cmd.Flags().Changed("limit-rate")
	f.netrcGiven = cmd.Flags().Changed("netrc") || cmd.Flags().Changed("netrc-file")
	jarGiven := cmd.Flags().Changed("cookie-jar") // that of the config file is for transfers in this process alone
	if err := applyConfig(cmd); err != nil {
		return err
	}
	if err := f.checkResumable(); err != nil {
		return err
	}
	for _, name := range []string{"user", "netrc-file", "cacert", "cert", "key"} {
		if given := cmd.Flags().Lookup(name); given.Changed && given.Value.String() == "" { // a script's variable that is not set
			return usagef("--%s needs a value; leave it out for none", name)
		}
	}
	f.retryGiven, f.parallelGiven = cmd.Flags().Changed("retry"), cmd.Flags().Changed("parallel")
	switch {
	case cmd.Flags().Changed("session") && f.session == "":
		return usagef("--session needs an identifier, such as com.example.sync")
	case f.detach && f.session == "":
		return usagef("--detach needs --session ID: without it the transfer runs in this command, and ends with it")
	case f.session != "" && jarGiven:
		return usagef("--cookie-jar and --session contradict each other: the daemon keeps a session's cookies itself")
	case jarGiven && f.cookieJar == "":
		return usagef("--cookie-jar needs a file's name")
	case f.session != "" && !f.retryGiven && f.maxTime.given() && f.maxTime.v == 0:
		return usagef("--max-time 0 and --session: the task might be tried for ever; give --retry N too")
	case f.retry < 0:
		return usagef("--retry %d: a number of tries is not negative", f.retry)
	case f.key != "" && f.cert == "":
		return usagef("--key %s is of no use without --cert FILE", f.key)
	}
	return f.findNetrc(cmd.ErrOrStderr(), f.netrcGiven)
}

// checkResumable refuses what is no protocol.
func (f *sharedFlags) checkResumable() error {
	switch f.resumable {
	case "auto", "ietf", "tus", "no":
		return nil
	}
	return usagef("--resumable %q: it is auto, ietf, tus or no", f.resumable)
}

// login is what --user asks for. The URLs of a command line must then share one origin.
func (f *sharedFlags) login(header http.Header, urls []string) (*login, error) {
	if f.user == "" {
		return nil, nil
	}
	if len(header["Authorization"]) > 0 {
		return nil, usagef("--user and the header Authorization contradict each other: give one of them")
	}
	l, err := newLogin(f.user, f.netrcFile != "" && (f.session == "" || f.netrcGiven)) // a session that is there has its own
	if err != nil {
		return nil, err
	}
	for _, u := range urls {
		if _, err := l.authorize(u); err != nil {
			return nil, usageError{err}
		}
	}
	return l, nil
}

// application is the command's own, whatever its file is called: whose stored credentials and cache a transfer in this process uses.
const application = "urlsession"

// configuration is the session's in process: ephemeral, since the command keeps nothing but what it was asked to, such as
// cookies and the cache, and stored credentials, whose file is looked at when a server wants to know who asks.
func (f *sharedFlags) configuration(maxPerHost int) (urlsession.Configuration, error) {
	c := urlsession.Ephemeral()
	c.MaximumConnectionsPerHost = maxPerHost
	c.Retries = f.retry
	var err error
	if c.CredentialStorage, err = urlsession.ApplicationCredentialStorage(application); err != nil {
		return c, err
	}
	c.URLCache = nil
	if f.cache {
		if c.URLCache, err = urlsession.ApplicationURLCache(application); err != nil {
			return c, err
		}
	}
	if f.cookieJar != "" {
		jar, err := urlsession.OpenCookieFile(f.cookieJar)
		if err != nil {
			return c, usagef("--cookie-jar: %w", err)
		}
		c.CookieStorage = jar // the session writes it when it is closed
	}
	return f.configure(c)
}

// configure sets what the flags say of any session.
func (f *sharedFlags) configure(c urlsession.Configuration) (urlsession.Configuration, error) {
	c.RateLimit = f.limitRate.v
	c.MaximumConnectionsPerDownload = f.connections
	c.InsecureSkipVerify = f.insecure
	if f.timeout.given() {
		c.TimeoutForRequest = orNone(f.timeout.v)
	}
	if f.maxTime.given() {
		c.TimeoutForResource = orNone(f.maxTime.v)
	}
	c.Netrc = f.netrcFile
	switch f.proxy {
	case "": // the environment
	case "none":
		c.Proxy = urlsession.NoProxy()
	default:
		c.Proxy = urlsession.ProxyURL(f.proxy)
	}
	if f.cacert != "" {
		pem, err := os.ReadFile(f.cacert)
		if err != nil {
			return c, usagef("--cacert: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return c, usagef("--cacert %s: it holds no certificate in PEM", f.cacert)
		}
		c.RootCAs = pem
	}
	for _, text := range f.pins {
		host, pin, err := parsePin(text)
		if err != nil {
			return c, usagef("--pin %s: %w", text, err)
		}
		if c.Pins == nil {
			c.Pins = make(map[string][]string)
		}
		c.Pins[host] = append(c.Pins[host], pin)
	}
	if f.cert != "" {
		key := f.key
		if key == "" {
			key = f.cert
		}
		pair, err := tls.LoadX509KeyPair(f.cert, key)
		if err != nil {
			return c, usagef("--cert %s --key %s: %w", f.cert, key, err)
		}
		c.ClientCertificates = []tls.Certificate{pair}
	}
	return c, nil
}

// perHost is how many connections to one host the transfers may come to have.
func (f *manyFlags) perHost() int {
	connections := max(1, f.connections)
	if connections > math.MaxInt/max(1, f.parallel) {
		return math.MaxInt
	}
	return f.parallel * connections
}

// orNone turns the command's 0, never, into the API's negative duration.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// decorate gives a request what the flags say of all of them.
func (f *sharedFlags) decorate(r *urlsession.Request, h http.Header) {
	r.Header = h.Clone()
	if _, own := r.Header["User-Agent"]; !own {
		r.Header.Set("User-Agent", userAgent())
	}
	r.Description = f.description
	r.Priority = f.priority.v
	r.EarliestBegin = f.earliest.v
	r.FailOnHTTPError = true
	r.WaitsForAnswer = f.detach // who waits for the exit status has the failure at once
}
