package platform

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

// privateBus runs a bus of its own as the system bus of this test.
func privateBus(t *testing.T) *dbus.Conn {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("needs dbus-daemon")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "bus.conf")
	address := "unix:path=" + filepath.Join(dir, "bus")
	err = os.WriteFile(config, []byte(`<busconfig><type>custom</type><listen>`+address+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--nofork", "--nopidfile", "--print-address=1", "--config-file="+config)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line := make([]byte, 512) // the address is printed once the bus listens
	n, err := out.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "unix:") {
		t.Fatalf("dbus-daemon said %q, %v", line[:n], err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	conn, err := dbus.Connect(address, dbus.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestMetered(t *testing.T) {
	conn := privateBus(t)
	const name, path = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"
	const patient = 30 * time.Second // a loaded machine answers late, which is not what this asks
	if got := askMetered(patient); got != (Metering{}) {
		t.Errorf("a bus without NetworkManager: got %+v", got)
	}
	props, err := prop.Export(conn, path, prop.Map{name: {"Metered": {Value: uint32(0)}}})
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	for value, want := range []Metering{0: {}, 1: {Expensive: true, Constrained: true}, 2: {}, 3: {Expensive: true}, 4: {}} {
		props.SetMust(name, "Metered", uint32(value))
		if got := askMetered(patient); got != want {
			t.Errorf("NMMetered %d: got %+v, want %+v", value, got, want)
		}
	}
}

func TestMeteredIsAskedOnceASecond(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none")) // who asks is told "unmetered"
	c := Connectivity{metered: Metering{Expensive: true}, asked: time.Now().Add(time.Hour)}
	if expensive, _ := c.Metered(); !expensive {
		t.Error("asked again at once")
	}
	c.asked = time.Now().Add(-meteredKept)
	if expensive, _ := c.Metered(); expensive {
		t.Error("an old answer was given again")
	}
}

func TestMeteredWithoutABus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
	var c Connectivity
	if expensive, constrained := c.Metered(); expensive || constrained {
		t.Error("a machine without a bus is metered")
	}
}

// A bus that accepts and then says nothing holds nobody up, and leaves no goroutine behind (TestMain looks).
func TestMeteredWithASilentBus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+path)
	done := make(chan Metering)
	go func() { done <- askMetered(meteredWait) }()
	select {
	case m := <-done:
		if m != (Metering{}) {
			t.Errorf("got %+v", m)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still waiting for the bus")
	}
}
