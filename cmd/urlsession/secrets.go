package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// passwordVariable is the environment variable that --user takes its password from.
const passwordVariable = "URLSESSION_PASSWORD"

// secretHeaders are refused in arguments, which every user of the machine can read by ps.
var secretHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie"}

// refuseSecretArguments is an error where a secret stands in the command line: a password of --proxy or of a URL, or a
// header that carries credentials. (That of --user is refused wherever it stands: newLogin.) It names the remedy and never
// the secret. It is to be called before the config file's defaults are set: that file is nobody else's to read.
func refuseSecretArguments(flags *pflag.FlagSet, args []string) error {
	if proxy, _ := flags.GetString("proxy"); hasPassword(proxy) || hasPassword("http://"+proxy) {
		return usagef("--proxy %s: a password does not belong in an argument, which ps shows: put the proxy into HTTPS_PROXY or the config file", redact(proxy))
	}
	headers, _ := flags.GetStringArray("header")
	for _, h := range headers {
		for _, secret := range secretHeaders {
			if name, _, _ := strings.Cut(h, ":"); strings.EqualFold(strings.TrimSpace(name), secret) {
				return usagef("-H %s: it does not belong in an argument, which ps shows: write the header into a file and give -H @FILE, or -H @- for standard input", secret)
			}
		}
	}
	for _, arg := range args {
		if hasPassword(arg) {
			return usagef("%s: a password does not belong in an argument, which ps shows: give --user NAME and set %s, or be asked", redact(arg), passwordVariable)
		}
	}
	return nil
}

// hasPassword says whether the text is a URL with a password before its host.
func hasPassword(raw string) bool {
	if u, err := url.Parse(raw); err == nil {
		_, set := u.User.Password()
		return set
	}
	_, rest, _ := strings.Cut(raw, "://")
	rest, _, _ = strings.Cut(rest, "/")
	userinfo, _, at := strings.Cut(rest, "@")
	return at && strings.Contains(userinfo, ":")
}

// redact makes a URL fit to be shown: without userinfo and fragment, its query replaced, since that is where signed URLs
// keep their secret.
func redact(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err == nil && u.Opaque == "" && u.User == nil && !strings.ContainsAny(raw, "?#"):
		return raw // as it was given
	case err != nil || u.Opaque != "":
		raw, _, _ = strings.Cut(raw, "#")
		raw, _, _ = strings.Cut(raw, "?")
		if i := strings.LastIndexByte(raw, '@'); i >= 0 {
			raw = raw[i+1:]
		}
		return raw
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	if u.RawQuery != "" {
		u.RawQuery = "REDACTED"
	}
	return u.String()
}

// login is what --user says: whoever the server asks for, by whatever scheme. It belongs to one origin: that of the first URL
// that asks. A nil login is none.
type login struct {
	user   *url.Userinfo
	origin string
}

// newLogin asks for the password: of the environment, else of the terminal, without echo. Where a .netrc may have it, nobody is
// asked.
func newLogin(name string, netrc bool) (*login, error) {
	if strings.Contains(name, ":") { // which no user's name has (RFC 7617 §2)
		return nil, usagef("--user takes a name alone, since ps shows arguments: set %s, or be asked for the password", passwordVariable)
	}
	if _, given := os.LookupEnv(passwordVariable); netrc && !given {
		return &login{user: url.User(name)}, nil
	}
	password, err := askSecret(passwordVariable, "--user "+oneLine(name), "a password", "Password for "+oneLine(name))
	if err != nil {
		return nil, err
	}
	return &login{user: url.UserPassword(name, password)}, nil
}

// askSecret is the environment's variable, or what is typed on the terminal, without echo. what needs it, and what it is,
// stand in the error.
func askSecret(variable, what, secret, prompt string) (string, error) {
	if text, ok := os.LookupEnv(variable); ok {
		return text, nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", usagef("%s needs %s, and there is no terminal to ask on: set %s", what, secret, variable)
	}
	defer tty.Close()
	text, err := askTerminal(tty, prompt)
	if err != nil {
		return "", usagef("read %s from the terminal: %w", secret, err)
	}
	return text, nil
}

// askTerminal asks on the terminal, without echo. A signal gives the terminal its echo back before it ends the process.
func askTerminal(tty *os.File, prompt string) (string, error) {
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer func() {
		signal.Stop(signals)
		close(done)
	}()
	go func() {
		select {
		case <-signals:
			_ = term.Restore(fd, state)
			fmt.Fprintln(tty)
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	defer func() { _ = term.Restore(fd, state) }() // or it stays as it is
	if err := stopEcho(fd); err != nil {           // before the question: who answers at once is not shown either
		return "", err
	}
	fmt.Fprint(tty, prompt+": ")
	password, err := term.ReadPassword(fd)
	fmt.Fprintln(tty)
	return string(password), err
}

// authorize is rawURL with the login before its host, which the session answers the server by, and shows nobody. Another origin
// than the first is an error: a password is not sent where it was not meant to go. It is called from one goroutine at a
// time.
func (l *login) authorize(rawURL string) (string, error) {
	if l == nil {
		return rawURL, nil
	}
	u, err := url.Parse(rawURL)
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if err != nil || u.Host == "" || !ok {
		return rawURL, nil // the session says what is wrong with it
	}
	o := origin(u)
	if l.origin == "" {
		l.origin = o
	}
	if l.origin != o {
		return "", fmt.Errorf("the password of --user is for %s, the first URL's origin, and is not sent to %s: run them one by one", l.origin, o)
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	own := strings.LastIndexByte(rest[:end], '@') + 1 // a user of its own, which --user is in place of
	return scheme + "://" + l.user.String() + "@" + rest[own:], nil
}

// origin is scheme, host and port (RFC 6454 §4).
func origin(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// readHeaders reads what -H says: "K: V", or "@FILE" with a header a line, "@-" for in. Errors name the file and line or
// the header, never its value.
func readHeaders(flags []string, in io.Reader) (http.Header, error) {
	all := http.Header{}
	for _, f := range flags {
		file, isFile := strings.CutPrefix(f, "@")
		if !isFile {
			if err := addHeader(all, f); err != nil {
				return nil, usagef("-H: %w", err)
			}
			continue
		}
		if err := readHeaderFile(all, file, in); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readHeaderFile(all http.Header, file string, in io.Reader) error {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return usagef("-H @%s: %w", file, err)
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := addHeader(all, line); err != nil {
			return usagef("-H @%s: line %d: %w", file, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return usagef("-H @%s: %w", file, err)
	}
	return nil
}

func addHeader(all http.Header, line string) error {
	name, v, ok := strings.Cut(line, ":")
	name, v = strings.TrimSpace(name), strings.TrimSpace(v)
	switch {
	case !ok || name == "":
		return errors.New(`a header is "Name: value", or @FILE with one a line`)
	case !isToken(name):
		return fmt.Errorf("%q is no header's name (RFC 9110 §5.1)", name)
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return fmt.Errorf("the value of %s holds a control character", name)
	}
	all.Add(name, v)
	return nil
}

// isToken says whether the text is a token (RFC 9110 §5.6.2), as methods and the names of headers are.
func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}
