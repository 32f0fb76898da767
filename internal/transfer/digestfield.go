package transfer

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// An expectation is a digest that a download must have.
type expectation struct {
	algorithm *algorithm
	sum       []byte
	source    string // who says so, for an error: "Repr-Digest", "the task", "SHA256SUMS"
}

// parseDigest reads a digest as a user gives it: "sha-256=HEX", "sha-512=HEX" or "md5=HEX".
func parseDigest(s string) (expectation, error) {
	name, value, ok := strings.Cut(s, "=")
	a := algorithmNamed(name)
	if !ok || a == nil {
		return expectation{}, fmt.Errorf("digest %q: not sha-256=HEX, sha-512=HEX or md5=HEX", s)
	}
	sum, err := hex.DecodeString(strings.TrimSpace(value))
	if err != nil || len(sum) != a.size {
		return expectation{}, fmt.Errorf("digest %q: %s takes %d hexadecimal digits", s, a.name, 2*a.size)
	}
	return expectation{a, sum, "the task"}, nil
}

// representationDigests are those of the stored bytes, whichever message brings them: Repr-Digest (RFC 9530 §3) and its
// predecessor Digest (RFC 3230).
func representationDigests(h http.Header) []expectation {
	list := structuredDigests(h, "Repr-Digest")
	return append(list, legacyDigests(h)...)
}

// messageDigests are those of one message's content, which is the whole file in a 200 only: Content-Digest (RFC 9530
// §2) and its predecessor Content-MD5 (RFC 1864).
func messageDigests(h http.Header) []expectation {
	list := structuredDigests(h, "Content-Digest")
	if v := h.Get("Content-Md5"); v != "" {
		list = appendDigest(list, "Content-MD5", "md5", v)
	}
	return list
}

// structuredDigests reads a dictionary of byte sequences (RFC 9651). A malformed field, an unknown algorithm and a value
// of the wrong length say nothing (RFC 9530 §2).
func structuredDigests(h http.Header, field string) []expectation {
	values := h.Values(field)
	if len(values) == 0 {
		return nil
	}
	dictionary, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return nil
	}
	var list []expectation
	for _, name := range dictionary.Names() {
		a := algorithmNamed(name)
		member, _ := dictionary.Get(name)
		item, ok := member.(httpsfv.Item)
		if !ok || a == nil {
			continue
		}
		if sum, ok := item.Value.([]byte); ok && len(sum) == a.size {
			list = append(list, expectation{a, sum, field})
		}
	}
	return list
}

// legacyDigests reads Digest: algorithm=value, separated by commas, the value in base64.
func legacyDigests(h http.Header) []expectation {
	var list []expectation
	for _, field := range h.Values("Digest") {
		for instance := range strings.SplitSeq(field, ",") {
			if name, value, ok := strings.Cut(trimOWS(instance), "="); ok {
				list = appendDigest(list, "Digest", name, value)
			}
		}
	}
	return list
}

func appendDigest(list []expectation, field, name, value string) []expectation {
	a := algorithmNamed(name)
	if a == nil {
		return list
	}
	sum, err := base64.StdEncoding.DecodeString(trimOWS(value))
	if err != nil || len(sum) != a.size {
		return list
	}
	return append(list, expectation{a, sum, field})
}
