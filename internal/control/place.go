package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// StateVariable is the environment's variable that names the daemon's state folder.
const StateVariable = "URLSESSION_STATE"

// StateFolder is where the daemon of this user keeps its state, absolute: $URLSESSION_STATE, else
// $XDG_STATE_HOME/urlsession, else ~/.local/state/urlsession. A relative XDG_STATE_HOME is ignored, as the XDG Base
// Directory Specification wants.
func StateFolder() (string, error) {
	if dir := os.Getenv(StateVariable); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "urlsession"), nil
	}
	home, err := os.UserHomeDir()
	if err == nil && !filepath.IsAbs(home) {
		err = errors.New("HOME is not absolute")
	}
	if err != nil {
		return "", fmt.Errorf("find the state folder: %w; set %s to a folder of yours", err, StateVariable)
	}
	return filepath.Join(home, ".local", "state", "urlsession"), nil
}

// LockFile is the path of the file that the daemon of a state folder has locked (flock) for as long as it runs. It begins
// with the number of its process.
func LockFile(state string) string { return filepath.Join(state, "daemon.lock") }

// SessionFolder is where the files of a session are.
func SessionFolder(state, identifier string) string {
	sum := sha256.Sum256([]byte(identifier))
	return filepath.Join(state, "sessions", hex.EncodeToString(sum[:16]))
}

// SessionCookies are the file of a session's cookies, the one with the key of all of them, and what the cookies are sealed for.
// Daemon and apps may have them open at once.
func SessionCookies(state, identifier string) (file, key, purpose string) {
	return filepath.Join(SessionFolder(state, identifier), "cookies"), filepath.Join(state, "cookies.key"), "cookies of session " + identifier
}

// SessionCredentials are the file of a session's credentials, and the one with the key of all of them.
func SessionCredentials(state, identifier string) (file, key string) {
	return filepath.Join(SessionFolder(state, identifier), "credentials"), filepath.Join(state, "credentials.key")
}

// socketMost is the most bytes of a unix socket's path that every system takes (sun_path of 104 on BSD, 108 on Linux, with
// its NUL).
const socketMost = 103

// Socket is the path of the socket of the daemon whose state folder is given, absolute: daemon.sock in it, or where that
// path is too long for a socket's name, a name made of its hash in $XDG_RUNTIME_DIR/urlsession, or without that variable
// in urlsession-UID in the temporary folder. Both ends must see the same variables.
func Socket(state string) string {
	path := filepath.Join(state, "daemon.sock")
	if len(path) <= socketMost {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	name := hex.EncodeToString(sum[:8]) + ".sock"
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "urlsession", name)
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("urlsession-%d", os.Getuid()), name)
}
