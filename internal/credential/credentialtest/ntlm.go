package credentialtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
	"sync"
	"unicode/utf16"
)

// The user that NTLM wants, and its password: that of MS-NLMP 4.2.4, whose values the server has.
const (
	NTLMUser     = `Domain\User`
	NTLMPassword = "Password"

	serverChallenge = "0123456789abcdef"
	ntowfv2         = "0c868a403bfd7a93a3001ef22ef02e3f"
	targetInfo      = "02000c0044006f006d00610069006e0001000c005300650072007600650072000000000000000000"
)

// NTLM wants a connection to prove NTLMUser (MS-NTHT), by "NTLM" or by "Negotiate" with NTLM's messages. What comes by a
// connection that has is let through.
func NTLM(scheme string) Gate {
	return func(r *http.Request, value string) (string, bool) {
		c := r.Context().Value(connKey{}).(*connection)
		c.mu.Lock()
		defer c.mu.Unlock()
		token, _ := strings.CutPrefix(value, scheme+" ")
		challenged := c.challenged
		c.challenged = false
		switch {
		case strings.HasPrefix(token, "TlRMTVNTUAAB"):
			c.challenged, c.proven = true, false
			return scheme + " " + NTLMChallenge(), false
		case token != "":
			c.proven = challenged && NTLMProves(token)
		}
		return scheme, c.proven
	}
}

type connKey struct{}

// connection is what NTLM knows of one.
type connection struct {
	mu                 sync.Mutex
	challenged, proven bool
}

func connContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, &connection{})
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// NTLMChallenge is a CHALLENGE_MESSAGE (MS-NLMP 2.2.1.2) in base64.
func NTLMChallenge() string {
	target, info := utf16le("Server"), unhex(targetInfo)
	b := append([]byte("NTLMSSP\x00"), 2, 0, 0, 0)
	field := func(length, offset int) {
		b = binary.LittleEndian.AppendUint16(b, uint16(length))
		b = binary.LittleEndian.AppendUint16(b, uint16(length))
		b = binary.LittleEndian.AppendUint32(b, uint32(offset))
	}
	field(len(target), 56)
	b = binary.LittleEndian.AppendUint32(b, 0x628a8205&^0x40000000) // Unicode, NTLM, target info, 56 and 128 bits; no key exchange
	b = append(b, unhex(serverChallenge)...)
	b = append(b, make([]byte, 8)...)
	field(len(info), 56+len(target))
	b = append(b, 6, 0, 0x70, 0x17, 0, 0, 0, 15)
	return base64.StdEncoding.EncodeToString(append(append(b, target...), info...))
}

// NTLMProves reports whether an AUTHENTICATE_MESSAGE (2.2.1.3) in base64 proves, by NTLMv2 (3.3.2), that its sender knows the
// password.
func NTLMProves(token string) bool {
	msg, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(msg) < 64 || !bytes.HasPrefix(msg, []byte("NTLMSSP\x00\x03\x00\x00\x00")) {
		return false
	}
	field := func(at int) []byte {
		n, offset := int(binary.LittleEndian.Uint16(msg[at:])), int(binary.LittleEndian.Uint32(msg[at+4:]))
		if offset+n > len(msg) {
			return nil
		}
		return msg[offset : offset+n]
	}
	response := field(20)
	if !bytes.Equal(field(28), utf16le("Domain")) || !bytes.Equal(field(36), utf16le("User")) || len(response) < 16 {
		return false
	}
	proof, temp := response[:16], response[16:]
	mac := hmac.New(md5.New, unhex(ntowfv2))
	mac.Write(unhex(serverChallenge))
	mac.Write(temp)
	return hmac.Equal(proof, mac.Sum(nil))
}
