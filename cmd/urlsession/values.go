package main

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/urlsession/urlsession"
)

// value is a flag whose text is read by parse. It is a pflag.Value.
type value[T any] struct {
	v     T
	text  string // as given; empty: not given
	kind  string // what help calls it
	parse func(string) (T, error)
}

func (f *value[T]) String() string { return f.text }
func (f *value[T]) Type() string   { return f.kind }
func (f *value[T]) given() bool    { return f.text != "" }
func (f *value[T]) Set(s string) error {
	v, err := f.parse(s)
	if err != nil {
		return err
	}
	f.v, f.text = v, s
	return nil
}

// parseSeconds reads a Go duration, or a bare number of seconds. It is not negative.
func parseSeconds(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if n, nerr := strconv.ParseFloat(s, 64); nerr == nil {
		if !(math.Abs(n) < math.MaxInt64/float64(time.Second)) {
			return 0, errors.New("that is longer than time")
		}
		d, err = time.Duration(n*float64(time.Second)), nil
	}
	if err != nil {
		return 0, errors.New("a duration is 90, 1.5s, 2m or 1h30m; a bare number is seconds")
	}
	if d < 0 {
		return 0, errors.New("a duration is not negative")
	}
	return d, nil
}

// units of sizes. As in curl and aria2 a bare letter is a power of 1024.
var units = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
}

// parseSize reads a number of bytes, such as 500000, 10MiB, 1.5G. It is positive.
func parseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, known := units[strings.ToLower(s[len(number):])]
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	switch bytes := n * unit; {
	case err != nil || !known:
		return 0, errors.New("a size is 500000, 64KiB, 10MiB or 1.5GiB")
	case !(bytes >= 1):
		return 0, errors.New("a size is at least one byte")
	case bytes >= math.MaxInt64:
		return 0, errors.New("that is more than can be counted")
	default:
		return int64(bytes), nil
	}
}

// parseMoment reads when a transfer may begin, seen from now: RFC 3339, a local date and time, a local time of the day
// (the next such), or a duration from now.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if clock, err := time.Parse("15:04", s); err == nil {
		y, m, d := now.Date()
		t := time.Date(y, m, d, clock.Hour(), clock.Minute(), 0, 0, now.Location())
		if !t.After(now) {
			t = time.Date(y, m, d+1, clock.Hour(), clock.Minute(), 0, 0, now.Location())
		}
		return t, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(d), nil
	}
	return time.Time{}, errors.New("a time is 2026-12-24T18:00:00Z, 2026-12-24T18:00, 18:00, or 2h for two hours from now")
}

// parsePriority reads low, default, high, or a number from 0 to 1.
func parsePriority(s string) (urlsession.Priority, error) {
	switch s {
	case "low":
		return urlsession.PriorityLow, nil
	case "default":
		return urlsession.PriorityDefault, nil
	case "high":
		return urlsession.PriorityHigh, nil
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n > 0 && n <= 1) {
		return 0, errors.New("a priority is low, default, high, or a number above 0 and up to 1")
	}
	return urlsession.Priority(n), nil
}

// parsePin reads [HOST=]sha256//BASE64, as docs/trust.md has it. Without HOST it is of all hosts, "*"; which names a host may
// have, the library says.
func parsePin(s string) (host, pin string, err error) {
	host, pin = "*", s
	if !strings.HasPrefix(s, "sha256/") {
		host, pin, _ = strings.Cut(s, "=")
		host = strings.ToLower(host)
	}
	digest, ok := strings.CutPrefix(pin, "sha256/")
	digest = strings.TrimPrefix(digest, "/")
	b, err := base64.StdEncoding.DecodeString(digest)
	if !ok || err != nil || len(b) != sha256.Size || base64.StdEncoding.EncodeToString(b) != digest || host == "" {
		return "", "", errors.New("a pin is [HOST=]sha256//BASE64; a server's is printed by: openssl s_client -connect HOST:443 </dev/null | " +
			"openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64")
	}
	return host, pin, nil
}

// formatSize writes a count of bytes for people.
func formatSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/(1<<10), "KiB"
	for _, u := range []string{"MiB", "GiB", "TiB", "PiB", "EiB"} {
		if f < 1000 {
			break
		}
		f, unit = f/(1<<10), u
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// formatDuration writes a duration for people, in whole seconds from one second on.
func formatDuration(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
