package credential

import (
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// basic is the value of Authorization by RFC 7617. User and password are sent as UTF-8, the one encoding that a server can
// name; where it does name it (charset), in NFC.
func basic(c Credential, utf8 bool) (Secret, error) {
	user, password := c.User, c.Password.Reveal()
	if utf8 {
		user, password = norm.NFC.String(user), norm.NFC.String(password)
	}
	switch {
	case strings.Contains(user, ":"):
		return Secret{}, errors.New("a user's name with a colon cannot be sent by Basic")
	case strings.ContainsFunc(user+password, isControl):
		return Secret{}, errors.New("control characters cannot be sent by Basic")
	}
	return NewSecret("Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))), nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// wantsUTF8 reports whether a server has named the encoding; UTF-8 is the only one that it can.
func wantsUTF8(o Offer) bool { return strings.EqualFold(o.Param("charset"), "UTF-8") }

// bearer is the value of Authorization by RFC 6750 §2.1.
func bearer(c Credential) (Secret, error) {
	token := c.Token.Reveal()
	// A token of another alphabet than b64token's is sent as it is, as long as it cannot end the field.
	if strings.ContainsFunc(token, func(r rune) bool { return isControl(r) || r == ' ' || r > '~' }) {
		return Secret{}, errors.New("the token has characters that a header field cannot have")
	}
	return NewSecret("Bearer " + token), nil
}
