package platform

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"
)

// NetworkManager's NMMetered values.
const (
	meteredYes      = 1 // the connection's profile says so
	meteredGuessYes = 3 // NetworkManager concludes it, from the kind of link or what the DHCP server said
)

// askMetered reads NetworkManager's property Metered from the system bus. The connection is made for the one question:
// a bus connection kept open would wake this process for each signal.
func askMetered(wait time.Duration) Metering {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	answer := make(chan Metering, 1)
	go func() {
		defer cancel()
		answer <- readMetered(ctx)
	}()
	select {
	case m := <-answer:
		return m
	case <-ctx.Done():
		// The goroutine ends by the same ctx, which closes its connection; only the connect to the bus's socket does not
		// follow it, so it is not waited for.
		select {
		case m := <-answer:
			return m
		default:
			return Metering{}
		}
	}
}

func readMetered(ctx context.Context) Metering {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return Metering{}
	}
	defer conn.Close()
	var value dbus.Variant
	err = conn.Object("org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager").
		CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart,
			"org.freedesktop.NetworkManager", "Metered").Store(&value)
	metered, ok := value.Value().(uint32)
	if err != nil || !ok {
		return Metering{}
	}
	return Metering{
		Expensive:   metered == meteredYes || metered == meteredGuessYes,
		Constrained: metered == meteredYes,
	}
}
