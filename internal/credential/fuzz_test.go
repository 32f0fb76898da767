package credential

import (
	"encoding/base64"
	"errors"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/seal"
)

// FuzzServer: whatever a server writes into its challenges and its own proof, an exchange ends, sends fields that are
// fields, and sends the password to nobody but by Basic and Bearer.
func FuzzServer(f *testing.F) {
	for _, challenge := range []string{
		`Basic realm="r", charset="UTF-8"`, `Bearer realm="r", error="invalid_token"`, "NTLM", "Negotiate", "NTLM " + credentialtest.NTLMChallenge(),
		`Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o", userhash=true, domain="/a http://h/"`,
		`Digest realm="r", nonce="n", stale=true`, `Digest realm="r", nonce="n", algorithm=MD5-sess, qop=auth`, `Digest nonce=""`,
		"Digest realm=\"\x01\\\"\", nonce=n, qop=auth", "Digest realm=r, nonce=\x7f", "Digest realm=r, nonce=\"\r\n\", qop=auth",
	} {
		f.Add(challenge, `nextnonce="m", qop=auth, rspauth="00", cnonce="c", nc=00000001`)
	}
	f.Add(`Digest realm="r", nonce="n", qop=auth`, `rspauth=`)
	f.Fuzz(func(t *testing.T, challenge, info string) {
		req, err := http.NewRequest("GET", "http://h/a/b?c", nil)
		must(t, err)
		e := NewAuthenticator(New(), Policy{}).Begin(req)
		e.Asks = true
		e.Authorize()
		response := func(status int, name, value string) *http.Response {
			return &http.Response{StatusCode: status, Header: http.Header{name: {value}}, Request: req, Body: http.NoBody}
		}
		step := e.Next(response(http.StatusUnauthorized, "Www-Authenticate", challenge))
		for n := 0; ; n++ {
			if n > 10*maxSends {
				t.Fatal("it does not end")
			}
			switch step.Action {
			case Deliver:
				return
			case Fail:
				if strings.Contains(step.Err.Error(), marker) {
					t.Fatalf("it says %v", step.Err)
				}
				return
			case Ask:
				if step.Challenge.Space.Host != "h" {
					t.Fatalf("it asks of %+v", step.Challenge.Space)
				}
				step = e.Answer(Answer{Use, user("alice", marker)})
			case Send:
				checkSent(t, step)
				if n%3 == 2 { // the server takes it
					step = e.Next(response(http.StatusOK, "Authentication-Info", info))
				} else {
					step = e.Next(response(http.StatusUnauthorized, "Www-Authenticate", challenge))
				}
			default:
				t.Fatalf("step %+v", step)
			}
		}
	})
}

func checkSent(t *testing.T, step Step) {
	t.Helper()
	value := step.Value.Reveal()
	if step.Field != "Authorization" || value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		t.Fatalf("it sends %s: %q", step.Field, value)
	}
	scheme, rest, _ := strings.Cut(value, " ")
	if scheme == "Basic" || scheme == "Bearer" {
		return
	}
	plain, _ := base64.StdEncoding.DecodeString(rest)
	if strings.Contains(value+string(plain), marker) {
		t.Fatalf("it sends the password by %s", scheme)
	}
}

// FuzzFile: a file's records, as they are once they are opened, are read and written without loss, or damaged.
func FuzzFile(f *testing.F) {
	key, err := seal.InFile(filepath.Join(f.TempDir(), "key")).Key(f.Context(), true)
	must(f, err)
	sealer := key.Sealer("credentials")
	f.Add(fileKind+"1 file word", []byte(`[{"space":{"scheme":"https","host":"h","port":443,"realm":"r","method":"Basic"},"user":"dQ==","password":"cA==","default":true}]`))
	f.Add(fileKind+"2 file word", []byte(`[{"space":{},"token":"dA=="},{}]`))
	f.Add(fileKind+"1", []byte(`[{"certificate":"c"}]`))
	f.Add("", []byte("null"))
	f.Fuzz(func(t *testing.T, header string, secret []byte) {
		if err := checkHeader(header); err == nil && (identity{header: header}).holder() == "" {
			t.Errorf("%q is a header, and names no holder", header)
		} else if err != nil && !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Errorf("%q: %v", header, err)
		}
		if _, err := decode(secret, sealer); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("what is not sealed is %v", err)
		}
		sealed, err := sealer.Seal(secret)
		must(t, err)
		kept, err := decode(sealed, sealer)
		if err != nil {
			if !errors.Is(err, seal.ErrDamaged) {
				t.Errorf("%q: %v", secret, err)
			}
			return
		}
		written, err := encode(kept, "file", sealer)
		must(t, err)
		head, rest, _ := strings.Cut(string(written), "\n")
		if err := checkHeader(head); err != nil || (identity{header: head}).holder() != "file" {
			t.Errorf("%q is written: %v", head, err)
		}
		if again, err := decode([]byte(rest), sealer); err != nil || !reflect.DeepEqual(again, kept) {
			t.Errorf("%v: %q is lost", err, secret)
		}
	})
}
