package credential

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// Nothing shows a secret, however it is printed: neither what is exported nor what is inside.
func TestNothingShows(t *testing.T) {
	secret := user("u", marker)
	token := Credential{Token: NewSecret(marker), Persistence: Permanent}
	s := openStorage(t, filepath.Join(t.TempDir(), "credentials"), nil)
	must(t, s.Set(t.Context(), space("h", "r", Digest), secret))
	must(t, s.Set(t.Context(), space("h", "r", Bearer), token))
	netrc, err := ParseNetrc("machine h login u password " + marker)
	must(t, err)
	a := NewAuthenticator(s, Policy{Netrc: netrc})
	x := a.Begin(httptest.NewRequest("GET", "https://h/", nil))
	respond := func(x *Exchange, field string) Step {
		return x.Next(&http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {field}}})
	}
	step := respond(x, `Digest realm="r", nonce="n", qop=auth`)
	if step.Action != Send {
		t.Fatalf("%+v", step)
	}
	d := x.sent.digest
	x.Next(&http.Response{StatusCode: 200})
	y := a.Begin(httptest.NewRequest("GET", "https://u:"+marker+"@h/", nil))
	y.Asks = true
	basicStep := respond(y, `Basic realm="q"`)
	asked := respond(y, `Basic realm="q"`)
	failed := y.Answer(Answer{Disposition: Use, Credential: token})
	if asked.Action != Ask || failed.Action != Fail || basicStep.Action != Send {
		t.Fatalf("%v, %v, %v", basicStep, asked, failed)
	}
	z := a.Begin(httptest.NewRequest("GET", "https://"+marker+"@h/", nil)) // a token in place of a user
	z.Asks = true
	if z.Authorize().IsZero() {
		t.Fatal("userinfo is not sent")
	}
	askedOfToken := respond(z, `Basic realm="q"`)
	stored := s.All()
	answer := Answer{Disposition: Use, Credential: secret}

	hidden := []string{marker, base64.StdEncoding.EncodeToString([]byte("u:" + marker)), fmt.Sprintf("%x", marker), d.a1(), fmt.Sprint([]byte(marker))}
	check := func(how string, v any, got string) {
		t.Helper()
		for _, h := range hidden {
			if strings.Contains(got, h) {
				t.Errorf("%s of %T shows a secret: %.300s", how, v, got)
			}
		}
	}
	type in struct{ v any }
	for _, v := range []any{
		secret.Password, &secret.Password, secret, token, &token, stored, s, s.file, s.kept, netrc, a, x, y, d, d.user, step, &step, basicStep, asked,
		askedOfToken, askedOfToken.Challenge, z, in{z}, asked.Challenge.Err, asked.Challenge, failed, failed.Err, answer, in{x}, in{secret}, map[string]Secret{"a": secret.Password}, a.known, y.tried[0], *y.tried[0], *netrc, errors.Join(failed.Err),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
			check(verb, v, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			check("JSON", v, string(b))
		}
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		check("slog", v, log.String())
	}
	if got := fmt.Sprintf("%v", secret); got != "{u REDACTED   permanent}" {
		t.Errorf("it shows %s", got)
	}
	b, err := json.Marshal(asked.Challenge)
	must(t, err)
	if got := string(b); !strings.Contains(got, `"realm":"q"`) || strings.Contains(got, "proposed") {
		t.Errorf("a challenge as JSON: %s", got)
	}
}
