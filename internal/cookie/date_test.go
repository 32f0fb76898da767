package cookie

import (
	"net/url"
	"testing"
	"time"
)

func parseAnyURL(raw string) (*url.URL, error) {
	if raw == "" {
		raw = "https://www.example.org/a/b"
	}
	return url.Parse(raw)
}

var dates = map[string]string{ // in RFC 3339; "": it does not parse
	"Sun, 06 Nov 1994 08:49:37 GMT":            "1994-11-06T08:49:37Z", // RFC 9110's three forms
	"Sunday, 06-Nov-94 08:49:37 GMT":           "1994-11-06T08:49:37Z",
	"Sun Nov  6 08:49:37 1994":                 "1994-11-06T08:49:37Z",
	"Sun, 06-Nov-1994 08:49:37 GMT":            "1994-11-06T08:49:37Z", // Netscape's
	"6-Nov-1994 08:49:37":                      "1994-11-06T08:49:37Z",
	", 6-nov-94 8:49:7":                        "1994-11-06T08:49:07Z",
	"Someday,6-NOVEMBER-94 08:49:37 PST":       "1994-11-06T08:49:37Z",
	"06/Nov\\1994 08:49:37 -0800 (PST)":        "1994-11-06T08:49:37Z",
	"\"06 Nov 94\"08:49:37\"GMT\"":             "1994-11-06T08:49:37Z",
	"08:49:37 Nov 6 1994":                      "1994-11-06T08:49:37Z",
	"1994 Nov 6 08:49:37":                      "1994-11-06T08:49:37Z",
	"6 94 Nov 08:49:37":                        "1994-11-06T08:49:37Z",
	"Nov 6 08:49:37 94":                        "1994-11-06T08:49:37Z",
	"6 Nov 1994 08:49:37 11:22:33":             "1994-11-06T08:49:37Z", // the first of each counts
	"6 Nov 1994 ::00 08:49:37":                 "1994-11-06T08:49:37Z",
	"6 Nov 1994 x:y 08:49:37":                  "1994-11-06T08:49:37Z",
	"6 Nov Dec 1994 08:49:37":                  "1994-11-06T08:49:37Z",
	"6 Nov 1994 08:49:37abc":                   "1994-11-06T08:49:37Z",
	"6th Nov 1994AD 08:49:37":                  "1994-11-06T08:49:37Z",
	"1 Jan 69 00:00:00":                        "2069-01-01T00:00:00Z",
	"1 Jan 70 00:00:00":                        "1970-01-01T00:00:00Z",
	"1 Jan 99 00:00:00":                        "1999-01-01T00:00:00Z",
	"1 Jan 00 00:00:00":                        "2000-01-01T00:00:00Z",
	"1 Jan 1601 00:00:00":                      "1601-01-01T00:00:00Z",
	"31 Dec 9999 23:59:59":                     "9999-12-31T23:59:59Z",
	"29 Feb 2024 00:00:00":                     "2024-02-29T00:00:00Z",
	"1 Jan 1600 00:00:00":                      "",
	"29 Feb 2023 00:00:00":                     "",
	"31 Apr 2024 00:00:00":                     "",
	"0 Jan 2024 00:00:00":                      "",
	"32 Jan 2024 00:00:00":                     "",
	"1 Jan 2024 24:00:00":                      "",
	"1 Jan 2024 00:60:00":                      "",
	"1 Jan 2024 00:00:60":                      "",
	"1 Jan 2024 00:00":                         "",
	"1 Jan 2024 00: 00:00":                     "",
	"1 Jan 2024 000:00:00":                     "",
	"1 Jan 2024 91:22:33 08:49:37":             "",
	"1 Jan 2024 00:00:99999999999":             "",
	"001 Jan 2024 00:00:00":                    "",
	"98 Jan 17 00:00:00":                       "",
	"1 Jan 20240 00:00:00":                     "",
	"1 Jan 9999999999999999999999999 00:00:00": "",
	"1 Ja 2024 00:00:00":                       "",
	"1 anf 2024 00:00:00":                      "", // within "janfeb", and no month
	"2024-01-01T00:00:00Z":                     "",
	"Jan 2024 00:00:00":                        "",
	"1 2024 00:00:00":                          "",
	"1 Jan 00:00:00":                           "",
	"":                                         "",
	"   ":                                      "",
	"-1":                                       "",
	"nonsense":                                 "",
}

func TestDates(t *testing.T) {
	for s, want := range dates {
		got := ""
		if d, ok := parseDate(s); ok {
			got = d.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

// Every date that net/http would write is read as it was meant.
func TestDatesInAllForms(t *testing.T) {
	for d := time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC); d.Year() < 2069; d = d.Add(97*24*time.Hour + 12345*time.Second) {
		for _, form := range []string{time.RFC1123, time.RFC850, time.ANSIC, time.UnixDate, "Mon, 02-Jan-2006 15:04:05 MST"} {
			if got, ok := parseDate(d.Format(form)); !ok || !got.Equal(d) {
				t.Fatalf("%q is %v, %v", d.Format(form), got, ok)
			}
		}
	}
}

func FuzzDate(f *testing.F) {
	for s := range dates {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseDate(s)
		if !ok {
			return
		}
		if d.Year() < 1601 || d.Year() > 9999 || d.Nanosecond() != 0 || d.Location() != time.UTC {
			t.Errorf("%q is %v", s, d)
		}
		if again, ok := parseDate(d.Format(time.RFC1123)); !ok || !again.Equal(d) {
			t.Errorf("%q is %v, and that written is %v", s, d, again)
		}
	})
}
