package urlsession

import (
	"context"
	"fmt"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/credential"
)

// authenticator proves to servers who asks, by what the configuration has. That of a background session is its RoundTripper's
// alone: its storage is the daemon's.
func (c *Configuration) authenticator() (*credential.Authenticator, error) {
	netrc, err := c.netrc()
	if err != nil {
		return nil, err
	}
	p := credential.Policy{Netrc: netrc}
	if refresh := c.OnTokenRefresh; refresh != nil {
		p.Refresh = func(ctx context.Context, space credential.Space, refused credential.Credential) (credential.Credential, error) {
			fresh, err := refresh(ctx, publicSpace(space), publicCredential(refused))
			return credentialOf(fresh), err
		}
	}
	return credential.NewAuthenticator(c.credentials(), p), nil
}

// credentials is the storage that this process asks; nil: there is none.
func (c *Configuration) credentials() *credential.Storage {
	if c.CredentialStorage == nil {
		return nil
	}
	return c.CredentialStorage.storage
}

// keep stores a credential that a server has taken; nil: nothing is stored.
func (c *Configuration) keep() func(context.Context, credential.Stored) error {
	storage := c.credentials()
	if storage == nil {
		return nil
	}
	return storage.Keep
}

// netrc reads Netrc; nil: there is none.
func (c *Configuration) netrc() (*credential.Netrc, error) {
	if c.Netrc == "" {
		return nil, nil
	}
	n, _, err := credential.ReadNetrc(c.Netrc) // that others can read it is the user's business
	if err != nil {
		return nil, publicError("new session", err) // it names file and line, and cites nothing
	}
	if size := len(n.Text().Reveal()); c.kind == kindBackground && size > control.MaxNetrc {
		return nil, badField("Netrc", fmt.Sprintf("has %d bytes, and goes to the daemon, which takes %d; name a file with the hosts that the session needs", size, control.MaxNetrc))
	}
	return n, nil
}
