package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// tokenVariable is the environment variable that credential set --token takes its token from.
const tokenVariable = "URLSESSION_TOKEN"

func newCredential() *cobra.Command {
	cmd := group("credential", "Store, list and remove the credentials that servers and proxies are answered by", "set, list or remove")
	cmd.Long = `Store, list and remove the credentials that servers and proxies are answered by.

They are those of transfers without --session, in an encrypted file; with --session ID those of a background session, which
the daemon keeps. An app's own are those of its --application.`
	cmd.AddCommand(newCredentialSet(), newCredentialList(), newCredentialRemove())
	return cmd
}

// credentialFlags say which storage is meant, and which credentials of it.
type credentialFlags struct {
	application, session string

	user, realm, method string
	token, proxy        bool
}

// registerStorage adds the flags that every one of the commands has.
func (f *credentialFlags) registerStorage(cmd *cobra.Command) {
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVar(&f.application, "application", application, "those of the default sessions of the application `NAME`")
	p.StringVar(&f.session, "session", "", "those of the background session `ID`")
	cmd.MarkFlagsMutuallyExclusive("application", "session")
}

// registerSpace adds the flags that name a credential.
func (f *credentialFlags) registerSpace(cmd *cobra.Command, user, token string) {
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVar(&f.user, "user", "", user)
	p.BoolVar(&f.token, "token", false, token)
	p.StringVar(&f.realm, "realm", "", "for the `REALM` that the server names alone; default: all")
	p.StringVar(&f.method, "method", "", "for one `METHOD` alone: Basic, Digest, Bearer, NTLM, Negotiate; default: all")
	p.BoolVar(&f.proxy, "proxy", false, "the URL is a proxy's")
}

// methods are those of --method.
var methods = []urlsession.AuthMethod{
	urlsession.AuthBasic, urlsession.AuthDigest, urlsession.AuthBearer, urlsession.AuthNTLM, urlsession.AuthNegotiate,
}

// space is where the credential of a URL is.
func (f *credentialFlags) space(rawURL string) (urlsession.ProtectionSpace, error) {
	s, err := urlsession.SpaceOf(rawURL)
	if err != nil {
		return s, usageError{err}
	}
	s.Proxy, s.Realm = f.proxy, f.realm
	if f.method == "" {
		return s, nil
	}
	i := slices.IndexFunc(methods, func(m urlsession.AuthMethod) bool { return strings.EqualFold(string(m), f.method) })
	if i < 0 {
		return s, usagef("--method %s: it is Basic, Digest, Bearer, NTLM or Negotiate", f.method)
	}
	s.Method = methods[i]
	return s, nil
}

// with does something with the storage that is meant.
func (f *credentialFlags) with(cmd *cobra.Command, do func(context.Context, *urlsession.CredentialStorage) error) error {
	if err := named(cmd, "application", "session"); err != nil {
		return err
	}
	if f.session != "" {
		return withSession(cmd, f.session, func(ctx context.Context, s *urlsession.Session) error { return do(ctx, s.CredentialStorage()) })
	}
	storage, err := urlsession.ApplicationCredentialStorage(f.application)
	if err != nil {
		return usageError{err}
	}
	ctx, done := interruptible()
	defer done()
	err = do(ctx, storage)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func newCredentialSet() *cobra.Command {
	var f credentialFlags
	var isDefault bool
	cmd := &cobra.Command{
		Use:   "set URL --user NAME | --token",
		Short: "Store a credential for a URL's origin, in place of the one that the user has there",
		Long: `Store a credential for a URL's origin, in place of the one that the user has there.

The password is asked for without echo, or taken from $` + passwordVariable + `, a token from $` + tokenVariable + `. The credential is sent to
this origin alone, when the server asks for one; its path counts for nothing.`,
		Example: `  urlsession credential set https://example.com/ --user me
  urlsession credential set https://api.example.com/ --token
  urlsession credential set http://proxy.example.com:3128/ --proxy --user me`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseSecretArguments(cmd.Flags(), args); err != nil {
				return err
			}
			space, err := f.space(args[0])
			if err != nil {
				return err
			}
			c, err := f.credential(originOf(space))
			if err != nil {
				return err
			}
			return f.with(cmd, func(ctx context.Context, s *urlsession.CredentialStorage) error {
				if isDefault {
					return s.SetDefault(ctx, space, c)
				}
				err := s.Set(ctx, space, c)
				if err == nil && !oneIsFirst(s, space, c) {
					fmt.Fprintf(cmd.ErrOrStderr(), "urlsession: several are stored there for %s, and none is the default, so that none of them is tried: choose one by --default\n", originOf(space))
				}
				return err
			})
		},
	}
	f.registerSpace(cmd, "the `NAME` of the user; for NTLM also DOMAIN\\user", "store a bearer token; with --user one of several")
	cmd.Flags().BoolVar(&isDefault, "default", false, "try it first, where several are stored")
	f.registerStorage(cmd)
	return cmd
}

// oneIsFirst says whether there is one that is tried first in a space: the default, or the only one that proves as c does.
func oneIsFirst(s *urlsession.CredentialStorage, space urlsession.ProtectionSpace, c urlsession.Credential) bool {
	n := 0
	for _, other := range s.All() {
		if other.Space == space && kindOf(other.Credential) == kindOf(c) {
			if other.Default {
				return true
			}
			n++
		}
	}
	return n == 1
}

// credential asks for what is to be stored.
func (f *credentialFlags) credential(where string) (c urlsession.Credential, err error) {
	c = urlsession.Credential{User: f.user, Persistence: urlsession.PersistencePermanent}
	switch {
	case f.token:
		c.Token, err = askSecret(tokenVariable, "--token", "a token", "Token for "+where)
	case f.user == "":
		return c, usagef("whose is it? give --user NAME, or --token")
	case strings.Contains(f.user, ":"):
		return c, usagef("--user takes a name alone, since ps shows arguments: set %s, or be asked for the password", passwordVariable)
	default:
		c.Password, err = askSecret(passwordVariable, "--user "+oneLine(f.user), "a password", fmt.Sprintf("Password for %s at %s", oneLine(f.user), where))
	}
	return c, err
}

func newCredentialList() *cobra.Command {
	var f credentialFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [URL]",
		Short: "List what is stored, without passwords and tokens",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseSecretArguments(cmd.Flags(), args); err != nil {
				return err
			}
			where := ""
			if len(args) > 0 {
				space, err := f.space(args[0])
				if err != nil {
					return err
				}
				where = originOf(space)
			}
			return f.with(cmd, func(ctx context.Context, s *urlsession.CredentialStorage) error {
				all, err := stored(ctx, s)
				if err != nil {
					return err
				}
				all = slices.DeleteFunc(all, func(c urlsession.StoredCredential) bool { return where != "" && originOf(c.Space) != where })
				return printCredentials(cmd, all, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	f.registerStorage(cmd)
	return cmd
}

// stored is all of a storage, or why it cannot be read.
func stored(ctx context.Context, s *urlsession.CredentialStorage) ([]urlsession.StoredCredential, error) {
	all := s.All()
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	return all, nil
}

func printCredentials(cmd *cobra.Command, all []urlsession.StoredCredential, asJSON bool) error {
	out := cmd.OutOrStdout()
	t := newTable(out, "ORIGIN", "PROXY", "REALM", "METHOD", "USER", "KIND", "DEFAULT")
	for _, c := range all {
		var err error
		if asJSON {
			err = writeError(writeJSON(out, struct {
				URL     string                `json:"url"`
				Proxy   bool                  `json:"proxy,omitempty"`
				Realm   string                `json:"realm,omitempty"`
				Method  urlsession.AuthMethod `json:"method,omitempty"`
				User    string                `json:"user,omitempty"`
				Kind    string                `json:"kind"`
				Default bool                  `json:"default,omitempty"`
			}{originOf(c.Space), c.Space.Proxy, c.Space.Realm, c.Space.Method, c.Credential.User, kindOf(c.Credential), c.Default}))
		} else {
			err = t.add(originOf(c.Space), yes(c.Space.Proxy), orAll(c.Space.Realm), orAll(string(c.Space.Method)), c.Credential.User,
				kindOf(c.Credential), yes(c.Default))
		}
		if err != nil {
			return err
		}
	}
	if asJSON {
		return nil
	}
	return t.flush()
}

func newCredentialRemove() *cobra.Command {
	var f credentialFlags
	cmd := &cobra.Command{
		Use:   "remove URL",
		Short: "Remove the credentials of a URL's origin, or those of them that --user, --token, --realm and --method choose",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseSecretArguments(cmd.Flags(), args); err != nil {
				return err
			}
			space, err := f.space(args[0])
			if err != nil {
				return err
			}
			given := cmd.Flags().Changed
			return f.with(cmd, func(ctx context.Context, s *urlsession.CredentialStorage) error {
				all, err := stored(ctx, s)
				if err != nil {
					return err
				}
				removed := 0
				for _, c := range all {
					switch {
					case c.Space.Proxy != space.Proxy || originOf(c.Space) != originOf(space),
						given("user") && c.Credential.User != f.user, given("token") && (c.Credential.Token != "") != f.token,
						given("realm") && c.Space.Realm != f.realm, given("method") && c.Space.Method != space.Method:
						continue
					}
					if err := s.Remove(ctx, c.Space, c.Credential); err != nil {
						return err
					}
					removed++
				}
				if removed == 0 {
					return failedf("%s: no such credential is stored", originOf(space))
				}
				return nil
			})
		},
	}
	f.registerSpace(cmd, "that of the user `NAME` alone", "tokens alone")
	f.registerStorage(cmd)
	return cmd
}

// originOf is a space's origin as a URL.
func originOf(s urlsession.ProtectionSpace) string {
	return origin(&url.URL{Scheme: s.Scheme, Host: net.JoinHostPort(s.Host, strconv.Itoa(s.Port))})
}

func kindOf(c urlsession.Credential) string {
	if c.Token != "" {
		return "token"
	}
	return "password"
}

// orAll is what stands for an empty realm or method.
func orAll(s string) string {
	if s == "" {
		return "(all)"
	}
	return s
}
