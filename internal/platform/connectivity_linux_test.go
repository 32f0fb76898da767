package platform

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inNamespace runs body in a network namespace of its own, which has nothing but a loopback that is down: the test binary
// runs again there, with the calling test alone.
func inNamespace(t *testing.T, body func()) {
	t.Helper()
	const mark = "URLSESSION_TEST_NAMESPACE"
	if os.Getenv(mark) != "" {
		body()
		return
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the command ip (iproute2)")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Skipf("this machine gives no network namespace: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func TestOnline(t *testing.T) {
	inNamespace(t, func() {
		var c Connectivity
		// The kernel marks routes by the carrier of their link in a worker of its own, some time after ip has returned.
		changes := c.Changes(t.Context())
		expect := func(want bool, when string) {
			t.Helper()
			for late := time.After(30 * time.Second); c.Online() != want; {
				select {
				case <-changes:
				case <-late:
					t.Fatalf("%s: Online = %v", when, !want)
				}
			}
		}
		expect(false, "a new namespace")
		ip(t, "link set lo up")
		expect(false, "only the loopback is up")
		ip(t, "link add out type veth peer name peer")
		ip(t, "link set peer up")
		ip(t, "link set out up")
		expect(false, "a link without an address of its own")
		ip(t, "addr add 192.0.2.2/24 dev out")
		expect(true, "a route to a network, no default route")
		ip(t, "link set peer down")
		expect(false, "the only link has lost its carrier")
		ip(t, "link set peer up")
		ip(t, "addr del 192.0.2.2/24 dev out")
		ip(t, "route add blackhole default")
		expect(false, "a route that leads nowhere")
		ip(t, "-6 route add 2001:db8::/32 dev out")
		expect(true, "an IPv6 route")
	})
}

func TestChanges(t *testing.T) {
	inNamespace(t, func() {
		var c Connectivity
		ctx, cancel := context.WithCancel(t.Context())
		changes := c.Changes(ctx)
		online := func(want bool) {
			t.Helper()
			for c.Online() != want {
				select {
				case <-changes:
				case <-time.After(30 * time.Second):
					t.Fatalf("never told that Online is %v", want)
				}
			}
		}
		ip(t, "link add out type veth peer name peer")
		ip(t, "link set peer up")
		ip(t, "link set out up")
		go func() { ip(t, "addr add 192.0.2.2/24 dev out") }()
		online(true)
		go func() { ip(t, "link del out") }()
		online(false)
		cancel()
		for range changes { // it is closed
		}
	})
}

func TestChangesClosesWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	changes := new(Connectivity).Changes(ctx)
	cancel()
	for range changes {
	}
}

func TestPollingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*pollEvery)
		defer cancel()
		changed := make(chan struct{}, 1)
		new(Connectivity).poll(ctx, changed)
		for range changed { // closed, and what the machine's real network did meanwhile does not matter
		}
	})
}

func TestLeadsOutIgnoresNonsense(t *testing.T) {
	for _, data := range [][]byte{nil, {2}, make([]byte, 11), append(make([]byte, 12), 255, 255, 1, 0)} {
		m := &syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: syscall.RTM_NEWROUTE}, Data: data}
		if leadsOut(m, map[uint32]bool{}) {
			t.Errorf("% x is taken for a route", data)
		}
	}
}
