package daemon

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Settings are what the user wants of the daemon, and may want otherwise while it runs.
type Settings struct {
	// RateLimit is the most bytes of bodies that the tasks of all sessions together receive a second, and apart from those
	// the most that they send. 0: none.
	RateLimit int64
	// MaximumConnectionsPerHost is the most connections that all sessions together have to a host, beside the limit of each;
	// those that wait for one take turns. 0: no more limit than theirs.
	MaximumConnectionsPerHost int
	// Schedule has other limits for some times: the first Span that has begun and not ended is the one that counts.
	Schedule []Span
}

// Span is a time of the day, by the clock on the wall (time.Local), and its rate limit. Where the clock is put forward or
// back, for summer too, the span is as the clock then shows.
type Span struct {
	// From and To are times since midnight, in whole minutes: From from 0 to before 24 h, To up to 24 h. A To that is not
	// after From is the next day's; the same as From makes a day.
	From, To time.Duration
	// Days are those on which it begins; none: every day.
	Days []time.Weekday
	// RateLimit takes the place of Settings.RateLimit. 0: none.
	RateLimit int64
}

const day = 24 * time.Hour

// check says what is wrong with settings.
func (s *Settings) check() error {
	if s.RateLimit < 0 {
		return fmt.Errorf("a rate limit is %d bytes a second; 0 is none", s.RateLimit)
	}
	if s.MaximumConnectionsPerHost < 0 {
		return fmt.Errorf("the most connections a host are %d; 0 is no limit", s.MaximumConnectionsPerHost)
	}
	for i := range s.Schedule {
		if err := s.Schedule[i].check(); err != nil {
			return fmt.Errorf("span %d of the schedule: %w", i+1, err)
		}
	}
	return nil
}

func (s *Span) check() error {
	switch {
	case s.From < 0 || s.From >= day || s.To < 0 || s.To > day:
		return errors.New("a time of the day is from 0 to 24 hours after midnight")
	case s.From%time.Minute != 0 || s.To%time.Minute != 0:
		return errors.New("a time of the day is in whole minutes")
	case s.RateLimit < 0:
		return fmt.Errorf("its rate limit is %d bytes a second; 0 is none", s.RateLimit)
	}
	for _, d := range s.Days {
		if d < time.Sunday || d > time.Saturday {
			return fmt.Errorf("there is no weekday %d", d)
		}
	}
	return nil
}

// rate is the limit at a time, whose location's clock counts.
func (s *Settings) rate(at time.Time) int64 {
	for i := range s.Schedule {
		if s.Schedule[i].holds(at) {
			return s.Schedule[i].RateLimit
		}
	}
	return s.RateLimit
}

// change is when the limit is next another one than at a time; zero: never. All of a schedule comes again after a week, and
// each minute of that is looked at: only so does the next change stand where the clock is put forward or back.
func (s *Settings) change(at time.Time) time.Time {
	if len(s.Schedule) == 0 {
		return time.Time{}
	}
	now := s.rate(at)
	minute := at.Truncate(time.Minute)
	for range 8 * day / time.Minute {
		minute = minute.Add(time.Minute)
		if s.rate(minute) != now {
			return minute
		}
	}
	return time.Time{}
}

func (s *Span) holds(at time.Time) bool {
	hour, minute, _ := at.Clock()
	clock := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	today := at.Weekday()
	if s.From < s.To {
		return s.begins(today) && s.From <= clock && clock < s.To
	}
	yesterday := (today + 6) % 7
	return s.begins(today) && s.From <= clock || s.begins(yesterday) && clock < s.To
}

// begins says whether the span begins on a day.
func (s *Span) begins(on time.Weekday) bool {
	return len(s.Days) == 0 || slices.Contains(s.Days, on)
}
