package credential

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseOffers(t *testing.T) {
	p := func(pairs ...string) (list []Param) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, Param{pairs[i], pairs[i+1]})
		}
		return list
	}
	for _, c := range []struct {
		name   string
		fields []string
		want   []Offer
	}{
		{"none", nil, nil},
		{"empty", []string{"", " , ,"}, nil},
		{"bare", []string{"NTLM"}, []Offer{{Scheme: "NTLM"}}},
		{"bare ones", []string{"Negotiate, NTLM"}, []Offer{{Scheme: "Negotiate"}, {Scheme: "NTLM"}}},
		{"of RFC 9110 11.6.1", []string{`Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""`},
			[]Offer{{Scheme: "Basic", Params: p("realm", "simple")}, {Scheme: "Newauth", Params: p("realm", "apps", "type", "1", "title", `Login to "apps"`)}}},
		{"its other order", []string{`Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple"`},
			[]Offer{{Scheme: "Newauth", Params: p("realm", "apps", "type", "1", "title", `Login to "apps"`)}, {Scheme: "Basic", Params: p("realm", "simple")}}},
		{"several fields", []string{`Digest realm="a", qop="auth, auth-int"`, "Basic realm=b"},
			[]Offer{{Scheme: "Digest", Params: p("realm", "a", "qop", "auth, auth-int")}, {Scheme: "Basic", Params: p("realm", "b")}}},
		{"token68", []string{"NTLM TlRMTVNTUAACAAAA==, Basic realm=x"},
			[]Offer{{Scheme: "NTLM", Token68: "TlRMTVNTUAACAAAA=="}, {Scheme: "Basic", Params: p("realm", "x")}}},
		{"token68 without padding", []string{"Negotiate abc"}, []Offer{{Scheme: "Negotiate", Token68: "abc"}}},
		{"spaces about =", []string{"Basic realm \t= \"x\" ,charset = UTF-8"}, []Offer{{Scheme: "Basic", Params: p("realm", "x", "charset", "UTF-8")}}},
		{"a scheme in quotes", []string{`Basic realm="a, Digest realm=b"`}, []Offer{{Scheme: "Basic", Params: p("realm", "a, Digest realm=b")}}},
		{"empty list elements", []string{`,, Basic ,realm="x",, foo=1`}, []Offer{{Scheme: "Basic", Params: p("realm", "x", "foo", "1")}}},
		{"empty value", []string{`Basic realm=""`}, []Offer{{Scheme: "Basic", Params: p("realm", "")}}},
		{"unquoted URI", []string{`Digest domain=/a/b, realm=x`}, []Offer{{Scheme: "Digest", Params: p("domain", "/a/b", "realm", "x")}}},
		{"never closed", []string{`Basic realm="x`, "NTLM"}, []Offer{{Scheme: "NTLM"}}},
		{"ill then well", []string{`"foo", Basic realm=x, @@, NTLM`}, []Offer{{Scheme: "NTLM"}}},
		{"a forgotten comma", []string{`Digest realm="x" nonce="y", Basic realm=z`}, []Offer{{Scheme: "Basic", Params: p("realm", "z")}}},
		{"a parameter of nothing", []string{`realm="x", Basic realm=y`}, []Offer{{Scheme: "Basic", Params: p("realm", "y")}}},
	} {
		if got := ParseOffers(c.fields); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v\nwant %+v", c.name, got, c.want)
		}
	}
	o := ParseOffers([]string{`basic REALM=x, realm=y`})[0]
	if methodOf(o.Scheme) != Basic || o.Param("Realm") != "x" {
		t.Errorf("case matters: %+v", o)
	}
	if n := len(ParseOffers([]string{strings.Repeat("NTLM,", 100), "A", "B"})); n != maxOffers {
		t.Errorf("%d offers", n)
	}
	if got := ParseOffers([]string{"Basic " + strings.Repeat("a=b,", 1000)}); len(got) != 0 {
		t.Errorf("%d parameters", len(got[0].Params))
	}
}

func FuzzParseOffers(f *testing.F) {
	for _, s := range []string{`Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""`, "NTLM TlRMTVNTUAACAAAA==, A b=c",
		`Digest realm="a\`, ",,=,\"", "a =b", "A a=,b", "Basic a b c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		offers := ParseOffers([]string{field})
		if len(offers) > maxOffers {
			t.Fatalf("%d offers", len(offers))
		}
		var b strings.Builder
		for i, o := range offers {
			if strings.ContainsFunc(o.Scheme, func(r rune) bool { return r > 0x7f || !isTokenByte(byte(r)) }) || o.Scheme == "" {
				t.Fatalf("scheme %q", o.Scheme)
			}
			if o.Token68 != "" && o.Params != nil || len(o.Params) > maxParams {
				t.Fatalf("%+v", o)
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(o.Scheme + " " + o.Token68)
			for j, p := range o.Params {
				if j > 0 {
					b.WriteString(", ")
				}
				b.WriteString(p.Name + "=" + quote(p.Value))
			}
		}
		if again := ParseOffers([]string{b.String()}); !reflect.DeepEqual(again, offers) {
			t.Fatalf("%q\nbecame %+v\nwritten %q\nbecame %+v", field, offers, b.String(), again)
		}
	})
}

func TestReadableRealms(t *testing.T) {
	for realm, want := range map[string]string{
		"":                            "",
		"café":                        "café",
		"caf\xe9":                     "café",
		strings.Repeat("r", 1<<20):    strings.Repeat("r", maxRealm-3),
		strings.Repeat("é", maxRealm): strings.Repeat("é", (maxRealm-2)/2),
		strings.Repeat("\xe9", 1<<20): strings.Repeat("é", (maxRealm-2)/2),
	} {
		if got := readable(realm); got != want {
			t.Errorf("%.10q… of %d bytes: %.10q… of %d, want %d", realm, len(realm), got, len(got), len(want))
		}
	}
}
