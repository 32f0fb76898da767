package daemon

import (
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// activated are the sockets that systemd has opened for this process (sd_listen_fds(3)). Its variables are unset, so that no
// launched program takes them for its own.
func activated() ([]net.Listener, error) {
	var listeners []net.Listener
	for _, f := range activation.Files(true) {
		l, err := net.FileListener(f)
		f.Close()
		unix, ok := l.(*net.UnixListener)
		if err == nil && !ok {
			l.Close()
			err = fmt.Errorf("%s is no unix socket; say ListenStream= with a path in the socket unit", f.Name())
		}
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, fmt.Errorf("take the socket that systemd has opened: %w", err)
		}
		unix.SetUnlinkOnClose(false) // it is systemd's
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// tellReady says that clients are served. systemd has no answer, and one that cannot be told finds out by its own timeout.
func tellReady(o Options) {
	if o.OwnsProcess {
		_, _ = systemd.SdNotify(false, systemd.SdNotifyReady)
	}
	if o.Ready != nil {
		o.Ready()
	}
}

func tellStopping(o Options) {
	if o.OwnsProcess {
		_, _ = systemd.SdNotify(false, systemd.SdNotifyStopping)
	}
}
