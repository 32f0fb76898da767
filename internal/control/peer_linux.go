package control

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// CheckPeer refuses a connection whose other end is another user's process: SO_PEERCRED says who called connect or
// listen, and cannot be forged (unix(7)). A connection that is no unix socket passes: only tests and embedders make one.
func CheckPeer(conn net.Conn) error {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return fmt.Errorf("ask whose socket it is: %w", err)
	}
	var cred *syscall.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		failed = err
	}
	if failed != nil {
		return fmt.Errorf("ask whose socket it is: %w", failed)
	}
	return sameUser(int(cred.Uid), os.Getuid())
}
