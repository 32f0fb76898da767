package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/urlsession/urlsession/internal/task"
)

// Secret is text that does not show: printed in whatever way, logged or marshalled, it is REDACTED. The zero Secret is empty.
//
// It is a pointer so that it hides in fields that package fmt cannot call methods of, too.
type Secret struct{ text *string }

// NewSecret hides text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal is the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether s is empty.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal reports whether both have one text.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String hides the text, and tells whether there is one.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return task.Redacted
}

// Format hides the text from every verb.
func (s Secret) Format(w fmt.State, _ rune) { io.WriteString(w, s.String()) }

// MarshalJSON hides the text: what is to be kept or sent must be revealed by name.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Persistence says how long a credential is kept.
type Persistence int

const (
	// None: for one request. A Storage does not take it.
	None Persistence = iota
	// Session: until the process ends, in memory.
	Session
	// Permanent: in the Storage's file; in one without a file, as Session.
	Permanent
)

// String is the name in lower case.
func (p Persistence) String() string {
	switch p {
	case None:
		return "none"
	case Session:
		return "session"
	case Permanent:
		return "permanent"
	}
	return "unknown"
}

// MarshalText is String.
func (p Persistence) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what String writes.
func (p *Persistence) UnmarshalText(text []byte) error {
	for _, q := range []Persistence{None, Session, Permanent} {
		if q.String() == string(text) {
			*p = q
			return nil
		}
	}
	return errors.New("a persistence is none, session or permanent")
}

// Credential says who somebody is, and has what proves it. It is one of three: user and password; a bearer token; the name
// of a client certificate, whose files or keys are elsewhere.
type Credential struct {
	User        string      `json:"user,omitempty"` // for NTLM also DOMAIN\user
	Password    Secret      `json:"-"`
	Token       Secret      `json:"-"`
	Certificate string      `json:"certificate,omitempty"`
	Persistence Persistence `json:"persistence"`
}

// IsZero reports whether c says nothing.
func (c Credential) IsZero() bool {
	return c.User == "" && c.Password.IsZero() && c.Token.IsZero() && c.Certificate == ""
}

// Equal reports whether both prove the same, however long they are kept.
func (c Credential) Equal(o Credential) bool {
	return c.User == o.User && c.Certificate == o.Certificate && c.Password.Equal(o.Password) && c.Token.Equal(o.Token)
}

// id tells the credentials of one space apart.
func (c Credential) id() string {
	switch {
	case c.Certificate != "":
		return "certificate " + c.Certificate
	case !c.Token.IsZero():
		return "token " + c.User
	}
	return "user " + c.User
}

// fits reports whether c has what a method proves with.
func (c Credential) fits(m Method) bool {
	switch m {
	case Bearer:
		return !c.Token.IsZero()
	case ClientCertificate:
		return c.Certificate != ""
	}
	return c.Token.IsZero() && c.Certificate == "" && (c.User != "" || !c.Password.IsZero())
}
