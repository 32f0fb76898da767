package urlsession

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urlsession/urlsession/internal/credential"
)

// CredentialStorage keeps credentials by protection space: NSURLCredentialStorage. It may be used by several sessions at once,
// and from any goroutine.
//
// In one space several users may have one. That which is tried first is the default, or the only one. A credential that is
// stored for an empty realm, or an empty method, stands for all of its origin; the narrowest space that fits counts.
//
// What the storage returns holds passwords and tokens. Printed, logged or marshalled they do not show.
type CredentialStorage struct {
	storage  *credential.Storage // nil: the daemon's, which stands in a Configuration alone
	homeless error               // why there is no folder for its file; nil: there is one, or it is in memory by choice
}

// StoredCredential is one credential of a CredentialStorage.
type StoredCredential struct {
	Space      ProtectionSpace
	Credential Credential
	Default    bool // it was made the one that is tried first in its space
}

// NewCredentialStorage is an empty storage in memory.
func NewCredentialStorage() *CredentialStorage {
	return &CredentialStorage{storage: credential.New()}
}

// OpenCredentialStorage is a storage whose permanent credentials are in a file, encrypted. The file is made, mode 0600, with the
// first of them; its folder must exist. Its key is in the user's keyring or, where none answers when the file is begun,
// in a file beside it, FILE.key. Any number of storages may be open on one file, in any number of processes: each sees the
// others' changes within a second.
//
// A file that is damaged, or whose key is lost, is kept as FILE.corrupt-TIME, and a new one begun, which slog's default logger is
// told. The error is for a file that cannot be read for another reason, such as a keyring that is locked; it stays as it is then.
func OpenCredentialStorage(path string) (*CredentialStorage, error) {
	const op = "open credential file"
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, publicError(op, err)
	}
	s, err := credential.Open(path, credential.Options{Holders: credentialKey(path, path), Warn: warnDamaged})
	if err != nil {
		return nil, publicError(op, err)
	}
	return &CredentialStorage{storage: s}, nil
}

// SpaceOf is the space of all realms and methods of a URL's origin. For a proxy's, whose URL may also be a socks5 one, set Proxy.
func SpaceOf(rawURL string) (ProtectionSpace, error) {
	scheme, rest, _ := strings.Cut(rawURL, ":")
	socks := strings.EqualFold(scheme, "socks5") || strings.EqualFold(scheme, "socks5h")
	checked := rawURL
	if socks {
		checked = "http:" + rest
	}
	if code, why := checkURL(checked); why != "" {
		return ProtectionSpace{}, &Error{Op: "find protection space of", URL: redact(rawURL), Code: code, Err: errors.New(why)}
	}
	u, _ := url.Parse(checked)
	if socks {
		u.Scheme = "socks5"
	}
	return publicSpace(credential.Origin(u)), nil
}

// Set stores c for space, in place of the one that space has of its user. One whose persistence is permanent is in the file,
// durably, once Set has returned nil; on an error nothing has changed. Refused are credentials that are empty, that have a
// Certificate or PersistenceNone, and those that cannot prove anything by the space's method.
func (s *CredentialStorage) Set(ctx context.Context, space ProtectionSpace, c Credential) error {
	return s.set(ctx, space, c, (*credential.Storage).Set)
}

// SetDefault is Set, and makes c what is tried first in space.
func (s *CredentialStorage) SetDefault(ctx context.Context, space ProtectionSpace, c Credential) error {
	return s.set(ctx, space, c, (*credential.Storage).SetDefault)
}

func (s *CredentialStorage) set(ctx context.Context, space ProtectionSpace, c Credential,
	how func(*credential.Storage, context.Context, credential.Space, credential.Credential) error,
) error {
	const op = "store credential for"
	if err := s.refused(op); err != nil {
		return err
	}
	in, why := spaceOf(space)
	if why == "" {
		why = unstorable(space.Method, c)
	}
	if why == "" && s.homeless != nil && c.Persistence == PersistencePermanent {
		return &Error{Op: op, URL: in.String(), Code: ErrCannotCreateFile, Err: s.homeless}
	}
	if why != "" {
		return &Error{Op: op, URL: in.String(), Code: ErrUnknown, Err: errors.New(why)}
	}
	return publicError(op, how(s.storage, ctx, in, credentialOf(c)))
}

// unstorable says why a credential cannot be stored; "": it can.
func unstorable(m AuthMethod, c Credential) string {
	switch {
	case c.Certificate != nil:
		return "it has a Certificate, which is not stored: set Configuration.ClientCertificates, or give it to the challenge"
	case c.User == "" && c.Password == "" && c.Token == "":
		return "the credential is empty"
	case c.Persistence != PersistenceForSession && c.Persistence != PersistencePermanent:
		return "its persistence keeps nothing: choose PersistenceForSession or PersistencePermanent"
	case c.Token != "" && c.Password != "":
		return "it has a token and a password: store two credentials"
	case c.Token != "" && m != "" && m != AuthBearer:
		return fmt.Sprintf("it is a token, and the space's method is %s: that of tokens is %s", m, AuthBearer)
	case strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "its token has a space, or a character that a header field cannot have; is there a line break at its end?"
	case c.Token == "" && m == AuthBearer:
		return fmt.Sprintf("it has no token, and %s proves by one", AuthBearer)
	}
	return ""
}

// Default is the credential that is tried first in space.
func (s *CredentialStorage) Default(space ProtectionSpace) (Credential, bool) {
	in, why := spaceOf(space)
	if s.storage == nil || why != "" {
		return Credential{}, false
	}
	c, ok := s.storage.Default(in)
	return publicCredential(c), ok
}

// Credentials are those that are stored for space, also for all realms or methods of its origin, and fit its method: the
// narrower their space, the earlier.
func (s *CredentialStorage) Credentials(space ProtectionSpace) []Credential {
	in, why := spaceOf(space)
	if s.storage == nil || why != "" {
		return nil
	}
	var list []Credential
	for _, c := range s.storage.Credentials(in) {
		list = append(list, publicCredential(c))
	}
	return list
}

// All is all that is stored, in the order of spaces and users.
func (s *CredentialStorage) All() []StoredCredential {
	if s.storage == nil {
		return nil
	}
	var list []StoredCredential
	for _, c := range s.storage.All() {
		list = append(list, StoredCredential{publicSpace(c.Space), publicCredential(c.Credential), c.Default})
	}
	return list
}

// Remove removes the credential of c's user from exactly this space, or where c has a token the token of that user; from the
// file durably. It is no error where there is none.
func (s *CredentialStorage) Remove(ctx context.Context, space ProtectionSpace, c Credential) error {
	const op = "remove credential for"
	if err := s.refused(op); err != nil {
		return err
	}
	in, why := spaceOf(space)
	if why != "" {
		return &Error{Op: op, URL: in.String(), Code: ErrUnknown, Err: errors.New(why)}
	}
	return publicError(op, s.storage.Remove(ctx, in, credentialOf(c)))
}

// Reset removes all credentials, and the file; its key stays. Where the file cannot be removed, those in memory are gone all
// the same.
func (s *CredentialStorage) Reset(ctx context.Context) error {
	const op = "reset credentials"
	if err := s.refused(op); err != nil {
		return err
	}
	return publicError(op, s.storage.Reset(ctx))
}

// Flush returns when all that is to last is in the file. That what Set has stored is already; what a server has taken is once it was
// taken, unless the file could not be written, or read: then the error says why.
func (s *CredentialStorage) Flush(ctx context.Context) error {
	const op = "write credential file"
	if s.storage == nil {
		return nil
	}
	if s.homeless != nil && slices.ContainsFunc(s.storage.All(), func(c credential.Stored) bool { return c.Credential.Persistence == credential.Permanent }) {
		return &Error{Op: op, Code: ErrCannotCreateFile, Err: s.homeless}
	}
	return publicError(op, s.storage.Flush(ctx))
}

// refused is the error of the one that stands for the daemon's.
func (s *CredentialStorage) refused(op string) error {
	if s.storage != nil {
		return nil
	}
	return &Error{Op: op, Code: ErrUnknown, Err: errors.New("the storage is a background session's, and in the daemon: take that of Session.CredentialStorage")}
}

// CredentialStorage is where the session keeps its credentials; nil: it keeps none. That of a background session is the
// daemon's file, opened by this process too: each sees the other's changes within a second, and what is in the daemon's
// memory, PersistenceForSession, is not seen here.
func (s *Session) CredentialStorage() *CredentialStorage { return s.credentials }
