package urlsession

import "github.com/urlsession/urlsession/internal/credential"

// CredentialStorage keeps credentials by protection space. It may be used by several sessions at once, and from any goroutine.
type CredentialStorage struct{ storage *credential.Storage }
