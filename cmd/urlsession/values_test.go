package main

import (
	"testing"
	"time"

	"github.com/urlsession/urlsession"
)

func TestParseSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "1.5": 1500 * time.Millisecond, "0": 0, "2m": 2 * time.Minute, "1h30m": 90 * time.Minute,
	} {
		if got, err := parseSeconds(text); err != nil || got != want {
			t.Errorf("parseSeconds(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1", "-1s", "1 h", "1e300", "NaN", "Inf", "99999999999"} {
		if got, err := parseSeconds(text); err == nil {
			t.Errorf("parseSeconds(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "500000": 500000, "64k": 64 << 10, "10M": 10 << 20, "10MiB": 10 << 20, "10MB": 10e6, "1.5GiB": 3 << 29, "2 KiB": 2048,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "0.1", "M", "10X", "1e30", "NaN", "10MiBs", "inf"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]int64{"none": 0, "0": 0, "0.0": 0, "1": 1, "64k": 64 << 10, "10MiB": 10 << 20} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("parseRate(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fast", "-1", "0.1", "NaN", "10MiB/s", "None"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("parseRate(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("X", 2*60*60)
	now := time.Date(2026, 5, 6, 17, 30, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"2026-12-24T18:00:00Z": time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC),
		"2026-12-24T18:00":     time.Date(2026, 12, 24, 18, 0, 0, 0, zone),
		"2026-12-24 18:00:05":  time.Date(2026, 12, 24, 18, 0, 5, 0, zone),
		"18:00":                time.Date(2026, 5, 6, 18, 0, 0, 0, zone),
		"17:30":                time.Date(2026, 5, 7, 17, 30, 0, 0, zone),
		"08:15":                time.Date(2026, 5, 7, 8, 15, 0, 0, zone),
		"2h":                   now.Add(2 * time.Hour),
	} {
		if got, err := parseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("parseMoment(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "someday", "25:00", "-2h", "2026-13-01"} {
		if got, err := parseMoment(text, now); err == nil {
			t.Errorf("parseMoment(%q) = %v, want an error", text, got)
		}
	}
}

func TestParsePriority(t *testing.T) {
	for text, want := range map[string]urlsession.Priority{
		"low": urlsession.PriorityLow, "default": urlsession.PriorityDefault, "high": urlsession.PriorityHigh, "1": 1, "0.1": .1,
	} {
		if got, err := parsePriority(text); err != nil || got != want {
			t.Errorf("parsePriority(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "urgent", "0", "-1", "1.1", "NaN"} {
		if got, err := parsePriority(text); err == nil {
			t.Errorf("parsePriority(%q) = %v, want an error", text, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 48 << 20: "48.0 MiB", 1000 << 20: "1.0 GiB", 1 << 62: "4.0 EiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{1234 * time.Microsecond: "1ms", 1600 * time.Millisecond: "2s", 90 * time.Second: "1m30s"} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestWaitText(t *testing.T) {
	for want, w := range map[string]urlsession.Wait{
		"waiting for a network that reaches the host":   {Reason: urlsession.WaitConnectivity},
		"waiting for power from the mains":              {Reason: urlsession.WaitDiscretionary, Detail: "power"},
		"waiting for a network that is not metered":     {Reason: urlsession.WaitDiscretionary, Detail: "network"},
		"waiting for room on the disk of /srv/a b":      {Reason: urlsession.WaitSpace, Detail: "/srv/a\nb"},
		"waiting to try again (timed out)":              {Reason: urlsession.WaitRetry, Err: &urlsession.Error{Code: urlsession.ErrTimedOut}},
		"waiting for a connection to the host, 0s left": {Reason: urlsession.WaitHostLimit, Until: time.Unix(1, 0)},
	} {
		if got := waitText(&w); got != want {
			t.Errorf("%+v: %q, want %q", w, got, want)
		}
	}
}

func TestParsePin(t *testing.T) {
	const digest = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	for text, want := range map[string][2]string{
		"sha256//" + digest:               {"*", "sha256//" + digest},
		"sha256/" + digest:                {"*", "sha256/" + digest},
		"*=sha256//" + digest:             {"*", "sha256//" + digest},
		"Example.com=sha256//" + digest:   {"example.com", "sha256//" + digest},
		"*.example.com=sha256//" + digest: {"*.example.com", "sha256//" + digest},
		"::1=sha256//" + digest:           {"::1", "sha256//" + digest},
	} {
		if host, pin, err := parsePin(text); err != nil || [2]string{host, pin} != want {
			t.Errorf("parsePin(%q) = %q, %q, %v", text, host, pin, err)
		}
	}
	for _, text := range []string{
		"", "x", "example.com", "example.com=", "=sha256//" + digest, digest, "sha256//", "sha256//" + digest[1:], "sha1//" + digest,
		"sha256//" + digest + ";sha256//" + digest, "example.com=" + digest, "a=b=sha256//" + digest, "sha256//" + digest + "\n",
	} {
		if host, pin, err := parsePin(text); err == nil {
			t.Errorf("parsePin(%q) = %q, %q, want an error", text, host, pin)
		}
	}
}
