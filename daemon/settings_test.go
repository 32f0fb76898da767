package daemon

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zone of the test, wherever it runs
)

func clock(hour, minute int) time.Duration {
	return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
}

// TestSchedule: what holds, and until when, over the edges of days, weeks and summers.
func TestSchedule(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin") // summer: from 2026-03-29 02:00, which is 03:00, to 2026-10-25 03:00, which is 02:00
	must(t, err)
	work := Span{From: clock(8, 0), To: clock(18, 0), RateLimit: 10,
		Days: []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}}
	night := Span{From: clock(22, 30), To: clock(6, 0), RateLimit: 20}
	saturdays := Span{From: clock(22, 0), To: clock(4, 0), RateLimit: 30, Days: []time.Weekday{time.Saturday}}
	small := Span{From: clock(2, 15), To: clock(2, 45), RateLimit: 40}
	always := Span{RateLimit: 50}
	evening := Span{From: clock(20, 0), To: 24 * time.Hour, RateLimit: 60}
	noon := Span{From: clock(12, 0), To: clock(12, 0), RateLimit: 70, Days: []time.Weekday{time.Monday}}
	for _, c := range []struct {
		name     string
		schedule []Span
		at       string // local
		rate     int64
		until    string // local, with its zone; empty: never
	}{
		{"none", nil, "2026-06-01 12:00", 1, ""},
		{"before", []Span{work}, "2026-06-01 07:59", 1, "2026-06-01 08:00 CEST"},
		{"its first minute", []Span{work}, "2026-06-01 08:00", 10, "2026-06-01 18:00 CEST"},
		{"its last minute", []Span{work}, "2026-06-01 17:59", 10, "2026-06-01 18:00 CEST"},
		{"its end", []Span{work}, "2026-06-01 18:00", 1, "2026-06-02 08:00 CEST"},
		{"over the weekend", []Span{work}, "2026-06-05 20:00", 1, "2026-06-08 08:00 CEST"},
		{"the night, its evening", []Span{night}, "2026-06-01 23:00", 20, "2026-06-02 06:00 CEST"},
		{"the night, its morning", []Span{night}, "2026-06-01 05:59", 20, "2026-06-01 06:00 CEST"},
		{"the day between", []Span{night}, "2026-06-01 12:00", 1, "2026-06-01 22:30 CEST"},
		{"the night that began on Saturday", []Span{saturdays}, "2026-06-07 03:00", 30, "2026-06-07 04:00 CEST"},
		{"the morning of a Saturday", []Span{saturdays}, "2026-06-06 03:00", 1, "2026-06-06 22:00 CEST"},
		{"the evening of a Sunday", []Span{saturdays}, "2026-06-07 23:00", 1, "2026-06-13 22:00 CEST"},
		{"the first that matches", []Span{work, {From: clock(7, 0), To: clock(9, 0), RateLimit: 5}}, "2026-06-01 08:30", 10, "2026-06-01 18:00 CEST"},
		{"the first that matches, on its day", []Span{work, {From: clock(7, 0), To: clock(9, 0), RateLimit: 5}}, "2026-06-06 08:30", 5, "2026-06-06 09:00 CEST"},
		{"the same limit next", []Span{work, {From: clock(18, 0), To: clock(20, 0), RateLimit: 10}}, "2026-06-01 12:00", 10, "2026-06-01 20:00 CEST"},
		{"no limit for a time", []Span{{From: clock(1, 0), To: clock(7, 0)}}, "2026-06-01 02:00", 0, "2026-06-01 07:00 CEST"},
		{"always", []Span{always}, "2026-06-01 02:00", 50, ""},
		{"to midnight", []Span{evening}, "2026-06-01 23:59", 60, "2026-06-02 00:00 CEST"},
		{"from noon to noon", []Span{noon}, "2026-06-02 11:59", 70, "2026-06-02 12:00 CEST"},
		{"before noon to noon", []Span{noon}, "2026-06-01 11:59", 1, "2026-06-01 12:00 CEST"},

		{"in spring the night is an hour shorter", []Span{night}, "2026-03-28 23:00", 20, "2026-03-29 06:00 CEST"},
		{"in autumn it is an hour longer", []Span{night}, "2026-10-24 23:00", 20, "2026-10-25 06:00 CET"},
		{"what spring leaves out", []Span{small}, "2026-03-29 01:30", 1, "2026-03-30 02:15 CEST"},
		{"what begins in what spring leaves out", []Span{{From: clock(2, 30), To: clock(5, 0), RateLimit: 80}}, "2026-03-29 01:30", 1, "2026-03-29 03:00 CEST"},
		{"what autumn has twice, the first", []Span{small}, "2026-10-25 01:30", 1, "2026-10-25 02:15 CEST"},
		{"the work of the day after", []Span{work}, "2026-10-24 12:00", 1, "2026-10-26 08:00 CET"},
	} {
		s := Settings{RateLimit: 1, Schedule: c.schedule}
		must(t, s.check())
		at, err := time.ParseInLocation("2006-01-02 15:04", c.at, zone)
		must(t, err)
		at = at.Add(7 * time.Second)
		until := ""
		if u := s.change(at); !u.IsZero() {
			until = u.Format("2006-01-02 15:04 MST")
			if u.Second() != 0 || s.rate(u) == c.rate {
				t.Errorf("%s: it changes at %v, to %d", c.name, u, s.rate(u))
			}
		}
		if rate := s.rate(at); rate != c.rate || until != c.until {
			t.Errorf("%s: at %s it is %d until %q; want %d until %q", c.name, c.at, rate, until, c.rate, c.until)
		}
	}
	// The other half of what autumn has twice.
	s := Settings{RateLimit: 1, Schedule: []Span{small}}
	var changes []string
	for at := time.Date(2026, 10, 25, 1, 0, 0, 0, zone); at.Before(time.Date(2026, 10, 25, 6, 0, 0, 0, zone)); at = s.change(at) {
		changes = append(changes, at.Format("15:04 MST"))
	}
	if got := strings.Join(changes, ", "); got != "01:00 CEST, 02:15 CEST, 02:45 CEST, 02:15 CET, 02:45 CET" {
		t.Errorf("it changes at %s", got)
	}
}

func TestBadSettings(t *testing.T) {
	for says, s := range map[string]Settings{
		"-1 bytes a second":  {RateLimit: -1},
		"a host are -1":      {MaximumConnectionsPerHost: -1},
		"span 2 of the":      {Schedule: []Span{{}, {From: -1}}},
		"0 to 24 hours":      {Schedule: []Span{{From: day}}},
		"24 hours after":     {Schedule: []Span{{To: day + time.Minute}}},
		"in whole minutes":   {Schedule: []Span{{To: time.Second}}},
		"-5 bytes a second":  {Schedule: []Span{{RateLimit: -5}}},
		"there is no weekda": {Schedule: []Span{{Days: []time.Weekday{7}}}},
	} {
		if err := s.check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want it to say %q", s, err, says)
		}
	}
}
