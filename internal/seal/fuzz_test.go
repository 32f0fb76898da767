package seal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzOpen: nothing opens but what was sealed, and for its purpose.
func FuzzOpen(f *testing.F) {
	key, err := parseKey(strings.Repeat("5a", keySize))
	if err != nil {
		f.Fatal(err)
	}
	sealer, other := key.Sealer("purpose"), key.Sealer("other")
	whole, _ := sealer.Seal([]byte("secret"))
	f.Add(whole, 3)
	f.Add(whole[:len(whole)-1], 0)
	f.Add([]byte{version}, 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		if secret, err := other.Open(data); err == nil || secret != nil {
			t.Fatalf("it opens as %q", secret)
		}
		sealed, err := sealer.Seal(data)
		if err != nil {
			t.Fatal(err)
		}
		if secret, err := sealer.Open(sealed); err != nil || !bytes.Equal(secret, data) {
			t.Fatalf("%q became %q, %v", data, secret, err)
		}
		at = max(at, 0) % len(sealed)
		sealed[at] ^= 1
		if secret, err := sealer.Open(sealed); !errors.Is(err, ErrDamaged) {
			t.Fatalf("with another byte %d it opens as %q, %v", at, secret, err)
		}
	})
}

// FuzzKey: a file of a key is one, or is refused and not cited.
func FuzzKey(f *testing.F) {
	f.Add(generate())
	f.Add("\xef\xbb\xbf" + generate())
	f.Add(strings.Repeat("5A", keySize) + "\r\n\n")
	f.Add(strings.Repeat("5a", keySize-1))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseKey(text)
		if err != nil && err != ErrKey || (err == nil) != (key != nil) {
			t.Fatalf("%v, %v", key, err)
		}
		if digits := strings.TrimSpace(text); err == nil && len(digits) != 2*keySize {
			t.Fatalf("a key of %d digits", len(digits))
		}
	})
}
