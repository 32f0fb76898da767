package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession/daemon"
)

// registerState adds --state, which every command has. It is no flag of the config file: apps would look elsewhere then.
func registerState(root *cobra.Command) {
	root.PersistentFlags().String("state", "", "use the daemon whose state folder is `DIR`; default: $URLSESSION_STATE, else $XDG_STATE_HOME/urlsession")
}

// stateOf is the state folder that a command line means, absolute.
func stateOf(cmd *cobra.Command) (string, error) {
	f := cmd.Flags().Lookup("state")
	if f == nil || !f.Changed {
		state, err := daemon.StateFolder()
		if err != nil {
			return "", usageError{err}
		}
		return state, nil
	}
	if f.Value.String() == "" {
		return "", usagef("--state needs a folder's name")
	}
	state, err := filepath.Abs(f.Value.String())
	if err != nil {
		return "", usagef("--state: %w", err)
	}
	return state, nil
}
