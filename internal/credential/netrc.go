package credential

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/urlsession/urlsession/internal/task"
)

// Netrc is what a .netrc file says: users and passwords by host. It is not changed once it is read.
type Netrc struct {
	machines []machine
	text     Secret
}

// Text is what was read.
func (n *Netrc) Text() Secret { return n.text }

type machine struct {
	host     string // "": the default
	login    string
	password Secret
}

const maxNetrc = 1 << 20 // bytes

// ReadNetrc reads the file at path. The warning, a *task.Error, says that others can read the file; it is used all the same,
// as curl and wget do.
func ReadNetrc(path string) (n *Netrc, warning, err error) {
	fail := func(code task.Code, err error) error {
		return &task.Error{Op: "read netrc", URL: path, Code: code, Err: err}
	}
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fail(task.CannotOpenFile, err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, nil, fail(task.CannotOpenFile, err)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxNetrc+1))
	if err == nil && len(text) > maxNetrc {
		err = fmt.Errorf("it has more than %d bytes", maxNetrc)
	}
	if err == nil {
		n, err = ParseNetrc(string(text))
	}
	if err != nil {
		return nil, nil, fail(task.CannotOpenFile, err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		warning = fail(task.NoPermission, fmt.Errorf("it has mode %#o, and others can read the passwords in it: set its mode to 0600", perm))
	}
	return n, warning, nil
}

// ParseNetrc reads the text of a .netrc file: "machine HOST" or "default", each followed by any of "login NAME", "password
// WORD", "account WORD" (which is not used), "macdef NAME" (a macro, up to an empty line; it is not used). Words stand in
// double quotes where they hold spaces, with \" \\ \n \r \t in them. From a # that begins a word where a keyword stands, the
// line is a comment. Errors name the line and never cite it.
func ParseNetrc(text string) (*Netrc, error) {
	in := &netrcScanner{rest: strings.TrimPrefix(text, "\ufeff"), line: 1}
	n := &Netrc{text: NewSecret(text)}
	current := -1
	for {
		word, ok, err := in.word()
		if err != nil {
			return nil, err
		}
		if !ok {
			return n, nil
		}
		if word == "default" {
			n.machines = append(n.machines, machine{})
			current = len(n.machines) - 1
			continue
		}
		if strings.HasPrefix(word, "#") {
			in.skipLine()
			continue
		}
		switch word {
		case "machine", "login", "password", "account", "macdef":
		default:
			return nil, fmt.Errorf("line %d: machine, default, login, password, account or macdef should stand there", in.line)
		}
		if word != "machine" && word != "macdef" && current < 0 {
			return nil, fmt.Errorf("line %d: %s stands before any machine", in.line, word)
		}
		line := in.line
		value, ok, err := in.word()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("line %d: %s has no value", line, word)
		}
		switch word {
		case "machine":
			if value == "" {
				return nil, fmt.Errorf("line %d: machine has no name", line)
			}
			n.machines = append(n.machines, machine{host: canonicalHost(value)})
			current = len(n.machines) - 1
		case "login":
			n.machines[current].login = value
		case "password":
			n.machines[current].password = NewSecret(value)
		case "macdef":
			in.skipMacro()
		}
	}
}

// Find is the credential for host: of the first machine of that name, or else the default. With a user, only one of that
// login counts, or one that names none.
func (n *Netrc) Find(host, user string) (Credential, bool) {
	if n == nil {
		return Credential{}, false
	}
	host = canonicalHost(host)
	for _, name := range []string{host, ""} {
		for _, m := range n.machines {
			if m.host != name || user != "" && m.login != "" && m.login != user || m.login == "" && m.password.IsZero() {
				continue
			}
			c := Credential{User: m.login, Password: m.password}
			if c.User == "" {
				c.User = user
			}
			return c, true
		}
		if host == "" {
			break
		}
	}
	return Credential{}, false
}

type netrcScanner struct {
	rest string
	line int
}

func (s *netrcScanner) word() (string, bool, error) {
	for s.rest != "" && strings.IndexByte(" \t\r\n", s.rest[0]) >= 0 {
		if s.rest[0] == '\n' {
			s.line++
		}
		s.rest = s.rest[1:]
	}
	if s.rest == "" {
		return "", false, nil
	}
	if s.rest[0] != '"' {
		n := strings.IndexAny(s.rest, " \t\r\n")
		if n < 0 {
			n = len(s.rest)
		}
		word := s.rest[:n]
		s.rest = s.rest[n:]
		return word, true, nil
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		c := s.rest[i]
		switch {
		case c == '"':
			s.rest = s.rest[i+1:]
			return b.String(), true, nil
		case c == '\n':
			return "", false, fmt.Errorf("line %d: a quotation mark is not closed", s.line)
		case c == '\\' && i+1 < len(s.rest):
			i++
			switch c := s.rest[i]; c {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(c)
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false, fmt.Errorf("line %d: a quotation mark is not closed", s.line)
}

func (s *netrcScanner) skipLine() bool {
	line, rest, ok := strings.Cut(s.rest, "\n")
	s.rest = rest
	if ok {
		s.line++
	}
	return strings.Trim(line, " \t\r") != ""
}

// skipMacro passes the rest of macdef's line, and all up to an empty line.
func (s *netrcScanner) skipMacro() {
	s.skipLine()
	for s.rest != "" && s.skipLine() {
	}
}
