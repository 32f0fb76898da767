package credential

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/credential/credentialtest"
)

func TestNTLMVectors(t *testing.T) {
	first, err := ntlmNegotiate(NTLM)
	must(t, err)
	if !strings.HasPrefix(first.Reveal(), "NTLM TlRMTVNTUAAB") {
		t.Errorf("NEGOTIATE: %s", first.Reveal())
	}
	if !isNTLM(Offer{Token68: credentialtest.NTLMChallenge()}) {
		t.Error("the CHALLENGE is not known as one")
	}
	got, err := ntlmAuthenticate(Negotiate, credentialtest.NTLMChallenge(), user(`Domain\User`, "Password"))
	must(t, err)
	token, ok := strings.CutPrefix(got.Reveal(), "Negotiate ")
	if !ok || !credentialtest.NTLMProves(token) {
		t.Errorf("AUTHENTICATE does not prove it: %s", got.Reveal())
	}
	got, err = ntlmAuthenticate(NTLM, credentialtest.NTLMChallenge(), user(`Domain\User`, "password"))
	must(t, err)
	if credentialtest.NTLMProves(strings.TrimPrefix(got.Reveal(), "NTLM ")) {
		t.Error("a wrong password proves it too")
	}
}

func FuzzNTLMChallenge(f *testing.F) {
	good, _ := base64.StdEncoding.DecodeString(credentialtest.NTLMChallenge())
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
