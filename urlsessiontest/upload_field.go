package urlsessiontest

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// The structured fields of uploads (RFC 9651). Parameters are skipped without
// being checked.

// integerField is an Item that is an Integer; ok is false if there is none, or
// another value.
func integerField(h http.Header, name string) (n int64, ok bool) {
	s, ok := itemField(h, name)
	if !ok || len(strings.TrimPrefix(s, "-")) > 15 || strings.HasPrefix(s, "+") {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// booleanField is an Item that is a Boolean.
func booleanField(h http.Header, name string) (value, ok bool) {
	s, _ := itemField(h, name)
	return s == "?1", s == "?1" || s == "?0"
}

// itemField is a field that is on one line, without its parameters.
func itemField(h http.Header, name string) (string, bool) {
	lines := h.Values(name)
	if len(lines) != 1 {
		return "", false
	}
	bare, _, _ := strings.Cut(lines[0], ";")
	bare = strings.Trim(bare, " ")
	return bare, bare != ""
}

// digestField is the digests of a Repr-Digest or Content-Digest (RFC 9530) by
// algorithm, of those that this package knows. A malformed member is left out.
func digestField(h http.Header, name string) map[string][]byte {
	digests := make(map[string][]byte)
	for _, line := range h.Values(name) {
		for member := range strings.SplitSeq(line, ",") {
			key, value, _ := strings.Cut(strings.Trim(member, " \t"), "=")
			value, _, _ = strings.Cut(value, ";")
			b64, ok := strings.CutPrefix(value, ":")
			b64, end := strings.CutSuffix(b64, ":")
			sum, err := base64.StdEncoding.DecodeString(b64)
			if ok && end && err == nil && algorithms[key] != nil {
				digests[key] = sum
			}
		}
	}
	return digests
}

// wantedDigest is the algorithm that a Want-Repr-Digest prefers of those that
// this package knows, or empty. 0 is unwanted.
func wantedDigest(field string) string {
	best, most := "", int64(0)
	for member := range strings.SplitSeq(field, ",") {
		key, value, _ := strings.Cut(strings.Trim(member, " \t"), "=")
		weight, err := strconv.ParseInt(value, 10, 64)
		if err == nil && weight > most && algorithms[key] != nil {
			best, most = key, weight
		}
	}
	return best
}
