package urlsession

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Tests of what starts a daemon have this binary be the command that does, and the daemon.
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "daemon-start":
			os.Exit(startDaemonProcess())
		case "daemon-run":
			os.Exit(runDaemonProcess())
		}
	}
	goleak.VerifyTestMain(m)
}
