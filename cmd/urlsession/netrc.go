package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// netrcVariable is the environment variable that names a file in place of ~/.netrc, as for curl.
const netrcVariable = "NETRC"

// findNetrc has netrcFile be the file of --netrc, where that has one, and warns of one that others can read. given says that
// --netrc stands in the command line: that of the config file may find none.
func (f *sharedFlags) findNetrc(warnings io.Writer, given bool) error {
	if f.netrcFile == "" {
		if !f.netrc {
			return nil
		}
		path := os.Getenv(netrcVariable)
		if path == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return usagef("--netrc: %w; give --netrc-file FILE", err)
			}
			path = filepath.Join(home, ".netrc")
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !given {
			return nil
		}
		f.netrcFile = path
	}
	info, err := os.Stat(f.netrcFile)
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		fmt.Fprintf(warnings, "urlsession: %s: others can read the passwords in it: chmod 600\n", oneLine(f.netrcFile))
	}
	return nil // what cannot be read, the session refuses
}
