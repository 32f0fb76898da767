package cookie

import (
	"strings"
	"time"
)

// parseDate reads a cookie's date, in whatever order and form its server wrote it (the draft, section 5.1.1). Zones are
// not looked at: all dates are UTC.
func parseDate(s string) (time.Time, bool) {
	var hour, minute, second, day, month, year int
	var hasTime, hasDay, hasMonth, hasYear bool
	for token := range strings.FieldsFuncSeq(s, isDateDelimiter) {
		switch {
		case !hasTime && scanTime(token, &hour, &minute, &second):
			hasTime = true
		case !hasDay && scanDigits(token, 1, 2, &day):
			hasDay = true
		case !hasMonth && scanMonth(token, &month):
			hasMonth = true
		case !hasYear && scanDigits(token, 2, 4, &year):
			hasYear = true
		}
	}
	if !hasTime || !hasDay || !hasMonth || !hasYear {
		return time.Time{}, false
	}
	switch {
	case year >= 70 && year <= 99:
		year += 1900
	case year <= 69:
		year += 2000
	}
	if day < 1 || year < 1601 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if t.Day() != day { // there is no such day in that month
		return time.Time{}, false
	}
	return t, true
}

// isDateDelimiter tells the draft's delimiters, all ASCII; bytes of other characters belong to tokens.
func isDateDelimiter(c rune) bool {
	return c == '\t' || c >= 0x20 && c <= 0x2f || c >= 0x3b && c <= 0x40 || c >= 0x5b && c <= 0x60 || c >= 0x7b && c <= 0x7e
}

// leadingDigits is the number that token begins with and how many digits it has; only up to 4 count.
func leadingDigits(token string) (n, digits int) {
	for digits < len(token) && token[digits] >= '0' && token[digits] <= '9' {
		if digits < 4 {
			n = 10*n + int(token[digits]-'0')
		}
		digits++
	}
	return n, digits
}

// scanDigits reads a token that begins with least to most digits and goes on, if at all, with something else.
func scanDigits(token string, least, most int, into *int) bool {
	n, digits := leadingDigits(token)
	if digits < least || digits > most {
		return false
	}
	*into = n
	return true
}

func scanTime(token string, hour, minute, second *int) bool {
	for i, into := range []*int{hour, minute, second} {
		n, digits := leadingDigits(token)
		if digits < 1 || digits > 2 {
			return false
		}
		*into = n
		token = token[digits:]
		if i < 2 {
			if !strings.HasPrefix(token, ":") {
				return false
			}
			token = token[1:]
		}
	}
	return true
}

const months = "janfebmaraprmayjunjulaugsepoctnovdec"

func scanMonth(token string, month *int) bool {
	if len(token) < 3 {
		return false
	}
	i := strings.Index(months, strings.ToLower(token[:3]))
	if i < 0 || i%3 != 0 {
		return false
	}
	*month = i/3 + 1
	return true
}
