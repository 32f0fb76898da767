package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/urlsession/urlsession/daemon"
)

// daemonTable is the config file's table that is the daemon's. All else in the file is of the commands that transfer.
const daemonTable = "daemon"

// daemonSettings reads the daemon's table of the config file. A key that it does not know is an error that names it, the file
// and the line.
func daemonSettings() (s daemon.Settings, err error) {
	file := configFile()
	if file == "" {
		return s, nil
	}
	var keys map[string]toml.Primitive
	meta, err := toml.DecodeFile(file, &keys)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = decodeTable(&meta, keys[daemonTable], meta.IsDefined(daemonTable), map[string]func(toml.Primitive) error{
			"limit-rate": func(p toml.Primitive) error { return decodeText(&meta, p, &s.RateLimit, parseRate) },
			"maximum-connections-per-host": func(p toml.Primitive) error {
				return decodeText(&meta, p, &s.MaximumConnectionsPerHost, parseConnections)
			},
			"schedule": func(p toml.Primitive) error {
				s.Schedule, err = decodeSchedule(&meta, p)
				return err
			},
		})
	}
	if err != nil {
		return daemon.Settings{}, configError(file, err)
	}
	return s, nil
}

func decodeSchedule(meta *toml.MetaData, p toml.Primitive) ([]daemon.Span, error) {
	var tables []toml.Primitive
	err := meta.PrimitiveDecode(p, textValue(func(data any) error {
		switch data.(type) {
		case []map[string]any, []any:
			return nil
		}
		return errors.New("the schedule is a list of spans; begin each with [[daemon.schedule]], in two pairs of brackets")
	}))
	if err == nil {
		err = meta.PrimitiveDecode(p, &tables)
	}
	if err != nil {
		return nil, err
	}
	var spans []daemon.Span
	for i, table := range tables {
		span := daemon.Span{To: 24 * time.Hour}
		limited := false
		err := decodeTable(meta, table, true, map[string]func(toml.Primitive) error{
			"from": func(p toml.Primitive) error { return decodeText(meta, p, &span.From, parseClock) },
			"to":   func(p toml.Primitive) error { return decodeText(meta, p, &span.To, parseClock) },
			"days": func(p toml.Primitive) error { return decodeTexts(meta, p, &span.Days, parseDay) },
			"limit-rate": func(p toml.Primitive) error {
				limited = true
				return decodeText(meta, p, &span.RateLimit, parseRate)
			},
		})
		if err == nil && !limited {
			err = fmt.Errorf("span %d of daemon.schedule has no limit-rate; write one, such as \"1MiB\", or \"none\"", i+1)
		}
		if err == nil && span.From == 24*time.Hour {
			err = fmt.Errorf("span %d of daemon.schedule begins at 24:00; write 00:00", i+1)
		}
		if err != nil {
			return nil, err
		}
		spans = append(spans, span)
	}
	return spans, nil
}

// decodeTable hands the values of a table, if it is there, to those that read them.
func decodeTable(meta *toml.MetaData, p toml.Primitive, there bool, read map[string]func(toml.Primitive) error) error {
	if !there {
		return nil
	}
	var keys map[string]toml.Primitive
	err := meta.PrimitiveDecode(p, textValue(func(data any) error {
		if _, ok := data.(map[string]any); !ok { // which toml takes for an empty table
			return errors.New("it is to be a table, as in: [daemon]")
		}
		return nil
	}))
	if err == nil {
		err = meta.PrimitiveDecode(p, &keys)
	}
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		f := read[key]
		if f == nil {
			f = func(p toml.Primitive) error { return meta.PrimitiveDecode(p, unknownKey{key, read}) }
		}
		if err := f(keys[key]); err != nil {
			return err
		}
	}
	return nil
}

// unknownKey is a toml.Unmarshaler, whose errors get their line.
type unknownKey struct {
	key  string
	read map[string]func(toml.Primitive) error
}

func (u unknownKey) UnmarshalTOML(any) error {
	return fmt.Errorf("unknown key %q of the daemon; it knows %s", u.key, strings.Join(slices.Sorted(maps.Keys(u.read)), ", "))
}

// decodeText has parse read a value as it would stand on the command line; decodeTexts a list of them.
func decodeText[T any](meta *toml.MetaData, p toml.Primitive, to *T, parse func(string) (T, error)) error {
	return meta.PrimitiveDecode(p, textValue(func(data any) error {
		text, err := settingText(data)
		if err == nil {
			*to, err = parse(text)
		}
		return err
	}))
}

func decodeTexts[T any](meta *toml.MetaData, p toml.Primitive, to *[]T, parse func(string) (T, error)) error {
	return meta.PrimitiveDecode(p, textValue(func(data any) error {
		values, ok := data.([]any)
		if !ok {
			values = []any{data}
		}
		for _, v := range values {
			text, err := settingText(v)
			if err != nil {
				return err
			}
			one, err := parse(text)
			if err != nil {
				return err
			}
			*to = append(*to, one)
		}
		return nil
	}))
}

// textValue is a toml.Unmarshaler, whose errors get their line.
type textValue func(data any) error

func (v textValue) UnmarshalTOML(data any) error { return v(data) }

func parseConnections(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number of connections; write one, or 0 for no limit", s)
	}
	return n, nil
}

// parseClock reads a time of the day, up to 24:00, as the time since midnight.
func parseClock(s string) (time.Duration, error) {
	if s == "24:00" {
		return 24 * time.Hour, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, fmt.Errorf("%q is no time of the day; write it as \"08:00\", up to \"24:00\"", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// parseDay reads a day of the week by its first three letters.
func parseDay(s string) (time.Weekday, error) {
	days := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	i := slices.Index(days, s)
	if i < 0 {
		return 0, fmt.Errorf("%q is no day; the days are mon, tue, wed, thu, fri, sat and sun", s)
	}
	return time.Weekday(i), nil
}
