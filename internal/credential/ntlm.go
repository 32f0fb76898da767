package credential

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/Azure/go-ntlmssp"
)

// NTLM proves who a connection is, not a request (MS-NTHT): over one connection of HTTP/1.1 go
//
//	request, NEGOTIATE  ─▶  401, CHALLENGE  ─▶  request, AUTHENTICATE  ─▶  the response
//
// and what is sent over that connection later is the user's too, until it is closed. Negotiate (RFC 4559) carries the same
// messages, as they are, where its server takes NTLM; of Kerberos nothing is known here.

// ntlmNegotiate is the value that begins.
func ntlmNegotiate(m Method) (Secret, error) {
	msg, err := ntlmssp.NewNegotiateMessage("", "") // the machine's name is nobody's business
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(string(m) + " " + base64.StdEncoding.EncodeToString(msg)), nil
}

// ntlmAuthenticate is the value that answers the server's CHALLENGE, in base64.
func ntlmAuthenticate(m Method, challenge string, c Credential) (Secret, error) {
	raw, err := base64.StdEncoding.DecodeString(challenge)
	if err != nil {
		return Secret{}, errors.New("the server's NTLM message is not base64")
	}
	msg, err := ntlmssp.NewAuthenticateMessage(raw, c.User, c.Password.Reveal(), nil)
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(string(m) + " " + base64.StdEncoding.EncodeToString(msg)), nil
}

// isNTLM reports whether an Offer carries a message of NTLM's, rather than one of SPNEGO or Kerberos.
func isNTLM(o Offer) bool { return strings.HasPrefix(o.Token68, "TlRMTVNTUA") } // "NTLMSSP\0" in base64
