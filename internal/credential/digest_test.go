package credential

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func offer(t *testing.T, field string) Offer {
	t.Helper()
	offers := ParseOffers([]string{field})
	if len(offers) != 1 || !digestUsable(offers[0]) {
		t.Fatalf("%s is not one that is usable: %+v", field, offers)
	}
	return offers[0]
}

func TestDigestVectors(t *testing.T) {
	const rfc7616 = `Digest realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", algorithm=`
	for _, c := range []struct {
		name, offer, user, password, cnonce, target string
		want                                        []string
	}{
		{"RFC 7616 3.9.1, MD5", rfc7616 + "MD5", "Mufasa", "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html",
			[]string{`response="8ca523f5e9506fed4657c9700eebdbec"`, `username="Mufasa"`, "algorithm=MD5", "qop=auth,", "nc=00000001",
				`opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`, `uri="/dir/index.html"`}},
		{"RFC 7616 3.9.1, SHA-256", rfc7616 + "SHA-256", "Mufasa", "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html",
			[]string{`response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"`, "algorithm=SHA-256"}},
		// The RFC's own values are of another hash than the one that it names: erratum 4897.
		{"RFC 7616 3.9.2", `Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true`,
			"Jäsøn Doe", "Secret, or not?", "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", "/doe.json",
			[]string{`username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"`, "userhash=true",
				`response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"`}},
		{"RFC 2617 3.5", `Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"Mufasa", "Circle Of Life", "0a4f113b", "/dir/index.html", []string{`response="6629fae49393a05397450978507c4ef1"`}},
		{"RFC 2069, as corrected", `Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"Mufasa", "CircleOfLife", "", "/dir/index.html", []string{`response="1949323746fe6a43ef61f9606e7febea"`}},
		{"username*", `Digest realm="r", qop="auth", nonce="n", charset=utf-8`, "Jäsøn Doe", "x", "", "/", []string{"username*=UTF-8''J%C3%A4s%C3%B8n%20Doe,"}},
		{"NFC", `Digest realm="r", qop="auth", nonce="n", charset=utf-8`, "Ja\u0308son", "x", "", "/", []string{"username*=UTF-8''J%C3%A4son,"}},
		{"quotes", `Digest realm="a \"b\" \\c", qop="auth", nonce="n"`, `d"o\e`, "x", "", "/", []string{`realm="a \"b\" \\c"`, `username="d\"o\\e"`}},
	} {
		d := newDigest(offer(t, c.offer), user(c.user, c.password))
		if c.cnonce != "" {
			d.cnonce = c.cnonce
		}
		p, err := d.authorize("GET", c.target, nil)
		must(t, err)
		for _, want := range c.want {
			if !strings.Contains(p.value.Reveal(), want) {
				t.Errorf("%s: %s has no %s", c.name, p.value.Reveal(), want)
			}
		}
	}
}

func TestDigestUsable(t *testing.T) {
	for field, want := range map[string]bool{
		`Digest realm="r", nonce="n"`:                             true,
		`Digest realm="", nonce="n", algorithm=md5-SESS`:          true,
		`Digest realm="r", nonce="n", algorithm=SHA-512-256-sess`: true,
		`Digest realm="r", nonce="n", qop="auth-conf , AUTH-INT"`: true,
		`Digest realm="r", nonce="n", algorithm=SHA-512`:          false, // no registry has it
		`Digest realm="r", nonce="n", algorithm=""`:               false,
		`Digest realm="r", nonce="n", qop="auth-conf"`:            false,
		`Digest realm="r"`: false,
		`Digest nonce="n"`: false,
	} {
		if got := digestUsable(ParseOffers([]string{field})[0]); got != want {
			t.Errorf("%s: %v", field, got)
		}
	}
}

func TestDigestCountsAndGoesOn(t *testing.T) {
	d := newDigest(offer(t, `Digest realm="r", qop="auth", nonce="first", algorithm=MD5-sess`), user("u", "p"))
	nc := func() string {
		t.Helper()
		p, err := d.authorize("GET", "/", nil)
		must(t, err)
		return p.nonce + " " + p.nc
	}
	if a, b := nc(), nc(); a != "first 00000001" || b != "first 00000002" {
		t.Errorf("%s, %s", a, b)
	}
	p, err := d.authorize("GET", "/x", nil)
	must(t, err)
	a1 := d.a1()
	rspauth := d.h(a1, "first", p.nc, d.cnonce, "auth", d.h("", "/x"))
	must(t, d.accepted(p, []string{`nextnonce="second", qop=auth, rspauth="` + strings.ToUpper(rspauth) + `"`}))
	if got := nc(); got != "second 00000001" {
		t.Errorf("after nextnonce: %s", got)
	}
	if d.a1() != a1 {
		t.Error("nextnonce has changed -sess's A1")
	}
	must(t, d.accepted(p, []string{`nextnonce="third"`})) // a late response: the second is newer
	if got := nc(); got != "second 00000002" {
		t.Errorf("after a late nextnonce: %s", got)
	}
	if err := d.accepted(p, []string{`rspauth="` + strings.Repeat("0", 32) + `"`}); !errors.Is(err, errMutual) {
		t.Errorf("a wrong proof: %v", err)
	}
	must(t, d.accepted(p, []string{`garbage`, `x=`, ``}))
}

// pieces is a body that is never in memory as a whole.
type pieces struct {
	left  int
	large int // the largest piece that was asked for
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	p.large = max(p.large, len(b))
	n := min(len(b), p.left)
	clear(b[:n])
	p.left -= n
	return n, nil
}

func (p *pieces) Close() error { return nil }

func TestDigestReadsABodyInPieces(t *testing.T) {
	d := newDigest(offer(t, `Digest realm="r", qop="auth-int", nonce="n"`), user("u", "p"))
	body := &pieces{left: 8 << 20}
	p, err := d.authorize("PUT", "/", func() (io.ReadCloser, error) { return body, nil })
	must(t, err)
	const md5Of8MiBOfZeros = "96995b58d4cbf6aaa9041b4f00c7f6ae"
	want := d.h(d.a1(), "n", "00000001", d.cnonce, "auth-int", d.h("PUT", "/", md5Of8MiBOfZeros))
	if p.response != want {
		t.Errorf("response %s, want %s", p.response, want)
	}
	if body.left != 0 || body.large > 64<<10 {
		t.Errorf("pieces of %d bytes, %d bytes left", body.large, body.left)
	}
	if _, err := d.authorize("PUT", "/", func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body that does not open: %v", err)
	}
}

func TestBasicVectors(t *testing.T) {
	for _, c := range []struct {
		user, password string
		utf8           bool
		want           string
	}{
		{"Aladdin", "open sesame", false, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, // RFC 7617 2
		{"test", "123£", true, "Basic dGVzdDoxMjPCow=="},                        // 2.1
		{"", "p:q", false, "Basic OnA6cQ=="},
		{"a", "u\u0308", true, "Basic YTrDvA=="},
	} {
		got, err := basic(user(c.user, c.password), c.utf8)
		if err != nil || got.Reveal() != c.want {
			t.Errorf("%s: %s, %v", c.user, got.Reveal(), err)
		}
	}
	for _, c := range []Credential{user("a:b", marker), user("a", marker+"\n")} {
		if _, err := basic(c, true); err == nil || strings.Contains(err.Error(), marker) {
			t.Errorf("%s: %v", c.User, err)
		}
	}
	got, err := bearer(Credential{Token: NewSecret("mF_9.B5f-4.1JqM")}) // RFC 6750 2.1
	if err != nil || got.Reveal() != "Bearer mF_9.B5f-4.1JqM" {
		t.Errorf("%s, %v", got.Reveal(), err)
	}
	if _, err := bearer(Credential{Token: NewSecret(marker + "\r\nX: y")}); err == nil || strings.Contains(err.Error(), marker) {
		t.Errorf("a token that ends the field: %v", err)
	}
}
