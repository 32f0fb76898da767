package daemon

import "github.com/urlsession/urlsession/internal/control"

// StateFolder is the state folder of the user's own daemon, absolute: $URLSESSION_STATE, else $XDG_STATE_HOME/urlsession,
// else ~/.local/state/urlsession.
func StateFolder() (string, error) { return control.StateFolder() }
