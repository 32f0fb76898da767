package urlsession

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
)

// AuthMethod is how a server, or a proxy, wants to be shown who asks, or shows who it is: the authenticationMethod of an
// NSURLProtectionSpace.
type AuthMethod string

// The methods. The first five are schemes of HTTP.
const (
	AuthBasic     AuthMethod = "Basic"
	AuthDigest    AuthMethod = "Digest"
	AuthBearer    AuthMethod = "Bearer"
	AuthNTLM      AuthMethod = "NTLM"
	AuthNegotiate AuthMethod = "Negotiate" // with NTLM's messages; of Kerberos nothing is known
	// AuthServerTrust asks whether a server is who it says, by the certificates of Challenge.Chain.
	AuthServerTrust AuthMethod = "ServerTrust"
	// AuthClientCertificate asks for a certificate by which TLS shows who asks.
	AuthClientCertificate AuthMethod = "ClientCertificate"
)

// ProtectionSpace is where one credential holds (RFC 9110 §11.5). A credential never leaves its origin, or its proxy.
type ProtectionSpace struct {
	Proxy  bool   // the server is a proxy
	Scheme string // http, https; of a proxy also socks5
	Host   string // in lower case; names beyond ASCII as xn--…, an IPv6 address without brackets
	Port   int
	Realm  string     // as the server names it; as the place of a stored credential, empty is all realms
	Method AuthMethod // as the place of a stored credential, empty is all of HTTP's
}

// Persistence says how long a credential is kept, once the server has taken it.
type Persistence int

const (
	// PersistenceNone is for the one task.
	PersistenceNone Persistence = iota
	// PersistenceForSession is in memory, until the process ends; of a background session the daemon's.
	PersistenceForSession
	// PersistencePermanent is in the storage's file; in one without a file, as PersistenceForSession.
	PersistencePermanent
)

// Credential says who somebody is, and proves it: a user and password, a token, or a client certificate. Printed in whatever
// way, it shows the user alone.
type Credential struct {
	User     string // for NTLM also DOMAIN\user
	Password string
	Token    string // of AuthBearer
	// Certificate answers AuthClientCertificate; it is not stored.
	Certificate *tls.Certificate
	Persistence Persistence
}

// Format hides the secrets from every verb.
func (c Credential) Format(w fmt.State, _ rune) {
	what := "user and password"
	switch {
	case c.Certificate != nil:
		what = "certificate"
	case c.Token != "":
		what = "token"
	}
	fmt.Fprintf(w, "credential (%s) of %q", what, c.User)
}

// MarshalJSON shows the user alone: what is to be kept is kept by a CredentialStorage.
func (c Credential) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"user": c.User})
}

// Challenge is what Configuration.OnChallenge answers.
type Challenge struct {
	// Space says who asks, for what, and how.
	Space ProtectionSpace
	// ProposedUser is whose credential would be tried without an answer (UseDefaultHandling), or was refused last; mostly
	// empty.
	ProposedUser string
	// PreviousFailures counts the credentials that the server has refused in this space, for this request.
	PreviousFailures int
	// Err is why the last one was refused, and of AuthServerTrust what is wrong with the server's certificate; nil: nothing.
	// Its text holds no secret.
	Err error
	// Chain is what a server presents, of AuthServerTrust; the leaf comes first.
	Chain []*x509.Certificate
	// Certificate is what a server asks for, of AuthClientCertificate: its authorities, among others.
	Certificate *tls.CertificateRequestInfo
	// Ticket is what Task.Answer names the challenge by; empty where only the function can answer.
	Ticket string
}

// ChallengeDisposition says what is done at a challenge: NSURLSession.AuthChallengeDisposition.
type ChallengeDisposition int

const (
	// UseDefaultHandling goes on as if nobody had been asked: with the credential of ProposedUser if it was not tried yet, else
	// the server's refusal is the response. A server's certificate is trusted where nothing is wrong with it.
	UseDefaultHandling ChallengeDisposition = iota
	// UseCredential tries ChallengeAnswer.Credential. At AuthServerTrust it trusts the server, whatever Challenge.Err says.
	UseCredential
	// CancelChallenge ends the task with ErrUserCancelledAuth.
	CancelChallenge
	// RejectProtectionSpace goes on with the next method or realm that the server offers; after the last, its refusal is the
	// response. At AuthServerTrust it does not trust the server (ErrCertificateUntrusted).
	RejectProtectionSpace
	// AnswerLater leaves the question open, until Task.Answer, of this process or another, or `urlsession task answer`. Where no
	// task asks, it is UseDefaultHandling.
	AnswerLater
)

// ChallengeAnswer answers a Challenge. The zero value is UseDefaultHandling.
type ChallengeAnswer struct {
	Disposition ChallengeDisposition
	Credential  Credential // of UseCredential
}

// ChallengeFunc is the type of Configuration.OnChallenge.
type ChallengeFunc func(ctx context.Context, t *Task, c Challenge) ChallengeAnswer
