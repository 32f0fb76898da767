package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// perRun are the flags that mean one run, so that a default for them would be a trap.
var perRun = []string{"help", "input", "output", "checksum", "multipart", "resume", "data", "form", "session", "detach", "state"}

// configFile is $XDG_CONFIG_HOME/urlsession/config.toml; empty where there is no such folder: XDG says that a relative
// path there is to be ignored.
func configFile() string {
	folder, err := os.UserConfigDir()
	if err != nil || !filepath.IsAbs(folder) {
		return ""
	}
	return filepath.Join(folder, "urlsession", "config.toml")
}

// applyConfig sets the flags of cmd that the command line did not from the config file, whose keys are the long names of
// flags; the table that is the daemon's is passed over. A key that no command has is an error that names it, the file and the line.
func applyConfig(cmd *cobra.Command) error {
	file := configFile()
	if file == "" {
		return nil
	}
	var keys map[string]toml.Primitive
	meta, err := toml.DecodeFile(file, &keys)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return configError(file, err)
	}
	delete(keys, daemonTable)      // see daemonSettings
	given := make(map[string]bool) // on the command line
	cmd.Flags().Visit(func(f *pflag.Flag) {
		given[f.Name] = true
		given[rivals[f.Name]] = true
	})
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := meta.PrimitiveDecode(keys[key], setting{cmd, key, given[key]}); err != nil {
			return configError(file, err)
		}
	}
	if err := cmd.ValidateFlagGroups(); err != nil { // cobra has looked at the command line alone
		return configError(file, err)
	}
	return nil
}

// rivals are flags of which one on the command line wins over the other in the config file.
var rivals = map[string]string{"replace": "rename", "rename": "replace"}

func configError(file string, err error) error {
	if bad, ok := errors.AsType[toml.ParseError](err); ok {
		if bad.Position.Line == 0 { // that of a table which nothing but a dotted key makes, toml does not know
			return usagef("%s: %s", file, bad.Message)
		}
		return usagef("%s:%d: %s", file, bad.Position.Line, bad.Message)
	}
	return usagef("read the config file %s: %w", file, err)
}

// setting is one key of the config file, on its way into a flag. Being a toml.Unmarshaler, its errors get their line.
type setting struct {
	cmd   *cobra.Command
	key   string
	given bool // the command line says otherwise
}

func (s setting) UnmarshalTOML(data any) error {
	if !s.known() {
		return fmt.Errorf("unknown key %q; a key is the long name of a flag, as in: retry = 10", s.key)
	}
	flag := s.cmd.Flags().Lookup(s.key)
	if flag == nil || s.given {
		return nil // another command's, or no default is asked for
	}
	values, ok := data.([]any)
	if _, list := flag.Value.(pflag.SliceValue); !list || !ok {
		values = []any{data}
	}
	for _, v := range values {
		text, err := settingText(v)
		if err == nil {
			err = flag.Value.Set(text)
		}
		if err != nil {
			return fmt.Errorf("key %q: %w", s.key, err)
		}
	}
	flag.Changed = true
	return nil
}

// known says whether any command that transfers has a flag of that name which takes a default.
func (s setting) known() bool {
	if slices.Contains(perRun, s.key) {
		return false
	}
	return slices.ContainsFunc(s.cmd.Root().Commands(), func(c *cobra.Command) bool {
		return c.Flags().Lookup("session") != nil && c.Flags().Lookup(s.key) != nil
	})
}

// settingText is a TOML value as it would stand on the command line.
func settingText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64, float64, bool:
		return fmt.Sprint(v), nil
	case time.Time:
		return v.Format(time.RFC3339), nil
	}
	return "", errors.New("a value is a string, a number, true or false, or a list of them where the flag may be repeated")
}
