package urlsession

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Tests of what starts a daemon have this binary be the command that does, and the daemon; those of storages,
	// another program of the application.
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "daemon-start":
			os.Exit(startDaemonProcess())
		case "daemon-run":
			os.Exit(runDaemonProcess())
		case "cookies":
			os.Exit(runCookiesProcess())
		case "cache":
			os.Exit(runCacheProcess())
		case "gather":
			os.Exit(runGatherProcess())
		case "credentials":
			os.Exit(runCredentialsProcess())
		}
	}
	// No test touches what the user's own programs keep.
	dir, err := os.MkdirTemp("", "urlsession")
	if err == nil {
		err = errors.Join(os.Setenv("XDG_DATA_HOME", dir), os.Setenv("XDG_CACHE_HOME", dir))
	}
	if err == nil {
		err = os.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(dir, "none")) // nor the keyring
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}
