package credential

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf16"
)

// The values of MS-NLMP 4.2.4: user "User", domain "Domain", password "Password".
const (
	nlmpServerChallenge = "0123456789abcdef"
	nlmpNTOWFv2         = "0c868a403bfd7a93a3001ef22ef02e3f"
	nlmpTargetInfo      = "02000c0044006f006d00610069006e0001000c005300650072007600650072000000000000000000"
)

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

// ntlmChallenge is a CHALLENGE_MESSAGE (MS-NLMP 2.2.1.2) of the server of 4.2.4.
func ntlmChallenge() string {
	target, info := utf16le("Server"), unhex(nlmpTargetInfo)
	b := append([]byte("NTLMSSP\x00"), 2, 0, 0, 0)
	field := func(length, offset int) {
		b = binary.LittleEndian.AppendUint16(b, uint16(length))
		b = binary.LittleEndian.AppendUint16(b, uint16(length))
		b = binary.LittleEndian.AppendUint32(b, uint32(offset))
	}
	field(len(target), 56)
	b = binary.LittleEndian.AppendUint32(b, 0x628a8205&^0x40000000) // Unicode, NTLM, target info, 56 and 128 bits; no key exchange
	b = append(b, unhex(nlmpServerChallenge)...)
	b = append(b, make([]byte, 8)...)
	field(len(info), 56+len(target))
	b = append(b, 6, 0, 0x70, 0x17, 0, 0, 0, 15)
	return base64.StdEncoding.EncodeToString(append(append(b, target...), info...))
}

// ntlmProves reports whether an AUTHENTICATE_MESSAGE (2.2.1.3) proves, by NTLMv2 (3.3.2), that its sender knows the password
// of Domain\User.
func ntlmProves(token string) bool {
	msg, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(msg) < 64 || !bytes.HasPrefix(msg, []byte("NTLMSSP\x00\x03\x00\x00\x00")) {
		return false
	}
	field := func(at int) []byte {
		n, offset := int(binary.LittleEndian.Uint16(msg[at:])), int(binary.LittleEndian.Uint32(msg[at+4:]))
		return msg[offset : offset+n]
	}
	response := field(20)
	if !bytes.Equal(field(28), utf16le("Domain")) || !bytes.Equal(field(36), utf16le("User")) || len(response) < 16 {
		return false
	}
	proof, temp := response[:16], response[16:]
	mac := hmac.New(md5.New, unhex(nlmpNTOWFv2))
	mac.Write(unhex(nlmpServerChallenge))
	mac.Write(temp)
	return bytes.Contains(temp, unhex(nlmpTargetInfo)) && hmac.Equal(proof, mac.Sum(nil))
}

func TestNTLMVectors(t *testing.T) {
	first, err := ntlmNegotiate(NTLM)
	must(t, err)
	if !strings.HasPrefix(first.Reveal(), "NTLM TlRMTVNTUAAB") {
		t.Errorf("NEGOTIATE: %s", first.Reveal())
	}
	if !isNTLM(Offer{Token68: ntlmChallenge()}) {
		t.Error("the CHALLENGE is not known as one")
	}
	got, err := ntlmAuthenticate(Negotiate, ntlmChallenge(), user(`Domain\User`, "Password"))
	must(t, err)
	token, ok := strings.CutPrefix(got.Reveal(), "Negotiate ")
	if !ok || !ntlmProves(token) {
		t.Errorf("AUTHENTICATE does not prove it: %s", got.Reveal())
	}
	got, err = ntlmAuthenticate(NTLM, ntlmChallenge(), user(`Domain\User`, "password"))
	must(t, err)
	if ntlmProves(strings.TrimPrefix(got.Reveal(), "NTLM ")) {
		t.Error("a wrong password proves it too")
	}
}

func FuzzNTLMChallenge(f *testing.F) {
	good, _ := base64.StdEncoding.DecodeString(ntlmChallenge())
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte("NTLMSSP\x00\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, err := ntlmAuthenticate(NTLM, base64.StdEncoding.EncodeToString(msg), user(`Domain\User`, marker))
		if err == nil && got.IsZero() || err != nil && strings.Contains(err.Error(), marker) {
			t.Fatalf("%v, %v", got, err)
		}
	})
}
