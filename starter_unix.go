//go:build unix

package urlsession

import (
	"os/exec"
	"syscall"
)

// ownSession makes a command the leader of a new process session: what ends this terminal's processes, as Ctrl-C does,
// does not end the daemon.
func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
