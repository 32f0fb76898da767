package partial

import (
	"net/http"
	"testing"
)

const (
	noon       = "Tue, 15 Nov 1994 12:00:00 GMT"
	minuteOn   = "Tue, 15 Nov 1994 12:01:00 GMT"
	almostOn   = "Tue, 15 Nov 1994 12:00:59 GMT"
	hourOn     = "Tue, 15 Nov 1994 13:00:00 GMT"
	minuteOn50 = "Tuesday, 15-Nov-94 12:01:00 GMT" // RFC 850, which is still to be read (RFC 9110 §5.6.7)
)

func header(fields ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func TestIfRange(t *testing.T) {
	for _, c := range []struct {
		name   string
		header http.Header
		want   string // "": there is none
	}{
		{"nothing", header(), ""},
		{"strong tag", header("ETag", `"a"`), `"a"`},
		{"empty opaque tag", header("ETag", `""`), `""`},
		{"tag of UTF-8", header("ETag", `"é"`), `"é"`},
		{"weak tag", header("ETag", `W/"a"`), ""},
		{"tag before date", header("ETag", `"a"`, "Last-Modified", noon, "Date", hourOn), `"a"`},
		{"same tag twice", header("ETag", `"a"`, "ETag", `"a"`), `"a"`},

		{"weak tag and strong date", header("ETag", `W/"a"`, "Last-Modified", noon, "Date", hourOn), ""},
		{"unquoted tag and strong date", header("ETag", `a`, "Last-Modified", noon, "Date", hourOn), ""},
		{"half-quoted tag", header("ETag", `"a`), ""},
		{"a single quote", header("ETag", `"`), ""},
		{"quote inside", header("ETag", `"a"b"`), ""},
		{"space inside", header("ETag", `"a b"`), ""},
		{"lower-case weak", header("ETag", `w/"a"`), ""},
		{"empty tag and strong date", header("ETag", "", "Last-Modified", noon, "Date", hourOn), ""},
		{"tag that is no UTF-8", header("ETag", "\"\xff\""), ""},
		{"two tags", header("ETag", `"a"`, "ETag", `"b"`, "Last-Modified", noon, "Date", hourOn), ""},

		{"date a minute old", header("Last-Modified", noon, "Date", minuteOn), noon},
		{"date a minute old, RFC 850", header("Last-Modified", noon, "Date", minuteOn50), noon},
		{"date 59 s old", header("Last-Modified", noon, "Date", almostOn), ""},
		{"date of the same second", header("Last-Modified", noon, "Date", noon), ""},
		{"date of the future", header("Last-Modified", hourOn, "Date", noon), ""},
		{"no Date", header("Last-Modified", noon), ""},
		{"no Last-Modified", header("Date", noon), ""},
		{"nonsense", header("Last-Modified", "yesterday", "Date", minuteOn), ""},
	} {
		v := FromHeader(c.header)
		got, ok := v.IfRange()
		if ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s: got %q, %t, want %q", c.name, got, ok, c.want)
		}
		if v.Strong() != ok {
			t.Errorf("%s: Strong and IfRange disagree", c.name)
		}
		if v.Matches(v) != ok {
			t.Errorf("%s: matches itself: %t", c.name, v.Matches(v))
		}
	}
}

func TestMatches(t *testing.T) {
	tag := FromHeader(header("ETag", `"a"`, "Last-Modified", noon, "Date", hourOn))
	date := FromHeader(header("Last-Modified", noon, "Date", hourOn))
	for _, c := range []struct {
		name string
		held Validator
		sent http.Header
		want bool
	}{
		{"same tag, other dates", tag, header("ETag", `"a"`, "Last-Modified", hourOn, "Date", hourOn), true},
		{"same tag alone", tag, header("ETag", `"a"`), true},
		{"other tag", tag, header("ETag", `"b"`), false},
		{"tag become weak", tag, header("ETag", `W/"a"`), false},
		{"tag of other case", tag, header("ETag", `"A"`), false},
		{"same date, tag gone", tag, header("Last-Modified", noon, "Date", hourOn), false},
		{"nothing", tag, header(), false},
		{"same date, later", date, header("Last-Modified", noon, "Date", minuteOn), true},
		{"other date", date, header("Last-Modified", minuteOn, "Date", hourOn), false},
		{"same date, a tag has come", date, header("ETag", `"a"`, "Last-Modified", noon, "Date", hourOn), false},
		{"same date, no Date", date, header("Last-Modified", noon), false},
		{"nothing for a date", date, header(), false},
		{"nothing for nothing", Validator{}, header(), false},
		{"weak for weak", FromHeader(header("ETag", `W/"a"`)), header("ETag", `W/"a"`), false},
	} {
		if got := c.held.Matches(FromHeader(c.sent)); got != c.want {
			t.Errorf("%s: got %t", c.name, got)
		}
	}
}
