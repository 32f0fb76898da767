package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/daemon"
)

// settingsOf are those of a config file of this text.
func settingsOf(t *testing.T, text string) (daemon.Settings, error) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", folder)
	file := filepath.Join(folder, "urlsession", "config.toml")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return daemonSettings()
}

func TestDaemonSettings(t *testing.T) {
	for text, want := range map[string]daemon.Settings{
		"":                                 {},
		"retry = 3\nlimit-rate = \"1MiB\"": {},
		"unknown = 3":                      {},
		"[daemon]":                         {},
		"[daemon]\nlimit-rate = \"10MiB\"": {RateLimit: 10 << 20},
		"daemon.limit-rate = 500_000":      {RateLimit: 500_000},
		"[daemon]\nlimit-rate = \"none\"":  {},
		"[daemon]\nlimit-rate = 0":         {},
		"[daemon]\nmaximum-connections-per-host = 4":  {MaximumConnectionsPerHost: 4},
		"daemon.maximum-connections-per-host = \"0\"": {},
		"[[daemon.schedule]]\nlimit-rate =1":          {Schedule: []daemon.Span{{To: 24 * time.Hour, RateLimit: 1}}},
		`
retry = 3
[daemon]
limit-rate = "10MiB"
[[daemon.schedule]]
from = "08:00"
to = "18:30"
days = ["mon", "sat", "sun"]
limit-rate = "1MiB"
[[daemon.schedule]]
days = "fri"
from = "22:00"
to = "24:00"
limit-rate = "none"
`: {RateLimit: 10 << 20, Schedule: []daemon.Span{
			{From: 8 * time.Hour, To: 18*time.Hour + 30*time.Minute, RateLimit: 1 << 20, Days: []time.Weekday{time.Monday, time.Saturday, time.Sunday}},
			{From: 22 * time.Hour, To: 24 * time.Hour, Days: []time.Weekday{time.Friday}},
		}},
	} {
		if got, err := settingsOf(t, text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, %v; want %+v", text, got, err, want)
		}
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	if got, err := daemonSettings(); err != nil || !reflect.DeepEqual(got, daemon.Settings{}) {
		t.Errorf("without a file: %+v, %v", got, err)
	}
}

// What is wrong is said with its line.
func TestBadDaemonSettings(t *testing.T) {
	for text, says := range map[string]string{
		"[daemon]\n\nlimit = 3":                                      `config.toml:3: unknown key "limit" of the daemon; it knows limit-rate, maximum-connections-per-host, schedule`,
		"retry = 3\n[daemon]\nlimit-rate = \"fast\"":                 `config.toml:3: a rate is in bytes a second`,
		"[daemon]\nmaximum-connections-per-host = -1":                `config.toml:2: "-1" is no number of connections`,
		"[daemon]\nmaximum-connections-per-host = \"many\"":          `config.toml:2: "many" is no number of connections`,
		"[daemon]\nlimit-rate = [1]":                                 `config.toml:2: a value is`,
		"daemon = 3":                                                 `config.toml:1: it is to be a table`,
		"[daemon]\nschedule = 3":                                     `config.toml:2: the schedule is a list of spans`,
		"[daemon.schedule]\nlimit-rate = 1":                          `config.toml:1: the schedule is a list of spans; begin each with [[daemon.schedule]]`,
		"[daemon]\nschedule = [3]":                                   `config.toml:2: it is to be a table`,
		"[daemon]\nlimit.rate = 3":                                   `config.toml: unknown key "limit" of the daemon`,
		"[daemon\n":                                                  `config.toml:2: `,
		"[[daemon.schedule]]\nlimit-rate = 1\nfrom = \"8\"":          `config.toml:3: "8" is no time of the day`,
		"[[daemon.schedule]]\nlimit-rate = 1\nto = \"24:01\"":        `config.toml:3: "24:01" is no time`,
		"[[daemon.schedule]]\nlimit-rate = 1\nto = 08:00:00":         `config.toml:3: `,
		"[[daemon.schedule]]\nlimit-rate = 1\ndays = [\"monday\"]":   `config.toml:3: "monday" is no day; the days are mon`,
		"[[daemon.schedule]]\nlimit-rate = 1\n\nrate = 1":            `config.toml:4: unknown key "rate" of the daemon; it knows days, from, limit-rate, to`,
		"[[daemon.schedule]]\nlimit-rate = 1\n[[daemon.schedule]]\n": `span 2 of daemon.schedule has no limit-rate`,
		"[[daemon.schedule]]\nlimit-rate = 1\nfrom = \"24:00\"":      `span 1 of daemon.schedule begins at 24:00; write 00:00`,
	} {
		got, err := settingsOf(t, text)
		if err == nil || !strings.Contains(err.Error(), says) || !reflect.DeepEqual(got, daemon.Settings{}) {
			t.Errorf("%s:\n%+v, %v; want it to say %q", text, got, err, says)
		}
	}
}
