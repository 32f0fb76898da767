package platform

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// supply writes attributes of a supply, each "name=value", below root.
func supply(t *testing.T, root, name string, attributes ...string) {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, a := range attributes {
		key, value, _ := strings.Cut(a, "=")
		if err := os.WriteFile(filepath.Join(dir, key), []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlugged(t *testing.T) {
	const mains, battery = "type=Mains", "type=Battery"
	for name, c := range map[string]struct {
		supplies map[string][]string
		want     bool
	}{
		"none":                      {nil, true},
		"mains":                     {map[string][]string{"AC": {mains, "online=1"}}, true},
		"mains, charging":           {map[string][]string{"AC": {mains, "online=1"}, "BAT0": {battery, "status=Charging"}}, true},
		"mains, and too weak":       {map[string][]string{"AC": {mains, "online=1"}, "BAT0": {battery, "status=Discharging"}}, true},
		"on battery":                {map[string][]string{"AC": {mains, "online=0"}, "BAT0": {battery, "status=Discharging"}}, false},
		"on battery, no mains":      {map[string][]string{"BAT0": {battery, "status=Discharging"}}, false},
		"one of two batteries":      {map[string][]string{"BAT0": {battery, "status=Full"}, "BAT1": {battery, "status=Discharging"}}, false},
		"full":                      {map[string][]string{"AC": {mains, "online=0"}, "BAT0": {battery, "status=Full"}}, true},
		"USB":                       {map[string][]string{"ucsi": {"type=USB", "online=1"}, "BAT0": {battery, "status=Discharging"}}, true},
		"USB of fixed choice":       {map[string][]string{"ucsi": {"type=USB", "online=2"}, "BAT0": {battery, "status=Discharging"}}, true},
		"a mouse":                   {map[string][]string{"hid": {battery, "scope=Device", "status=Discharging"}}, true},
		"nothing but an empty name": {map[string][]string{"odd": nil}, true},
	} {
		root := t.TempDir()
		for s, attributes := range maps.All(c.supplies) {
			supply(t, root, s, attributes...)
		}
		if got := (&Power{root: root}).Plugged(); got != c.want {
			t.Errorf("%s: Plugged = %v", name, got)
		}
	}
	if !(&Power{root: filepath.Join(t.TempDir(), "none")}).Plugged() {
		t.Error("a machine that says nothing draws on a battery")
	}
	new(Power).Plugged()
}

func TestPowerChanges(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		supply(t, root, "BAT0", "type=Battery", "status=Full")
		ctx, cancel := context.WithCancel(t.Context())
		changes := (&Power{root: root}).Changes(ctx)
		told := func(want bool, when string) {
			t.Helper()
			time.Sleep(powerEvery + time.Second)
			synctest.Wait()
			select {
			case <-changes:
				if !want {
					t.Errorf("told %s", when)
				}
			default:
				if want {
					t.Errorf("not told %s", when)
				}
			}
		}
		told(false, "of nothing")
		supply(t, root, "BAT0", "status=Discharging")
		told(true, "of the battery")
		told(false, "twice")
		supply(t, root, "AC", "type=Mains", "online=1")
		told(true, "of the mains")
		cancel()
		for range changes {
		}
	})
}
